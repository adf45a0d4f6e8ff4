"""The comparison of waiting threads, on a bundle's real readings."""

from __future__ import annotations

from pathlib import Path

from emo_edge.benchmarks.studies.waiting_threads import FIGURES, WAYS, compare, table


def test_every_way_is_measured_in_each_round(tiny_bundle: Path) -> None:
    rows = compare(tiny_bundle, "small", 1, 1, 2)
    assert list(rows) == list(WAYS)
    assert all(row.keys() == set(FIGURES) and min(row.values()) > 0 for way in rows.values() for row in way)
    text = table(rows, 1)
    assert text.startswith("| beside 1 busy processes |") and len(text.splitlines()) == 2 + len(WAYS)
