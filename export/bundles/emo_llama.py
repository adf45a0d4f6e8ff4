"""Checkpoint to bundle: every variant is written, opened by its engine, compared, and kept only inside its gate."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.bundle.gguf_types import EXACT, UNQUANTIZED
from emo_edge.bundle.manifest import Manifest, Profile, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.errors import AccuracyGateError
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.export.bundles.manifest import Contracts, bundle_manifest
from emo_edge.export.bundles.origin import checkpoint_digest
from emo_edge.export.bundles.size_estimate import export_bytes
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.gguf.trials import label_scores
from emo_edge.export.gguf.writer import WRITTEN_TYPES, gguf_from_checkpoint, lossless_type
from emo_edge.export.models.config import EmoLlamaConfig
from emo_edge.export.onnx.export import PRECISIONS, component_contracts, in_precision, onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.onnx.verify import compared_graph
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.outputs import probabilities_with, reference_on
from emo_edge.export.reference.tokenizer import QUESTION_MODEL_NAME
from emo_edge.inference.probability import softmax
from emo_edge.metrics.gates import exact_failures
from emo_edge.metrics.label_agreement import label_distance
from emo_edge.metrics.tensor_parity import Distances
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.utils.files import require_disk_space
from emo_edge.utils.progress import QUIET, Reports

"""Language variants that have to be exact; the others are judged by their evidence."""
LABEL_EVIDENCE = "labels"
PROFILE_OF = {"f32": "exact", "f16": "exact", "q8_0": "balanced", "q4_k_m": "small"}
"""What a profile is called by its language variant; others are called as the variant."""


def bundle_from_checkpoint(
    directory: Path,
    target: Path,
    plan: ExportConfig,
    samples: Sequence[Sample],
    *,
    overwrite: bool = False,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Write the bundle of a checkpoint.

    Args:
        directory: the checkpoint.
        target: the bundle; refused if it holds anything, unless ``overwrite``. It appears only when all is done.
        plan: variants and labels.
        samples: pictures to compare on.
        overwrite: replace a bundle as a whole.
        threads: of the engines that are compared; None leaves it to them.
        reports: told of every step.

    Raises AccuracyGateError, after writing what passed, if a variant missed its gate or the exact profile is not.
    """
    config = EmoLlamaConfig.from_pretrained(directory)
    plan.check(config)
    with BundleWriter(target, overwrite=overwrite, plan=plan.fingerprint(directory, config, samples)) as writer:
        there = sum(file.size for variant in writer.finished.values() for file in variant.files)
        wanted = export_bytes(config, plan.graphs(config), plan.language, lossless_type(directory))
        require_disk_space(writer.partial, wanted - there)
        export = _Export(directory, writer, plan, samples, threads, reports)
        for component, precisions in plan.graphs(config).items():
            export.graphs(component, precisions)
        export.forget_model()
        # What others may be quantized from first.
        for file_type in sorted(plan.language, key=lambda name: name not in WRITTEN_TYPES):
            export.language(file_type)
        bundle = writer.finish(export.manifest())
    reports.line(f"{target}: {len(bundle.manifest.files())} files, emo-edge {__version__}")
    if export.failures:
        raise AccuracyGateError("not everything holds its gate:\n" + export.listing())
    return bundle


