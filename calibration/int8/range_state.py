"""State that a stopped run over calibration samples leaves on the disk, so that the next one goes on after it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emo_edge.calibration.int8.histogram import BINS, LEAST_EXPONENT, MagnitudeHistogram
from emo_edge.errors import InputError
from emo_edge.tensors import Tensor
from emo_edge.utils.files import replaced_file
from emo_edge.utils.json_values import json_values
from emo_edge.utils.settings import Section

LARGEST_NAME = 1 << 16
"""Bytes of a tensor's name with what the format adds."""
MOST_EXPONENT = 128
"""Of float32."""
MOST_COUNTED = 1 << 48
"""Values in one bin: sums over all bins stay inside int64."""
Count = Annotated[int, Field(ge=0, lt=MOST_COUNTED, strict=True)]


class _Saved(Section):
    """The header of a state file."""

    graph: str
    feeds: Count
    samples: Count
    digest: str
    tensors: list[str]


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
        with path.open("rb") as stream:
            _require_small(stream, len(tensors))
            with np.load(stream, allow_pickle=False) as stored:
                header = json_values(str(stored["header"]))
                columns = stored["exponents"], stored["peaks"], stored["counts"]
        saved = _Saved.model_validate(header)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as calibration ranges ({reason}); remove it to start anew") from error
    if saved.graph != graph or saved.tensors != list(tensors):
        raise InputError(f"{path}: holds the ranges of another graph; give another state file, or remove it")
    if problem := _problem(len(tensors), *columns):
        raise InputError(f"{path}: no calibration ranges: {problem}; remove it to start anew")
    exponents, peaks, counts = columns
    rows = zip(tensors, exponents.tolist(), peaks.tolist(), counts, strict=True)
    histograms = {name: MagnitudeHistogram(*rest) for name, *rest in rows}
    return RangeState(graph, histograms, saved.feeds, saved.samples, saved.digest)


def _require_small(stream: BinaryIO, tensors: int) -> None:
    """Raise ValueError for an archive whose members unpack to more than these tensors' histograms take."""
    with zipfile.ZipFile(stream) as archive:
        size = sum(member.file_size for member in archive.infolist())
    limit = (tensors + 1) * (BINS * np.dtype(np.int64).itemsize + LARGEST_NAME) + LARGEST_NAME
    if size > limit:
        raise ValueError(f"{size} bytes unpacked, where {tensors} tensors take at most {limit}")
    stream.seek(0)


def _problem(tensors: int, exponents: NDArray[Any], peaks: NDArray[Any], counts: NDArray[Any]) -> str | None:
    """Return what no histogram of `MagnitudeHistogram` has; None where there is nothing."""
    if not all(isinstance(column, np.ndarray) for column in (exponents, peaks, counts)):
        return "members that are no arrays"
    if counts.shape != (tensors, BINS) or exponents.shape != (tensors,) or peaks.shape != (tensors,):
        return "another number of tensors or bins"
    if (counts.dtype, exponents.dtype, peaks.dtype) != (np.dtype(np.int64), np.dtype(np.int64), np.dtype(np.float64)):
        return "another type of numbers"
    if not (np.isfinite(peaks).all() and (peaks >= 0).all() and (counts >= 0).all() and (counts < MOST_COUNTED).all()):
        return "values that no magnitude or count has"
    if not ((exponents >= LEAST_EXPONENT) & (exponents <= MOST_EXPONENT)).all():
        return "an exponent that no float32 has"
    if (np.frexp(peaks)[1] > np.maximum(exponents, LEAST_EXPONENT)).any():
        return "a peak outside its bins"
    return None


def _next_digest(digest: str, feed: Mapping[str, Tensor]) -> str:
    summed = hashlib.sha256(digest.encode())
    for name, value in sorted(feed.items()):
        summed.update(f"{name} {value.dtype} {value.shape}".encode())
        summed.update(np.ascontiguousarray(value).data)
    return summed.hexdigest()
