"""One export under way: graphs written, compared with PyTorch and kept inside their gates, whatever the network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.bundle.manifest import Manifest, Profile, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.console.progress import Reports
from emo_edge.errors import AccuracyGateError
from emo_edge.export.bundles.detector import stored_detector, with_detector
from emo_edge.export.bundles.manifest import Contracts
from emo_edge.export.bundles.origin import PROVENANCE, checkpoint_digest
from emo_edge.export.onnx.export import in_precision
from emo_edge.export.onnx.graph_file import Graph, save_graph
from emo_edge.export.onnx.verify import ComparedGraph, compared_graph
from emo_edge.inference.detectors import DetectorFiles
from emo_edge.metrics.tensor_parity import Distances
from emo_edge.tensors import Tensor

LABEL_EVIDENCE = "labels"
"""Key of a variant's evidence on labels."""


@dataclass(frozen=True)
class GraphBaseline:
    """A graph's inputs on the samples, and PyTorch's outputs for them."""

    contracts: Contracts
    outputs: Mapping[str, Tensor]
    feed: Mapping[str, Tensor]
    thresholds: Sequence[float] = ()
    """Of the action units among the outputs."""


class ExportRun:
    """The variants of one export that are inside their gates so far, and the failures of the others."""

    def __init__(
        self,
        directory: Path,
        writer: BundleWriter,
        samples: Sequence[Sample],
        threads: int | None,
        reports: Reports,
        detector: DetectorFiles | None = None,
    ) -> None:
        self.directory, self.writer, self.samples = directory, writer, samples
        self.threads, self.reports, self.report = threads, reports, reports.line
        self.detector = detector
        self.variants: dict[str, dict[str, Variant]] = {}
        self.failures: list[str] = []

    def resumed(self, component: str, name: str) -> bool:
        """Keep and report a variant that a stopped run of this export had finished; return whether there is one."""
        finished = self.writer.finished.get(f"{component}-{name}")
        if finished is None:
            return False
        self.variants.setdefault(component, {})[name] = finished
        self.report(f"{component} {name}: finished by the run that was stopped")
        return True

    def write_graphs(self, full: Graph, component: str, precisions: Sequence[str]) -> dict[str, list[Path]]:
        """Write a float32 graph in every precision: the files of each."""
        return {
            precision: save_graph(in_precision(full, precision), self.writer.path(f"{component}-{precision}.onnx"))
            for precision in precisions
        }

    def compared(
        self, component: str, precision: str, files: list[Path], baseline: GraphBaseline
    ) -> ComparedGraph | None:
        """Run one graph on the samples; None, with its failures noted, where it fails its gate."""
        name = f"{component} {precision}"
        compared = compared_graph(
            files,
            baseline.contracts,
            precision,
            baseline.outputs,
            baseline.feed,
            thresholds=baseline.thresholds,
            threads=self.threads,
            progress=self.reports.of(name),
        )
        return compared if self.passes(name, compared.failures) else None

    def passes(self, name: str, failures: Sequence[str]) -> bool:
        """Return whether a variant has no failures; note and report it as left out if it has."""
        self.failures += [f"{name}: {failure}" for failure in failures]
        if failures:
            self.report(f"{name}: fails its gate, left out")
        return not failures

    def keep(self, component: str, name: str, paths: Sequence[Path], evidence: Distances) -> str:
        """Add a variant that holds its gate; return its size for people."""
        files = tuple(self.writer.entry(path) for path in paths)
        variant = Variant(files=files, evidence=evidence)
        self.variants.setdefault(component, {})[name] = variant
        if self.writer.plan is not None:
            self.writer.record(f"{component}-{name}", variant)
        return f"{sum(file.size for file in files) / 1e6:.1f} MB"

    def require_variants(self, parts: Sequence[str]) -> None:
        """Raise AccuracyGateError if no variant of one of these components is left."""
        missing = [part for part in parts if not self.variants.get(part)]
        if missing:
            raise AccuracyGateError(
                f"no variant of {', '.join(missing)} holds its gate, nothing is written:\n{self.listing()}"
            )

    def require_profiles(self, profiles: Mapping[str, Profile]) -> None:
        """Raise AccuracyGateError if no profile is left."""
        if not profiles:
            raise AccuracyGateError(f"no profile holds its gate, nothing is written:\n{self.listing()}")

    def origin(self) -> dict[str, str]:
        """Return provenance: the weights, and the pictures that every variant was compared on."""
        return {
            PROVENANCE: checkpoint_digest(self.directory),
            "compared_on": f"{len(self.samples)} pictures",
        }

    def finish(self, manifest: Manifest, target: Path) -> Bundle:
        """Move the bundle, with the detector that was asked for, to its final name, ``target``."""
        if self.detector:
            manifest = with_detector(manifest, stored_detector(self.writer, self.detector))
        bundle = self.writer.finish(manifest)
        self.report(f"{target}: {len(bundle.manifest.files())} files, emo-edge {__version__}")
        return bundle

    def require_no_failures(self) -> None:
        """Raise AccuracyGateError if anything was left out."""
        if self.failures:
            raise AccuracyGateError("not everything holds its gate:\n" + self.listing())

    def listing(self) -> str:
        """Return the failures, one a line."""
        return "\n".join(f"  {failure}" for failure in self.failures)


def since(started: float) -> str:
    """Return the seconds since ``started``, for people."""
    return f"{time.perf_counter() - started:.1f} s"
