"""One training loop for every stage: seeded, logged, resumable."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from emo_edge.utils.files import replaced_file

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class StageConfig:
    """Length and learning rate of one stage."""

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 100
    weight_decay: float = 0.05
    gradient_clip: float = 1.0


@dataclass(frozen=True)
class RunFiles:
    """Files of a run: its log, and the state that it continues from."""

    directory: Path

    @property
    def log(self) -> Path:
        """JSON lines: what each start, stretch of steps and finished stage was."""
        return self.directory / "training_log.jsonl"

    def state(self, stage: str) -> Path:
        """Weights, optimizer and step of an unfinished or finished stage."""
        return self.directory / f"{stage}.pt"


def train_stage(
    plan: StageConfig,
    module: nn.Module,
    parameters: Iterable[nn.Parameter],
    losses_at: Callable[[int], Losses],
    files: RunFiles,
    *,
    save_every: int = 200,
    log_every: int = 50,
) -> None:
    """Train ``parameters`` of ``module`` for the plan's steps, continuing from the stage's saved state.

    ``losses_at(step)`` returns named losses already weighted; it must depend on the step and a fixed seed
    alone, so that a continued run gets the same batches as an unbroken one.
    """
    from tqdm import tqdm

    trained = list(parameters)
    optimizer = torch.optim.AdamW(_decay_groups(trained, plan.weight_decay), lr=plan.learning_rate, betas=(0.9, 0.98))
    first = _resume(files.state(plan.name), module, optimizer)
    if first < plan.steps:
        log_entry(files, {"stage": plan.name, "from_step": first, "plan": asdict(plan)})
    running: dict[str, list[float]] = {}
    since, counted = time.perf_counter(), 0
    for step in tqdm(range(first, plan.steps), desc=plan.name, initial=first, total=plan.steps, mininterval=5):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * _schedule(step, plan)
        losses = losses_at(step)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        norm = nn.utils.clip_grad_norm_(trained, plan.gradient_clip, error_if_nonfinite=True)
        optimizer.step()
        counted += 1
        for name, value in {**losses, "gradient_norm": norm}.items():
            running.setdefault(name, []).append(float(value.detach()))
        if (step + 1) % log_every == 0 or step + 1 == plan.steps:
            elapsed = time.perf_counter() - since
            means = {name: round(sum(values) / len(values), 5) for name, values in running.items()}
            rate = round(counted / elapsed, 3)
            log_entry(files, {"stage": plan.name, "step": step + 1, **means, "steps_per_s": rate})
            running, since, counted = {}, time.perf_counter(), 0
        if (step + 1) % save_every == 0 or step + 1 == plan.steps:
            _save(files.state(plan.name), module, optimizer, step + 1)
    if first < plan.steps:
        log_entry(files, {"stage": plan.name, "finished": True})


def _schedule(step: int, plan: StageConfig) -> float:
    """Linear warm-up, then a cosine to 2 % of the peak."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    progress = (step - plan.warmup_steps) / max(plan.steps - plan.warmup_steps, 1)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def _decay_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _resume(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def is_finished(plan: StageConfig, files: RunFiles) -> bool:
    """Return True if a stage's saved state has all steps of the plan behind it."""
    path = files.state(plan.name)
    if not path.exists():
        return False
    return int(torch.load(path, weights_only=True, map_location="cpu", mmap=True)["step"]) >= plan.steps


def _save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    with replaced_file(path) as partial:
        torch.save({"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)


def log_entry(files: RunFiles, entry: dict[str, object]) -> None:
    """Append one JSON line to the run's log."""
    with files.log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
