"""Open a graph of a bundle in OpenVINO: as fast as the processor can, if the outputs hold the gate.

Bfloat16 keeps eight bits of mantissa: the similarity to ONNX Runtime depends on the graph, so each is compared once on
every machine, on the packaged drawings, and opened in float32 where it fails the gate.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from emo_edge.bundle.manifest import GraphComponent
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import AccuracyGateError
from emo_edge.metrics.gates import engine_failure
from emo_edge.metrics.tensor_parity import similarity
from emo_edge.runtimes import openvino
from emo_edge.runtimes.base.sessions import TensorSession
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from emo_edge.tensors import Tensor
from emo_edge.utils.cache import read_cached, write_cached

logger = logging.getLogger(__name__)
EXACT = "fp32"
"""Variants of this name are computed in float32 on every machine."""
NOT_USED = "%s %s is not computed in %s by OpenVINO: %s"


class OpenVinoGraphs:
    """Opens the graphs of one bundle in OpenVINO; keeps what the comparisons need between them."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._bundle, self._threads = bundle, threads
        self._feeds = ReferenceFeeds(bundle, threads)

    def open(self, part: str, component: GraphComponent, variant: str) -> TensorSession:
        """Open a variant, in float32 where less fails its gate; raise AccuracyGateError where that does, too."""
        native = "f32" if variant == EXACT else openvino.native_precision()
        refused = ""
        for precision in dict.fromkeys((native, "f32")):
            key = self._key(part, component, variant, precision)
            known = _numbers(read_cached(key))
            refused = engine_failure(variant, known)
            if refused:
                logger.info(NOT_USED, part, variant, precision, refused)
                continue
            # Before the engine takes its memory: both at once may not fit.
            expected = None if known else self._feeds.expected(part, variant)
            session = self._session(component, variant, precision)
            if expected is None:
                return session
            try:
                measured = similarity(expected, _row_by_row(session, self._feeds.feed(part)))
            except BaseException:
                session.close()
                raise
            write_cached(key, measured)
            refused = engine_failure(variant, measured)
            if not refused:
                return session
            session.close()
            logger.warning(NOT_USED, part, variant, precision, refused)
        raise AccuracyGateError(f"{part} {variant} in OpenVINO fails its gate: {refused}; use `device` cpu")

    def _session(self, component: GraphComponent, variant: str, precision: openvino.Precision) -> TensorSession:
        inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
        session: TensorSession = openvino.OpenVinoSession(
            self._bundle.files(component.variants[variant])[0],
            inputs,
            outputs,
            precision=precision,
            threads=self._threads,
        )
        return session

    def _key(self, part: str, component: GraphComponent, variant: str, precision: openvino.Precision) -> str:
        """Name the comparison after all that it depends on."""
        facts: list[Any] = [file.sha256 for file in component.variants[variant].files]
        facts += [self._feeds.sources(part), precision, *openvino.engine_facts()]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return f"openvino-{digest[:32]}.json"


def _row_by_row(session: TensorSession, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute one drawing at a time: OpenVINO keeps the activations of its largest feed."""
    count = len(next(iter(feed.values())))
    rows = [session.run({name: value[row : row + 1] for name, value in feed.items()}) for row in range(count)]
    return {name: np.concatenate([outputs[name] for outputs in rows]) for name in rows[0]}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the cached values; a file that holds anything but numbers counts as none."""
    whole = all(isinstance(value, float | int) for value in values.values())
    return dict(values) if whole else {}
