"""State that a stopped run over calibration samples leaves on the disk, so that the next one goes on after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_edge.calibration.int8.histogram import BINS, MagnitudeHistogram
from emo_edge.errors import InputError
from emo_edge.tensors import Tensor
from emo_edge.utils.files import replaced_file


@dataclass
class RangeState:
    """Histograms by tensor, and the samples that they counted."""

    graph: str
    """Fingerprint of the graph the activations are of."""
    histograms: dict[str, MagnitudeHistogram]
    feeds: int = 0
    samples: int = 0
    digest: str = ""
    """Of all feeds counted, in order."""

    def counted(self, feed: Mapping[str, Tensor]) -> None:
        """Note that the histograms now hold ``feed``."""
        self.feeds += 1
        self.samples += len(next(iter(feed.values())))
        self.digest = _next_digest(self.digest, feed)

    def remaining(self, feeds: Iterable[Mapping[str, Tensor]]) -> Iterator[Mapping[str, Tensor]]:
        """Yield the feeds not counted yet; raise InputError if those counted are not the first of ``feeds``."""
        digest, before, given = "", self.feeds, 0
        for given, feed in enumerate(feeds, start=1):
            if given > before:
                yield feed
                continue
            digest = _next_digest(digest, feed)
            if given == before and digest != self.digest:
                raise InputError(self._other_samples())
        if given < before:
            raise InputError(self._other_samples())

    def save(self, path: Path) -> None:
        """Write the file as a whole."""
        header = {"graph": self.graph, "feeds": self.feeds, "samples": self.samples, "digest": self.digest}
        values = list(self.histograms.values())
        with replaced_file(path) as partial, partial.open("wb") as stream:
            np.savez(
                stream,
                header=np.array(json.dumps({**header, "tensors": list(self.histograms)})),
                exponents=np.array([histogram.exponent for histogram in values]),
                peaks=np.array([histogram.peak for histogram in values]),
                counts=np.stack([histogram.counts for histogram in values]),
            )

    def _other_samples(self) -> str:
        return f"the saved ranges counted {self.samples} other samples: give the same ones, or another state file"


def new_state(graph: str, tensors: Sequence[str]) -> RangeState:
    """Return a state that counted nothing."""
    return RangeState(graph, {name: MagnitudeHistogram() for name in tensors})


def load_state(path: Path, graph: str, tensors: Sequence[str]) -> RangeState:
    """Read a state; raise InputError if it is unreadable or was gathered from another graph or other tensors."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            exponents, peaks, counts = stored["exponents"], stored["peaks"], stored["counts"]
        names, progress = header["tensors"], (header["feeds"], header["samples"], header["digest"])
    except Exception as error:
        raise InputError(f"{path}: cannot be read as calibration ranges ({error}); remove it to start anew") from error
    if header["graph"] != graph or names != list(tensors) or counts.shape != (len(names), BINS):
        raise InputError(f"{path}: holds the ranges of another graph; give another state file, or remove it")
    rows = zip(names, exponents.tolist(), peaks.tolist(), counts, strict=True)
    return RangeState(graph, {name: MagnitudeHistogram(*rest) for name, *rest in rows}, *progress)


def _next_digest(digest: str, feed: Mapping[str, Tensor]) -> str:
    summed = hashlib.sha256(digest.encode())
    for name, value in sorted(feed.items()):
        summed.update(f"{name} {value.dtype} {value.shape}".encode())
        summed.update(np.ascontiguousarray(value).data)
    return summed.hexdigest()
