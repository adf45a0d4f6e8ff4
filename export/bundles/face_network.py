"""A checkpoint of one network alone, of face facts, labels or action units, to a bundle without a language model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.face_crops import CropSettings, crop_face
from emo_edge.bundle.manifest import LABEL_LOGITS, ActionUnits, GraphComponent, Manifest, Profile
from emo_edge.bundle.prompts import FaceLabels
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import InputError
from emo_edge.export.bundles.config import choice_problems
from emo_edge.export.bundles.detector import StoredDetector, own_detector, stored_detector
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.export.bundles.manifest import action_units, graph_component, network_manifest
from emo_edge.export.bundles.profiles import network_profiles
from emo_edge.export.bundles.run import LABEL_EVIDENCE, ExportRun, GraphBaseline, since
from emo_edge.export.configs.checkpoint import AU_NETWORK, LABEL_NETWORK, model_type
from emo_edge.export.onnx.export import (
    PRECISIONS,
    onnx_from_au_network,
    onnx_from_face_network,
    onnx_from_label_network,
)
from emo_edge.export.onnx.graph_file import Graph
from emo_edge.export.reference.face_network import AuNetwork, FaceNetwork
from emo_edge.export.reference.label_network import AnyLabelNetwork, GraphLabelNetwork, open_label_network
from emo_edge.inference.detectors import DetectorFiles
from emo_edge.inference.probability import softmax
from emo_edge.metrics.gates import exact_failures, profile_gate
from emo_edge.metrics.label_agreement import label_distance
from emo_edge.metrics.tensor_parity import Distances
from emo_edge.tensors import Tensor

WHOLE = "emo_llama"
"""Kind of a checkpoint with a language model."""
AnyNetwork = FaceNetwork | AnyLabelNetwork | AuNetwork
BATCH = 4


@dataclass(frozen=True)
class _Opened:
    """A network in full precision, and the way to its graph."""

    network: AnyNetwork
    traced: Callable[[], Graph]
    part: str = "face"
    """Component of a bundle that it becomes."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of the action units that it gives; empty where it gives none."""
        if isinstance(self.network, AuNetwork):
            return self.network.config.network.active_from
        units = self.network.config.action_units if isinstance(self.network, FaceNetwork) else None
        return units.active_from if units else ()

    @classmethod
    def open(cls, directory: Path) -> _Opened:
        """Open the network of a checkpoint, whichever it is."""
        kind = model_type(directory)
        if kind == AU_NETWORK:
            units = AuNetwork.from_pretrained(directory)
            return cls(units, lambda: onnx_from_au_network(units), "au")
        if kind == LABEL_NETWORK:
            labels = open_label_network(directory)
            return cls(labels, lambda: onnx_from_label_network(labels))
        face = FaceNetwork.of_whole(directory) if kind == WHOLE else FaceNetwork.from_pretrained(directory)
        return cls(face, lambda: onnx_from_face_network(face))


