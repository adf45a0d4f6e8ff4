"""A run of ``emo-edge bench`` on drawings of action units, micro-expressions or pulses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.benchmarks.datasets.action_units import synthetic as action_units
from emo_edge.benchmarks.datasets.affective import synthetic as micro_expressions
from emo_edge.benchmarks.datasets.pulse import synthetic as pulses
from emo_edge.benchmarks.datasets.pulse.registry import open_pulse
from emo_edge.benchmarks.pulse.windows import measured, summary
from emo_edge.benchmarks.signals.micro_expressions import measured_micro_expressions
from emo_edge.benchmarks.signals.plan import SignalPlan, networks_of_units
from emo_edge.benchmarks.signals.report import micro_report, units_report
from emo_edge.benchmarks.signals.units import measured_units
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import InputError
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.signals.heart_rate import NOTICE
from emo_edge.machine.summary import describe_machine
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import replace_text, write_json

FIGURES, PAGE = "figures.json", "figures.md"
Measured = tuple[str, dict[str, Any]]
"""Tables in Markdown, and all figures as JSON values."""


def bench_signals(
    bundle: Path, plan: SignalPlan, out: Path | None = None, *, command: str = "", overwrite: bool = False
) -> tuple[str, Path]:
    """Measure a bundle on drawings, and write ``figures.json`` and ``figures.md``.

    Args:
        bundle: the directory.
        plan: options of the run.
        out: folder of the files; None takes ``bench-NAME-DATASET`` here.
        command: as typed, for the files.
        overwrite: True replaces the files of an earlier run.

    Returns the tables in Markdown, and the folder. Raises InputError before anything is drawn for a bundle or a data
    set that cannot be measured, and for files that are there.
    """
    opened = Bundle.open(bundle)
    plan.count()
    folder = out or Path(f"bench-{opened.manifest.name}-{plan.name}")
    targets = [folder / name for name in (FIGURES, PAGE)]
    there = [path for path in targets if path.exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]}: is there already; name another `out`, or `overwrite`")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name another `out`")
    for path in targets:
        require_output(path)
    text, figures = MEASURES[plan.name](opened, plan)
    conditions = f"{opened.manifest.name} on {plan.dataset}, {describe_machine()}."
    page = f"{text}\n\n{conditions}"
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "command": command,
        "dataset": plan.dataset,
        "synthetic": True,
        "bundle": opened.manifest.name,
        "emo-edge": __version__,
        "machine": describe_machine(),
        "figures": figures,
    }
    write_json(targets[0], values)
    replace_text(targets[1], f"# {plan.dataset}\n\n{page}\n")
    return page, folder


def _units(bundle: Bundle, plan: SignalPlan) -> Measured:
    evaluations = measured_units(bundle, plan)
    networks = networks_of_units(bundle, plan.profiles)
    figures = {variant: own.as_dict() for variant, own in evaluations.items()}
    return units_report(evaluations, networks), {"profiles": networks, "precisions": figures}


def _micro_expressions(bundle: Bundle, plan: SignalPlan) -> Measured:
    measurement = measured_micro_expressions(bundle, plan)
    networks = networks_of_units(bundle, plan.profiles)
    task = (bundle.manifest.tasks or {}).get("micro-expression")
    status = "not there" if task is None else task.status
    figures = {variant: own.as_dict() for variant, own in measurement.items()}
    values = {"profiles": networks, "precisions": figures, "classes": "a rule, untrained", "task": status}
    return micro_report(measurement, networks, status), values


def _pulses(bundle: Bundle, plan: SignalPlan) -> Measured:
    dataset, detector = open_pulse(plan.dataset), chosen_detector(bundle, plan.detector, plan.limits)
    progress = plan.reports.of("pulses")

    def shown(number: int, _: object) -> None:
        progress(number, len(dataset.recordings))

    report = measured(dataset, detector, "pos", detector.name, shown)
    text = (
        f"{summary([report])}\n\nDrawn faces, no people; {len(report.windows)} windows of 10 s, detector "
        f"{detector.name}. The pulse needs no network of the bundle. {NOTICE}"
    )
    return text, report.as_dict()


MEASURES: dict[str, Callable[[Bundle, SignalPlan], Measured]] = {
    action_units.NAME: _units,
    micro_expressions.NAME: _micro_expressions,
    pulses.NAME: _pulses,
}
"""By the name of the data set."""
