"""The benchmark of true sizes: its table says what it measured."""

from __future__ import annotations

from emo_edge.benchmarks.studies.full_size import table
from emo_edge.benchmarks.studies.subprocess_step import Measured


def test_the_table_says_what_it_measured() -> None:
    text = table("llama-vid-7b", [Measured("import", 100.4, 1.234, 15.9)], {"vision": 900.4, "prefill": 1100.2})
    assert text.startswith("| llama-vid-7b, random weights | seconds |")
    assert "| import | 100 | 1.23 GB | 15.9 GB |" in text
    assert "The second reading of the same picture, its prompt still there: 2001 ms (vision 900, prefill 1100)." in text