def bundle_from_face_network(
    directory: Path,
    target: Path,
    precisions: Sequence[str],
    samples: Sequence[Sample],
    *,
    overwrite: bool = False,
    threads: int | None = None,
    detector: DetectorFiles | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Write the bundle of one network; arguments as of `bundles.emo_llama.bundle_from_checkpoint`.

    Raises AccuracyGateError, after writing what passed, if a precision fails its gate or, of a network of labels, a
    profile does.
    """
    if problems := choice_problems("face", precisions, PRECISIONS):
        raise InputError("\n".join(problems))
    with BundleWriter(target, overwrite=overwrite) as writer:
        run = ExportRun(directory, writer, samples, threads, reports)
        opened = _Opened.open(directory)
        stored = stored_detector(writer, detector or own_detector(opened.network.config.detector))
        baseline = _write_graphs(run, opened, precisions)
        run.require_variants([opened.part])
        bundle = run.finish(_manifest(run, opened, baseline, stored), target)
    run.require_no_failures()
    return bundle


@dataclass(frozen=True)
class FacePart:
    """A face network's part of a manifest; nothing but the usual names where there is none."""

    component: GraphComponent | None
    crop: CropSettings | None
    labels: FaceLabels
    units: ActionUnits | None = None


def face_component(run: ExportRun, precisions: Sequence[str]) -> FacePart:
    """Write the graphs of a face network that stands beside another model.

    Raises InputError for a network of labels or of action units, AccuracyGateError where no precision holds its gate.
    """
    opened = _Opened.open(run.directory)
    if not isinstance(opened.network, FaceNetwork):
        kind = "action units" if isinstance(opened.network, AuNetwork) else "labels"
        raise InputError(
            f"{run.directory}: a network of {kind}; beside a language model stands a network of face facts"
        )
    baseline = _write_graphs(run, opened, precisions)
    run.require_variants(["face"])
    network, component = opened.network, graph_component(baseline.contracts, run.variants["face"])
    return FacePart(component, network.crop, network.config.face_labels, action_units(network.config))


def _manifest(run: ExportRun, opened: _Opened, baseline: GraphBaseline, detector: StoredDetector) -> Manifest:
    """Describe what was kept; the labels of every profile are measured from the picture on."""
    network, variants = opened.network, run.variants[opened.part]

    def describe(profiles: dict[str, Profile]) -> Manifest:
        name, origin = run.directory.name, run.origin()
        return network_manifest(network.config, baseline.contracts, variants, profiles, name, origin, detector)

    profiles = network_profiles(list(variants), opened.part)
    if isinstance(network, FaceNetwork | AuNetwork):
        return describe(profiles)
    draft, kept = Bundle(run.writer.partial, describe(profiles)), dict[str, Profile]()
    # The rows' own order, so that the chain's columns are the reference's.
    labels = network.config.labels
    truth = softmax(baseline.outputs[LABEL_LOGITS] / network.config.temperature)
    for name, profile in profiles.items():
        progress = run.reports.of(f"profile {name}")
        chain = chain_probabilities(draft, name, run.samples, labels, threads=run.threads, progress=progress)
        measured = label_distance(truth, chain.probabilities)
        run.report(f"profile {name}: label agreement {measured['label_agreement']:.4f}, {chain.milliseconds:.1f} ms")
        exact = exact_failures(measured) if name == "exact" else []
        if run.passes(f"profile {name}", [*exact, *profile_gate(name).failures(measured)]):
            kept[name] = profile.model_copy(update={"evidence": measured})
    run.require_profiles(kept)
    return describe(kept)


def _write_graphs(run: ExportRun, opened: _Opened, precisions: Sequence[str]) -> GraphBaseline:
    """Trace the network, write every precision, and keep those that hold their gate on the samples."""
    crops, outputs = _reference(run, opened.network)
    part = opened.part
    run.reports.progress(f"trace {part}", 0, 1)
    full = opened.traced()
    baseline = GraphBaseline((full.inputs, full.outputs), outputs, {"image": crops}, opened.thresholds)
    for precision, files in run.write_graphs(full, part, precisions).items():
        started = time.perf_counter()
        if compared := run.compared(part, precision, files, baseline):
            evidence = {**compared.evidence, **_label_evidence(outputs, compared.outputs)}
            size = run.keep(part, precision, files, evidence)
            run.report(f"{part} {precision}: {size}, {compared.summary()}, {since(started)}")
    return baseline


def _label_evidence(truth: dict[str, Tensor], outputs: dict[str, Tensor]) -> Distances:
    if LABEL_LOGITS not in truth:
        return {}
    return {LABEL_EVIDENCE: label_distance(softmax(truth[LABEL_LOGITS]), softmax(outputs[LABEL_LOGITS]))}


def _reference(run: ExportRun, network: AnyNetwork) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Cut every face and run full precision on it: crops [N, h, w, 3] and each output [N, ...]."""
    started, samples = time.perf_counter(), run.samples
    crops = np.stack([crop_face(sample.image, sample.box, network.crop).pixels for sample in samples])
    parts = []
    for start in range(0, len(crops), BATCH):
        parts.append(network.graph_outputs(crops[start : start + BATCH]))
        run.reports.progress("reference", min(start + BATCH, len(crops)), len(crops))
    graph = isinstance(network, GraphLabelNetwork)
    engine = "the network's own file in ONNX Runtime" if graph else f"PyTorch {torch.__version__}"
    run.report(f"reference: {len(samples)} pictures, {engine}, {since(started)}")
    return crops, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