class _Export:
    """One export under way: what passed its gate so far, and what did not."""

    def __init__(
        self,
        directory: Path,
        writer: BundleWriter,
        plan: ExportConfig,
        samples: Sequence[Sample],
        threads: int | None,
        reports: Reports,
    ) -> None:
        self.directory, self.writer, self.plan = directory, writer, plan
        self.samples, self.threads, self.report, self.reports = samples, threads, reports.line, reports
        self.model = EmoLlamaForConditionalGeneration.from_pretrained(directory, stream=True)
        self.config = self.model.config
        started = time.perf_counter()
        labels = self.config.label_sets[plan.labels]
        self.reference = reference_on(self.model, samples, labels, reports.of("reference"))
        self.report(f"reference: {len(samples)} pictures, PyTorch {torch.__version__}, {_since(started)}")
        self.contracts: dict[str, Contracts] = {}
        self.variants: dict[str, dict[str, Variant]] = {}
        self.failures: list[str] = []

    def listing(self) -> str:
        return "\n".join(f"  {failure}" for failure in self.failures)

    def graphs(self, component: str, precisions: Sequence[str]) -> None:
        """Trace one component, write every precision, and keep those that hold their gate on the samples."""
        self.contracts[component] = component_contracts(self.model, component)
        wanted = [precision for precision in precisions if not self._goes_on(component, precision)]
        if not wanted:
            return
        written = self._traced_and_written(component, wanted)
        for precision in wanted:
            self._compare(component, precision, written[precision])

    def _traced_and_written(self, component: str, precisions: Sequence[str]) -> dict[str, list[Path]]:
        """Write the graphs before any is run: then their weights, which are the model's, can be forgotten."""
        started = time.perf_counter()
        self.reports.progress(f"trace {component}", 0, 1)
        full = onnx_from_component(self.model, component)
        # What follows computes with the connector and LLaMA alone.
        if component != "connector" and (part := getattr(self.model, component)) is not None:
            part.to("meta")
        files = {
            precision: save_graph(in_precision(full, precision), self.writer.path(f"{component}-{precision}.onnx"))
            for precision in precisions
        }
        self.report(f"{component}: traced, {' and '.join(precisions)} written, {_since(started)}")
        return files

    def _compare(self, component: str, precision: str, files: list[Path]) -> None:
        """Run one graph on the samples and keep it inside its gate."""
        started, name = time.perf_counter(), f"{component} {precision}"
        compared = compared_graph(
            files,
            self.contracts[component],
            precision,
            *self.reference.of(component),
            threads=self.threads,
            progress=self.reports.of(name),
        )
        self.failures += [f"{name}: {failure}" for failure in compared.failures]
        if compared.failures:
            self.report(f"{name}: misses its gate, left out")
            return
        evidence = dict(compared.evidence)
        shares = probabilities_with(self.model, self.reference, component, compared.outputs)
        if shares is not None:
            evidence[LABEL_EVIDENCE] = label_distance(self.reference.probabilities, shares)
        size = self._keep(component, precision, files, evidence)
        self.report(f"{name}: {size}, {compared.summary()}, {_since(started)}")

    def forget_model(self) -> None:
        """Free what only the graphs needed, before llama.cpp loads its own copies of the largest part."""
        del self.model
        gc.collect()

    def language(self, file_type: str) -> None:
        """Write one file type of the language model and score the reference's own prompts with it."""
        started, path = time.perf_counter(), self.writer.path(f"language-{file_type}.gguf")
        if self._goes_on("language", file_type):
            return
        if file_type in WRITTEN_TYPES:
            self._gguf(path, file_type)
        else:
            self.reports.progress(f"quantize {file_type}", 0, 1)
            quantize_gguf(self._unrounded(), path, file_type, known_finite=True)
        context, name = self.config.language.max_position_embeddings, f"language {file_type}"
        exact_cache = file_type in UNQUANTIZED
        with LlamaSession(path, context_size=context, exact_cache=exact_cache, threads=self.threads) as session:
            found = softmax(label_scores(session, self.reference, progress=self.reports.of(name)))
        measured = label_distance(self.reference.probabilities, found)
        failures = exact_failures(measured) if file_type in EXACT else []
        self.failures += [f"{name}: {failure}" for failure in failures]
        if failures:
            self.report(f"{name}: misses its gate, left out")
            return
        size = self._keep("language", file_type, [path], {LABEL_EVIDENCE: measured})
        self.report(f"{name}: {size}, {_agreement(measured)}, {_since(started)}")

    def manifest(self) -> Manifest:
        """Describe what was kept, with every profile's whole chain measured against the reference."""
        entry = None
        if self.config.connector.qformer:
            tokenizer = self.writer.path(QUESTION_MODEL_NAME)
            tokenizer.write_bytes((self.directory / QUESTION_MODEL_NAME).read_bytes())
            entry = self.writer.entry(tokenizer)
        origin = {
            "checkpoint_sha256": checkpoint_digest(self.directory),
            "compared_on": f"{len(self.samples)} pictures ({self._sample_names()}), labels {self.plan.labels}",
        }

        def describe(profiles: Mapping[str, Profile]) -> Manifest:
            name = self.directory.name
            return bundle_manifest(self.config, self.contracts, self.variants, entry, profiles, name, origin)

        draft = describe(self._profiles())
        # Written, or verified, by this process: `finish` verifies it again.
        bundle = Bundle(self.writer.partial, draft)
        measured = {name: self._measured(bundle, name, profile) for name, profile in draft.profiles.items()}
        return describe(self._passing(measured))

    def _sample_names(self) -> str:
        """First and last name: enough to tell a folder from the packaged drawings."""
        return f"{self.samples[0].name} to {self.samples[-1].name}"

    def _unrounded(self) -> Path:
        """Write what the others are quantized from; rounding twice would be one more error nobody asked for."""
        file_type = lossless_type(self.directory)
        variant, source = (self.writer.path(f"{use}-{file_type}.gguf") for use in ("language", "source"))
        if variant.exists():
            return variant
        if not source.exists():
            self._gguf(source, file_type)
        return source

    def _gguf(self, path: Path, file_type: str) -> None:
        gguf_from_checkpoint(
            self.directory,
            self.config.language,
            path,
            file_type=file_type,
            name=self.config.provenance.get("name", self.directory.name),
            progress=self.reports.of(f"write {path.name}"),
        )

    def _keep(self, component: str, name: str, paths: Sequence[Path], evidence: Distances) -> str:
        files = tuple(self.writer.entry(path) for path in paths)
        variant = Variant(files=files, evidence=evidence)
        self.variants.setdefault(component, {})[name] = variant
        self.writer.record(f"{component}-{name}", variant)
        return f"{sum(file.size for file in files) / 1e6:.1f} MB"

    def _goes_on(self, component: str, name: str) -> bool:
        """Take over what a stopped run of this export had finished, and say so."""
        finished = self.writer.finished.get(f"{component}-{name}")
        if finished is None:
            return False
        self.variants.setdefault(component, {})[name] = finished
        self.report(f"{component} {name}: finished by the run that was stopped")
        return True

    def _profiles(self) -> dict[str, Profile]:
        """One profile a language variant; unquantized ones take the most precise graphs, the others the smallest.

        Smallest graphs that none of these takes make the profile ``half``, so that every file can be chosen.
        """
        parts = tuple(self.plan.graphs(self.config))
        missing = [part for part in (*parts, "language") if not self.variants.get(part)]
        if missing:
            raise AccuracyGateError(
                f"no variant of {', '.join(missing)} holds its gate, nothing is written:\n{self.listing()}"
            )

        def graphs(order: Sequence[str]) -> dict[str, str | None]:
            return {
                part: next((precision for precision in order if precision in self.variants.get(part, {})), None)
                for part in ("vision", "connector", "face")
            }

        profiles: dict[str, Profile] = {}
        for language in self.variants["language"]:
            wanted = PROFILE_OF.get(language, language)
            order = PRECISIONS if language in EXACT else PRECISIONS[::-1]
            name = language if wanted in profiles else wanted
            profiles[name] = Profile.model_validate({**graphs(order), "language": language})
        small = graphs(PRECISIONS[::-1])
        if not any({**profile.model_dump(), **small} == profile.model_dump() for profile in profiles.values()):
            first = next(iter(self.variants["language"]))
            profiles["half"] = Profile.model_validate({**small, "language": first})
        return profiles

    def _measured(self, bundle: Bundle, name: str, profile: Profile) -> Profile:
        """Run the whole chain of a profile, from picture to probabilities."""
        progress = self.reports.of(f"profile {name}")
        labels = self.plan.labels
        run = chain_probabilities(bundle, name, self.samples, labels, threads=self.threads, progress=progress)
        measured = label_distance(self.reference.probabilities, run.probabilities)
        self.report(f"profile {name}: {_agreement(measured)}, {run.milliseconds:.0f} ms a picture")
        return profile.model_copy(update={"evidence": measured})

    def _passing(self, profiles: Mapping[str, Profile]) -> dict[str, Profile]:
        """Leave out an exact profile whose whole chain is not exact."""
        failures = exact_failures(profiles["exact"].evidence) if "exact" in profiles else []
        self.failures += [f"profile exact: {failure}" for failure in failures]
        kept = {name: profile for name, profile in profiles.items() if not (failures and name == "exact")}
        if not kept:
            raise AccuracyGateError(f"no profile holds its gate, nothing is written:\n{self.listing()}")
        return kept


def _agreement(measured: Mapping[str, float]) -> str:
    return f"label agreement {measured['label_agreement']:.4f}, mean KL {measured['kl_mean']:.2e}"


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"
