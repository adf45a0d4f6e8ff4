"""The time of a run, predicted from the costs of its stages, and the check of that against runs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emo_edge.batch.config import LabelConfig
from emo_edge.batch.run import ROWS_PER_PART
from emo_edge.benchmarks.batch.contenders import Figures, apart, locally, on_nodes, ray_start, with_threads
from emo_edge.benchmarks.batch.costs import StageCosts, stage_costs
from emo_edge.machine.cpus import usable_cpus
from emo_edge.planning.capacity_plan import PlanRequest
from emo_edge.planning.device_catalogue import CATALOGUE
from emo_edge.planning.models import open_subject
from emo_edge.planning.planner import make_plan
from emo_edge.planning.probes.machine import device_for

LOCAL, NODES = (1, 2), (2, 3, 4)
"""Workers of the runs that are checked, and nodes of one actor each."""
MILLION = 1_000_000
ORINS = ("orin-nano-8gb", "orin-nx-16gb", "agx-orin-64gb")


def per_picture(costs: StageCosts, workers: int, machines: int = 1) -> float:
    """Return the seconds of a picture while ``workers`` readers of one thread on each of some machines are at work.

    A machine with a CPU to spare reads while the command hands out; one that has none does both in turn. More readers
    than CPUs read no faster. The command itself is one process, which bounds any number of machines.
    """
    busy = min(workers, costs.cpus)
    span = (busy - 1) / (costs.cpus - 1) if costs.cpus > 1 else 1.0
    picture = costs.alone.picture + span * (costs.full.picture - costs.alone.picture)
    shared = costs.command if busy == costs.cpus and machines == 1 else 0.0
    return max((picture + shared) / busy / machines, costs.command)


def seconds(costs: StageCosts, pictures: int, workers: int, start: float | None = None) -> float:
    """Return the seconds of a run on one machine, from the start of the engine to the last row.

    The first reader opens alone, the others while it reads; ``start`` is the time until the first is open, where that
    is not a process of this machine.
    """
    first = costs.alone.open if start is None else start
    others = costs.full.open if workers > 1 else 0.0
    early = min(pictures, others / per_picture(costs, 1))
    return first + others + (pictures - early) * per_picture(costs, workers)


@dataclass(frozen=True)
class Check:
    """A run beside its prediction."""

    run: str
    predicted_s: float
    measured_s: float

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured_s / self.predicted_s


def checked(
    config: LabelConfig, pictures: Path, work: Path, sample: int, report: Callable[[str], None]
) -> tuple[StageCosts, list[Check], list[Figures]]:
    """Measure the stages, predict the runs before they begin, and run them; return all raw figures, too."""
    one, count, raw = with_threads(config, 1), len(os.listdir(pictures)), list[Figures]()
    costs, checks = stage_costs(one, pictures, sample, usable_cpus()), list[Check]()

    def check(run: str, predicted: float, *call: Any) -> None:
        raw.append(apart(*call))
        checks.append(Check(run, predicted, raw[-1]["seconds"]))
        report(f"{run}: {predicted:.1f} s predicted, {checks[-1].measured_s:.1f} s measured")

    for workers in LOCAL:
        out = work / f"cost-{workers}"
        call: tuple[Any, ...] = (locally, one, pictures, out, ROWS_PER_PART, workers)
        check(f"local, {workers} workers", seconds(costs, count, workers), *call)
    if importlib.util.find_spec("ray"):
        start = apart(ray_start, one)["seconds"]
        for nodes in NODES:
            call = (on_nodes, one, pictures, work / f"nodes-{nodes}", ROWS_PER_PART, nodes)
            check(f"Ray, {nodes} nodes of one CPU here", seconds(costs, count, nodes, start), *call)
    return costs, checks, raw


def cost_rows(costs: StageCosts, checks: list[Check]) -> dict[str, str]:
    """Return the costs of the stages and the checks as a reader compares them."""
    ms = {"decode": "decode", "networks": "networks", "language model": "language", "rows": "rows"}
    rows = {
        f"a picture, {name}, ms alone / all CPUs busy": " / ".join(
            f"{1e3 * getattr(one, key):.2f}" for one in (costs.alone, costs.full)
        )
        for name, key in ms.items()
    }
    rows["a picture, hand out and receive, ms"] = f"{1e3 * costs.hand_out:.3f}"
    rows["a picture, write, ms"] = f"{1e3 * costs.writing:.3f}"
    return rows | {
        one.run: f"{one.predicted_s:.1f} s predicted, {one.measured_s:.1f} s measured ({one.ratio:.2f})"
        for one in checks
    }


def fleet_rows(costs: StageCosts, bundle: Path) -> dict[str, str]:
    """Return the hours of a million pictures: on machines like this one by the model, on Orins by `emo-edge plan`."""
    rows = {}
    for machines in (1, 4, 16):
        hours = MILLION * per_picture(costs, costs.cpus, machines) / 3600
        rows[f"a million pictures, {machines} machines like this one"] = f"{hours:.1f} h, by the model"
    subject = open_subject(str(bundle))
    for name in ORINS:
        plan = make_plan(subject, device_for(subject, name), PlanRequest())
        best = next((one for one in plan.profiles if one.profile == plan.chosen), None)
        ends = best and [
            MILLION * (ms / 1e3 + costs.alone.decode) / 3600 for ms in (best.label_ms.least, best.label_ms.most)
        ]
        text = f"{ends[0]:.1f} to {ends[1]:.1f} h, estimated by emo-edge plan" if ends else "does not fit"
        rows[f"a million pictures, one {CATALOGUE[name].title}"] = text
    return rows


def cost_json(costs: StageCosts, checks: list[Check], raw: list[Figures]) -> dict[str, Any]:
    """Return the raw values."""
    return {"costs": asdict(costs), "checks": [asdict(one) for one in checks], "runs": raw}
