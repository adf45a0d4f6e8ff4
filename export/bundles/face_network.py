"""A checkpoint of the face network alone to a bundle: both graphs compared with PyTorch, no language model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.bundle.manifest import Profile, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.export.bundles.manifest import face_manifest
from emo_edge.export.bundles.origin import checkpoint_digest
from emo_edge.export.onnx.export import PRECISIONS, in_precision, onnx_from_face_network
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.onnx.verify import compared_graph
from emo_edge.export.reference.face_network import FaceNetwork
from emo_edge.export.reference.outputs import FACE_OUTPUTS
from emo_edge.media.crops import face_crop
from emo_edge.tensors import Tensor
from emo_edge.utils.progress import QUIET, Reports

BATCH = 16
PROFILE_OF = {"fp32": "exact", "fp16": "balanced"}


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
    """Write the bundle of a face network; arguments as of `bundle_export.bundle_from_checkpoint`.

    Raises AccuracyGateError, after writing what passed, if a precision missed its gate.
    """
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown or not precisions:
        raise InputError(f"--face {', '.join(unknown)}: choose from {', '.join(PRECISIONS)}")
    with BundleWriter(target, overwrite=overwrite) as writer:
        network = FaceNetwork.from_pretrained(directory)
        crops, truth = _reference(network, samples, reports)
        reports.progress("trace face", 0, 1)
        full = onnx_from_face_network(network)
        contracts, feed = (full.inputs, full.outputs), {"image": crops}
        files = {
            precision: save_graph(in_precision(full, precision), writer.path(f"face-{precision}.onnx"))
            for precision in precisions
        }
        compared = {
            precision: compared_graph(
                files[precision],
                contracts,
                precision,
                truth,
                feed,
                threads=threads,
                progress=reports.of(f"face {precision}"),
            )
            for precision in precisions
        }
        for precision, one in compared.items():
            reports.line(f"face {precision}: {'misses its gate, left out' if one.failures else one.summary()}")
        failures = [f"face {name}: {failure}" for name, one in compared.items() for failure in one.failures]
        variants = {
            name: Variant(files=tuple(writer.entry(path) for path in one.files), evidence=one.evidence)
            for name, one in compared.items()
            if not one.failures
        }
        listing = "\n".join(f"  {failure}" for failure in failures)
        if not variants:
            raise AccuracyGateError(f"no precision of the face network holds its gate, nothing is written:\n{listing}")
        profiles = {
            PROFILE_OF[name]: Profile(vision=None, connector=None, face=name, language=None) for name in variants
        }
        origin = {
            "checkpoint_sha256": checkpoint_digest(directory),
            "compared_on": f"{len(samples)} pictures ({samples[0].name} to {samples[-1].name})",
        }
        bundle = writer.finish(face_manifest(network.config, contracts, variants, profiles, directory.name, origin))
    reports.line(f"{target}: {len(bundle.manifest.files())} files, emo-edge {__version__}")
    if failures:
        raise AccuracyGateError(f"not everything holds its gate:\n{listing}")
    return bundle


def _reference(
    network: FaceNetwork, samples: Sequence[Sample], reports: Reports
) -> tuple[np.ndarray, dict[str, Tensor]]:
    """Cut every face and run PyTorch on it: crops [N, h, w, 3] and each head's output [N, ...]."""
    started, settings = time.perf_counter(), network.config.face
    crops = np.stack(
        [
            face_crop(sample.image, sample.box, margin=settings.crop_margin, size=settings.image_size).pixels
            for sample in samples
        ]
    )
    parts = []
    for start in range(0, len(crops), BATCH):
        said = network.outputs(crops[start : start + BATCH])
        parts.append({name: getattr(said, name).numpy() for name in FACE_OUTPUTS})
        reports.progress("reference", min(start + BATCH, len(crops)), len(crops))
    seconds = time.perf_counter() - started
    reports.line(f"reference: {len(samples)} pictures, PyTorch {torch.__version__}, {seconds:.1f} s")
    return crops, {name: np.concatenate([part[name] for part in parts]) for name in FACE_OUTPUTS}
