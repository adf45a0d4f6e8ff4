"""A short run of the comparison: every head learns, every figure is of the test drawings, the report is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from emo_edge.benchmarks.action_units import trials
from emo_edge.benchmarks.action_units.__main__ import main
from emo_edge.benchmarks.action_units.training import LOSSES, Budget, train


@pytest.mark.parametrize("loss", LOSSES)
def test_a_head_learns_what_can_be_read_off_its_features(loss: str) -> None:
    features = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    active = (features[:, :3] > 0.3).float()

    def forward(head: nn.Module, given: Any) -> tuple[torch.Tensor, None, None]:
        return head(given[0]), None, None

    head = nn.Linear(8, 3)
    trained = train(head, forward, ([features], [features]), active, active, Budget(epochs=30, rate=0.05, loss=loss))
    assert ((trained.logits > 0) == active.numpy().astype(bool)).mean() > 0.9
    assert trained.parameters == 27 and trained.intensities is None


@pytest.mark.slow
def test_a_short_run_prints_and_keeps_every_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "LONG", 2)
    monkeypatch.setattr("emo_edge.benchmarks.action_units.__main__.MISSING", (0.3,))
    options = ["--drawings", 100, "--test", 50, "--epochs", 1, "--part", "sacl", "--part", "missing"]
    done = CliRunner().invoke(
        main, [*map(str, options), "--cache", str(tmp_path / "drawings"), "--json", str(tmp_path / "units.json")]
    )
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "units.json").read_text())
    names = [row["name"] for row in report["rows"]]
    assert len(names) == len(set(names)) == 2 + 4 + 4
    assert all(f"| {name} |" in done.stdout for name in names)
    sacl = next(row for row in report["rows"] if row["name"].startswith("SACL on"))
    assert sacl["icc"] is not None and sacl["gain"] is not None and len(sacl["by_unit"]) == 17
    assert 0 <= sacl["low"] <= sacl["f1"] <= sacl["high"] <= 1
