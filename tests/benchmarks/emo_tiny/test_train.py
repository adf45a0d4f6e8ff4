"""The training command, from nothing to a checkpoint that loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.emo_tiny import tokenizers
from emo_edge.benchmarks.emo_tiny.train import main
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration


@pytest.mark.slow
def test_it_writes_a_checkpoint_and_its_log_and_a_rerun_trains_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizers, "CORPUS_LINES", 2000)
    arguments = ["--out", str(tmp_path), "--scale", "0.0003", "--workers", "1", "--device", "cpu"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    log = [json.loads(line) for line in (tmp_path / "checkpoint" / "training_log.jsonl").read_text().splitlines()]
    assert sorted(entry["stage"] for entry in log if "finished" in entry and "stage" in entry) == [
        "face",
        "language",
        "settle",
        "vision",
    ]
    assert "minutes" in log[-1]
    probed = {entry["stage"] for entry in log if "face expression" in entry or "probe expression" in entry}
    assert probed == {"face", "vision", "language"}
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    scores = model.label_scores(np.zeros((64, 64, 3), np.uint8), "Which facial cues are visible?", ["joy", "fear"])
    assert np.isfinite(scores).all()
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0, again.output
    assert "from_step" not in (tmp_path / "training_log.jsonl").read_text().split('"finished": true, "minutes"')[1]


def test_a_named_device_that_is_missing_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--out", str(tmp_path / "run"), "--device", "cuda:99"])
    assert done.exit_code == 6
    assert "--device cpu" in done.output
    assert not (tmp_path / "run").exists()
