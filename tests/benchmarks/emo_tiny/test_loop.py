"""The training loop: interrupted and continued is the same as unbroken, and nothing broken is saved."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emo_edge.benchmarks.emo_tiny.loop import Losses, RunFiles, StageConfig, train_stage

PLAN = StageConfig("toy", steps=12, batch_size=32, learning_rate=0.05, warmup_steps=3)


class Interrupted(Exception):
    """What stops a run: a preemption, a crash, a key."""


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 1))


def losses_of(module: nn.Module, *, stop_at: int | None = None, spoil_at: int | None = None) -> Callable[[int], Losses]:
    def losses_at(step: int) -> Losses:
        if step == stop_at:
            raise Interrupted
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(PLAN.batch_size, 3, generator=generator)
        error = (module(inputs)[:, 0] - inputs.sum(1)).square().mean()
        return {"error": error * (math.nan if step == spoil_at else 1), "size": 0.01 * module[3].weight.square().sum()}  # type: ignore[index]

    return losses_at


def train(
    directory: Path, module: nn.Module | None = None, *, plan: StageConfig = PLAN, **faults: int
) -> dict[str, Tensor]:
    module = module or network()
    train_stage(
        plan, module, module.parameters(), losses_of(module, **faults), RunFiles(directory), save_every=4, log_every=5
    )
    return module.state_dict()


def log(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in RunFiles(directory).log.read_text().splitlines()]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def unbroken(tmp_path: Path) -> dict[str, Tensor]:
    (tmp_path / "unbroken").mkdir()
    return train(tmp_path / "unbroken")


@pytest.mark.parametrize("stops", [[1], [4], [6], [11], [5, 9, 10]])
def test_an_interrupted_run_ends_as_an_unbroken_one(
    tmp_path: Path, unbroken: dict[str, Tensor], stops: list[int]
) -> None:
    for stop in stops:
        with pytest.raises(Interrupted):
            train(tmp_path, stop_at=stop)
    # A continued run starts from the saved state, whatever the fresh module holds.
    seed = 0 if stops == [1] else 7
    assert same(train(tmp_path, network(seed)), unbroken)


def test_training_lowers_the_loss_and_moves_every_weight(tmp_path: Path) -> None:
    ended = train(tmp_path, plan=StageConfig("toy", steps=80, batch_size=32, learning_rate=0.05, warmup_steps=3))
    entries = [entry for entry in log(tmp_path) if "error" in entry]
    assert entries[-1]["error"] < 0.5 * entries[0]["error"]
    start = network().state_dict()
    assert not [name for name, value in ended.items() if torch.equal(value, start[name])]


def test_the_log_has_each_stretch_and_the_plan(tmp_path: Path) -> None:
    train(tmp_path)
    entries = log(tmp_path)
    assert [entry.get("step") for entry in entries] == [None, 5, 10, 12, None]
    for entry in entries[1:-1]:
        assert entry["stage"] == "toy"
        assert {"error", "size", "gradient_norm", "steps_per_s"} <= set(entry)
        assert all(math.isfinite(value) for value in entry.values() if isinstance(value, float))
    assert entries[-1] == {"stage": "toy", "finished": True}
    assert entries[0]["from_step"] == 0
    assert entries[0]["plan"] == {
        "name": "toy",
        "steps": 12,
        "batch_size": 32,
        "learning_rate": 0.05,
        "warmup_steps": 3,
        "weight_decay": 0.05,
        "gradient_clip": 1.0,
    }


def test_a_logged_loss_is_the_mean_since_the_last_entry(tmp_path: Path) -> None:
    module = network()
    seen: list[float] = []
    losses_at = losses_of(module)

    def watched(step: int) -> Losses:
        losses = losses_at(step)
        seen.append(float(losses["error"].detach()))
        return losses

    train_stage(PLAN, module, module.parameters(), watched, RunFiles(tmp_path), log_every=5)
    logged = [entry["error"] for entry in log(tmp_path) if "error" in entry]
    expected = [sum(part) / len(part) for part in (seen[:5], seen[5:10], seen[10:])]
    assert logged == pytest.approx(expected, abs=1e-5)


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    ended = train(tmp_path)
    before = log(tmp_path)
    assert same(train(tmp_path, network(7), stop_at=0), ended)
    assert log(tmp_path) == before


@pytest.mark.parametrize("step", [0, 5, 11])
def test_a_loss_that_is_not_finite_stops_the_run_before_it_harms_the_state(tmp_path: Path, step: int) -> None:
    module = network()
    with pytest.raises(RuntimeError, match="non-finite"):
        train(tmp_path, module, spoil_at=step)
    assert all(bool(torch.isfinite(part).all()) for part in module.parameters())
    path = RunFiles(tmp_path).state("toy")
    assert path.exists() == (step >= 4)
    if path.exists():
        state = torch.load(path, weights_only=True)
        assert state["step"] == step // 4 * 4
        assert all(bool(torch.isfinite(value).all()) for value in state["module"].values())
    (tmp_path / "unbroken").mkdir()
    assert same(train(tmp_path), train(tmp_path / "unbroken")), "the run goes on once the loss is mended"


def test_a_save_that_fails_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, stop_at=5)

    def half(_: Any, path: Path) -> None:
        path.write_bytes(b"PK\x03\x04 half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(OSError, match="no space left"):
            train(tmp_path)
    assert torch.load(RunFiles(tmp_path).state("toy"), weights_only=True)["step"] == 4
    (tmp_path / "unbroken").mkdir()
    assert same(train(tmp_path), train(tmp_path / "unbroken"))


def test_only_the_given_parameters_learn(tmp_path: Path) -> None:
    module = network()
    start = {name: value.clone() for name, value in module.state_dict().items()}
    train_stage(PLAN, module, module[3].parameters(), losses_of(module), RunFiles(tmp_path))
    moved = {name for name, value in module.named_parameters() if not torch.equal(value, start[name])}
    assert moved == {"3.weight", "3.bias"}


def test_stages_keep_their_own_state(tmp_path: Path) -> None:
    other = StageConfig("other", steps=2, batch_size=32, learning_rate=0.01)
    train(tmp_path)
    train(tmp_path, plan=other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pt", "toy.pt", "training_log.jsonl"]
    assert torch.load(RunFiles(tmp_path).state("other"), weights_only=True)["step"] == 2


def test_the_rate_warms_up_and_decays(tmp_path: Path) -> None:
    rates: list[float] = []

    class Recorded(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Recorded)
        train(tmp_path)
    assert rates[:4] == pytest.approx([0.05 / 3, 0.1 / 3, 0.05, 0.05])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    last = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * 8 / 9))
    assert rates[-1] == pytest.approx(0.05 * last)
