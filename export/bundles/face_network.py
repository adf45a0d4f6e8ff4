"""A checkpoint of the face network alone to a bundle: every precision compared with PyTorch, no language model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.face_crops import crop_face
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.errors import InputError
from emo_edge.export.bundles.config import choice_problems
from emo_edge.export.bundles.manifest import face_manifest
from emo_edge.export.bundles.profiles import face_profiles
from emo_edge.export.bundles.run import ExportRun, GraphBaseline, since
from emo_edge.export.onnx.export import PRECISIONS, onnx_from_face_network
from emo_edge.export.reference.crop_settings import face_crop_settings
from emo_edge.export.reference.face_network import FaceNetwork
from emo_edge.export.reference.outputs import FACE_OUTPUTS
from emo_edge.tensors import Tensor
from emo_edge.utils.progress import QUIET, Reports

BATCH = 4


def bundle_from_face_network(
    directory: Path,
    target: Path,
    precisions: Sequence[str],
    samples: Sequence[Sample],
    *,
    overwrite: bool = False,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Write the bundle of a face network; arguments as of `bundles.emo_llama.bundle_from_checkpoint`.

    Raises AccuracyGateError, after writing what passed, if a precision fails its gate.
    """
    if problems := choice_problems("face", precisions, PRECISIONS):
        raise InputError("\n".join(problems))
    with BundleWriter(target, overwrite=overwrite) as writer:
        run = ExportRun(directory, writer, samples, threads, reports)
        network = FaceNetwork.from_pretrained(directory)
        baseline = _write_graphs(run, network, precisions)
        run.require_variants(["face"])
        variants = run.variants["face"]
        profiles = face_profiles(list(variants))
        manifest = face_manifest(network.config, baseline.contracts, variants, profiles, directory.name, run.origin())
        bundle = run.finish(manifest, target)
    run.require_no_failures()
    return bundle


def _write_graphs(run: ExportRun, network: FaceNetwork, precisions: Sequence[str]) -> GraphBaseline:
    """Trace the network, write every precision, and keep those that hold their gate on the samples."""
    crops, outputs = _reference(run, network)
    run.reports.progress("trace face", 0, 1)
    full = onnx_from_face_network(network)
    baseline = GraphBaseline((full.inputs, full.outputs), outputs, {"image": crops})
    for precision, files in run.write_graphs(full, "face", precisions).items():
        started = time.perf_counter()
        if compared := run.compared("face", precision, files, baseline):
            size = run.keep("face", precision, files, compared.evidence)
            run.report(f"face {precision}: {size}, {compared.summary()}, {since(started)}")
    return baseline


def _reference(run: ExportRun, network: FaceNetwork) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Cut every face and run PyTorch on it: crops [N, h, w, 3] and each head's output [N, ...]."""
    started, settings, samples = time.perf_counter(), face_crop_settings(network.config.face), run.samples
    crops = np.stack([crop_face(sample.image, sample.box, settings).pixels for sample in samples])
    parts = []
    for start in range(0, len(crops), BATCH):
        outputs = network.outputs(crops[start : start + BATCH])
        parts.append({name: getattr(outputs, name).numpy() for name in FACE_OUTPUTS})
        run.reports.progress("reference", min(start + BATCH, len(crops)), len(crops))
    run.report(f"reference: {len(samples)} pictures, PyTorch {torch.__version__}, {since(started)}")
    return crops, {name: np.concatenate([part[name] for part in parts]) for name in FACE_OUTPUTS}
