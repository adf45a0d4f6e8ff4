"""A large feed in parts: as many rows at once as an engine takes, and fewer where its memory is short."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from emo_edge.errors import DeviceMemoryError
from emo_edge.tensors import Tensor

logger = logging.getLogger(__name__)
Outputs = dict[str, Tensor]


class RowBatches:
    """Remembers how many rows fit; what did not fit once is not tried again."""

    def __init__(self, most: int | None = None) -> None:
        """Start with at most ``most`` rows at once; None takes what is fed."""
        self.most = most

    def run(self, compute: Callable[[Mapping[str, Tensor]], Outputs], feed: Mapping[str, Tensor]) -> Outputs:
        """Compute a feed whose every array has the rows first; raise DeviceMemoryError if not even one row fits."""
        count = len(next(iter(feed.values())))
        parts: list[Outputs] = []
        start = 0
        while start < count or not parts:
            rows = min(self.most or count, count - start)
            try:
                parts.append(compute({name: value[start : start + rows] for name, value in feed.items()}))
            except DeviceMemoryError as error:
                if rows <= 1:
                    raise
                self.most = rows // 2
                logger.warning("%s; trying %d at once", error, self.most)
                continue
            start += rows
        return (
            parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )
