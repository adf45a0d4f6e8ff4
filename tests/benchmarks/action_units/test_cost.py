"""Cost of action units: both graphs of a pair are timed, and differ in the units alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.action_units.cost import AUFORMER, GOALS, main, pairs
from emo_edge.errors import InputError
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration


@pytest.mark.slow
@pytest.mark.usefixtures("traced_once")
def test_every_pair_is_timed_in_turns(tmp_path: Path) -> None:
    options = ["--rounds", "3", "--precision", "fp32", "--json", str(tmp_path / "cost.json")]
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "cost.json").read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == list(GOALS)
    layers = {row["name"]: row["layers"] for row in rows if row["layers"] is not None}
    assert all(count > 100 for count in layers.values()) and layers.get(AUFORMER, 0) <= 2000
    assert all(len(row["check"]["baseline_ms"]) == 3 and f"| {row['name']} | fp32 |" in done.stdout for row in rows)


def test_a_checkpoint_without_units_is_refused(toy_model: EmoLlamaForConditionalGeneration) -> None:
    with pytest.raises(InputError, match="has no action units"):
        next(pairs(toy_model))
