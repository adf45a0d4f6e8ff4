"""IDF1 of tracks against true faces: every person is one track and every track one person, as well as that can be.

Ristani et al. 2016, "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from emo_edge.benchmarks.live.crossings import LEAST_OVERLAP
from emo_edge.faces.live.assignment import overlaps
from emo_edge.media.crops import Box


@dataclass(frozen=True)
class IdScores:
    """Counts over frames."""

    true: int
    tracked: int
    matched: int
    """Under the best pairs of persons and tracks."""
    switches: int
    """Times that a person's track became another one."""
    mean_overlap: float

    @property
    def idf1(self) -> float:
        """Return 2 matched / (true + tracked)."""
        return 2 * self.matched / max(self.true + self.tracked, 1)


def id_scores(frames: Iterable[tuple[Mapping[int, Box], Mapping[int, Box]]]) -> IdScores:
    """Score frames of true boxes by person and tracked boxes by id."""
    pairs: Counter[tuple[int, int]] = Counter()
    true = tracked = switches = 0
    last: dict[int, int] = {}
    values: list[float] = []
    for truth, tracks in frames:
        true, tracked = true + len(truth), tracked + len(tracks)
        for person, number, overlap in _same(truth, tracks):
            pairs[person, number] += 1
            values.append(overlap)
            switches += last.get(person, number) != number
            last[person] = number
    return IdScores(true, tracked, _best(pairs), switches, float(np.mean(values)) if values else 0.0)


def _same(truth: Mapping[int, Box], tracks: Mapping[int, Box]) -> Iterable[tuple[int, int, float]]:
    """Yield person, id and overlap of boxes that are the same face, the best pairs first, each once."""
    if not truth or not tracks:
        return
    persons, numbers = list(truth), list(tracks)
    table = overlaps(np.array(list(truth.values()), float), np.array(list(tracks.values()), float))
    while (best := float(table.max())) >= LEAST_OVERLAP:
        row, column = (int(index) for index in np.argwhere(table == best)[0])
        yield persons[row], numbers[column], best
        table[row], table[:, column] = -1.0, -1.0


def _best(pairs: Mapping[tuple[int, int], int]) -> int:
    """Return the most frames that pairs of persons and tracks, each at most once, have in common."""
    persons = sorted({person for person, _ in pairs})

    def most(left: list[int], used: frozenset[int]) -> int:
        if not left:
            return 0
        counts = [
            count + most(left[1:], used | {number})
            for (person, number), count in pairs.items()
            if person == left[0] and number not in used
        ]
        return max([most(left[1:], used), *counts])

    return most(persons, frozenset())
