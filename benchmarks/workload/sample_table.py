"""Facts of many samples in arrays: a few dozen bytes each, so that the memory hardly depends on their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.datasets.items import Frame, Item
from emo_edge.benchmarks.workload.journal import Row
from emo_edge.media.crops import Box


@dataclass(frozen=True)
class BenchSample:
    """One sample that can be read."""

    item: Item
    truth: int
    """Index into the labels that are asked for."""
    boxes: tuple[Box | None, ...]
    """One a frame; None reads the whole frame."""
    sha256: str
    """Of the frames' pixels and the data set's boxes."""

    def frames(self) -> list[Frame]:
        """Decode the frames, each with its box."""
        frames = self.item.frames(len(self.boxes))
        return [Frame(frame.image, box) for frame, box in zip(frames, self.boxes, strict=True)]


class PreparedRows:
    """Rows of the journal's file of boxes, by the number of their item."""

    def __init__(self, items: Sequence[Item], frames: int) -> None:
        """Hold a row of up to ``frames`` boxes for each item; none is there yet."""
        self.items = items
        self._boxes = np.full((len(items), frames, 4), np.nan)
        self._counts = np.zeros(len(items), np.uint32)
        self._digests = np.zeros((len(items), 32), np.uint8)
        self._shows_face = np.ones(len(items), bool)
        self.reasons: dict[int, str] = {}
        """Reasons of the items that cannot be read."""

    def put(self, index: int, row: Row) -> None:
        """Keep a row that `emo_edge.benchmarks.workload.samples.is_prepared` takes."""
        boxes = [box or [np.nan] * 4 for box in row["boxes"]]
        self._counts[index], self._shows_face[index] = len(boxes), row["found"]
        self._boxes[index, : len(boxes)] = np.array(boxes).reshape(-1, 4)
        self.reasons.pop(index, None)
        if row["reason"] is None:
            self._digests[index] = np.frombuffer(bytes.fromhex(row["sha256"]), np.uint8)
        else:
            self.reasons[index] = row["reason"]

    def row(self, index: int) -> Row | None:
        """Return the row of an item as it was put in; None where there is none."""
        reason = self.reasons.get(index)
        if reason is None and not self._counts[index]:
            return None
        boxes = [None if box is None else list(box) for box in self.boxes(index)]
        return {
            "key": self.items[index].key,
            "boxes": boxes,
            "found": bool(self._shows_face[index]),
            "sha256": None if reason else self.sha256(index),
            "reason": reason,
        }

    def boxes(self, index: int) -> tuple[Box | None, ...]:
        """Return the box of each frame of an item."""
        return tuple(
            None if np.isnan(x0) else (x0, y0, x1, y1)
            for x0, y0, x1, y1 in self._boxes[index, : self._counts[index]].tolist()
        )

    def sha256(self, index: int) -> str:
        """Return the hash of an item that can be read."""
        return bytes(self._digests[index]).hex()

    @property
    def readable(self) -> NDArray[np.int64]:
        """Numbers of the items that can be read, [N]."""
        return np.flatnonzero(self._counts)

    @property
    def faceless(self) -> int:
        """Number of items without a face."""
        return int((~self._shows_face).sum())

    @property
    def copies(self) -> int:
        """Number of items that show the same pixels as another one."""
        digests = np.ascontiguousarray(self._digests[self.readable]).view("V32")
        return len(digests) - len(np.unique(digests))


class Prepared(Sequence[BenchSample]):
    """The samples that can be read, each made when it is asked for."""

    def __init__(self, rows: PreparedRows, order: Sequence[int]) -> None:
        """Take the rows; ``order`` has the index of each label of the data set among those asked for."""
        self._rows, self._order, self._readable = rows, order, rows.readable

    def __len__(self) -> int:
        return len(self._readable)

    @overload
    def __getitem__(self, index: int) -> BenchSample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[BenchSample, ...]: ...
    def __getitem__(self, index: int | slice) -> BenchSample | tuple[BenchSample, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        number = int(self._readable[index])
        item = self._rows.items[number]
        return BenchSample(item, self._order[item.label], self._rows.boxes(number), self._rows.sha256(number))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]
