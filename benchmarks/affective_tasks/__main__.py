"""Command of the evidence: ``python -m emo_edge.benchmarks.affective_tasks BUNDLE --page FILE``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from emo_edge.benchmarks.affective_tasks.blends import compound_evidence, prototype_evidence
from emo_edge.benchmarks.affective_tasks.checkpoint_tasks import write_tasks
from emo_edge.benchmarks.affective_tasks.judgements import Judgements, read_drawings
from emo_edge.benchmarks.affective_tasks.pulse_answers import PulseAnswers, pulse_answers
from emo_edge.benchmarks.affective_tasks.units import unit_evidence
from emo_edge.benchmarks.emo_tiny.tasks import own_tasks
from emo_edge.benchmarks.report.marked_tables import updated
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.tasks.section import LEAST_AUC
from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.status_line import StatusLine
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import replace_text, write_json

PARTS = ("judgements", "units", "blends", "pulses")


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--part", "chosen", type=NameChoice(PARTS), multiple=True, help="Part to measure; all if left out.")
@click.option("--drawings", default=350, show_default=True, type=click.IntRange(20), help="Drawings that are judged.")
@click.option("--blends", default=330, show_default=True, type=click.IntRange(11), help="Drawings of two expressions.")
@click.option(
    "--prototypes", default=1100, show_default=True, type=click.IntRange(11),
    help="Drawings of two expressions that are named by their action units.",
)  # fmt: skip
@click.option("--pulses", default=500, show_default=True, type=click.IntRange(10), help="Answers about a heart rate.")
@click.option("--config", type=click.Path(path_type=Path, exists=True), help="config.json that gets the tasks.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Document whose marked tables to replace.")
def main(bundle: Path, chosen: tuple[str, ...], **options: Any) -> None:
    """Measure the affective tasks of BUNDLE on drawings that no training saw.

    Ends with 7 where an answer about a measured heart rate lacks the number, or has another one.
    """
    if options["config"] and chosen:
        raise InputError("`config` gets the evidence of every part: leave `part` out")
    opened, status = Bundle.open(bundle), StatusLine()

    def shown(what: str) -> Callable[[int], None]:
        return lambda done: status.show(f"{what}: {done}")

    measured = _measured(opened, chosen or PARTS, options, shown)
    status.clear()
    name = options["profile"] or opened.manifest.default_profile
    note = f"Profile {name}, drawings of `emo_edge.benchmarks.synthetic`, {describe_machine()}."
    tables = {part: f"{table}\n\n{note}" if part == "judgements" else table for part, table in measured.tables.items()}
    click.echo("\n\n".join(tables.values()))
    if options["target"]:
        figures = {"machine": describe_machine(), "profile": name, "evidence": measured.evidence}
        write_json(options["target"], figures)
    if options["page"]:
        replace_text(options["page"], updated(options["page"].read_text(encoding="utf-8"), tables))
    if options["config"]:
        gives_units = opened.manifest.action_units is not None
        write_tasks(options["config"], own_tasks(opened.manifest.prompt, measured.evidence, gives_units=gives_units))
    answers = measured.answers
    if answers and (answers.with_the_number < answers.answers or answers.refused_without_number < answers.refused):
        raise AccuracyGateError("an answer about a heart rate does not carry the measured number alone")


@dataclass
class Measured:
    """Parts that were measured."""

    tables: dict[str, str] = field(default_factory=dict)
    """In Markdown, by part."""
    evidence: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """By task."""
    answers: PulseAnswers | None = None


def _measured(
    bundle: Bundle, parts: Sequence[str], options: Mapping[str, Any], shown: Callable[[str], Callable[[int], None]]
) -> Measured:
    measured, profile = Measured(), options["profile"]
    gives_units = bundle.manifest.action_units is not None
    if "judgements" in parts:
        judgements = read_drawings(bundle, profile, options["drawings"], shown("judgements"))
        measured.tables["judgements"] = judgement_table(judgements)
        measured.evidence["expression"] = judgements.evidence()
    if "units" in parts:
        units = unit_evidence(bundle, profile, options["drawings"], shown("action units")) if gives_units else {}
        measured.tables["units"] = unit_table(units)
        measured.evidence |= {"au": {"judgement": units}} if units else {}
    if "blends" in parts:
        compound = compound_evidence(bundle, profile, options["blends"], shown("blends"))
        if gives_units:
            count = options["prototypes"]
            compound |= prototype_evidence(bundle, profile, count, shown("blends by action units"))
        measured.tables["blends"] = blend_table(compound)
        measured.evidence["compound"] = compound
    if "pulses" in parts:
        measured.answers = pulse_answers(bundle, profile, options["pulses"], shown("heart rates"))
        measured.tables["pulses"] = pulse_table(measured.answers)
        measured.evidence["heart-rate"] = {"open": measured.answers.evidence()}
    return measured


def judgement_table(judgements: Judgements) -> str:
    """Return both ways of a judgement in Markdown."""
    figures = judgements.evidence()["judgement"]
    lines = [
        f"| judgement by | AUC, mean of labels (95 %) | least label | right at 0.5 | AUC ≥ {LEAST_AUC:.2f} |",
        "|---|---|---|---|---|",
    ]
    for name, way in (("choice", "choice"), ("yes_no", "yes against no, corrected by a blank")):
        auc, low, high = (figures[f"auc_{name}{end}"] for end in ("", "_low", "_high"))
        least, right = figures[f"auc_{name}_least_label"], figures[f"correct_{name}"]
        believed = "yes" if auc >= LEAST_AUC else "no"
        lines.append(f"| {way} | {auc:.3f} ({low:.3f}–{high:.3f}) | {least:.3f} | {right:.1%} | {believed} |")
    count, labels = len(judgements.truth), len(judgements.labels)
    return "\n".join([*lines, "", f"{count} drawings, {labels} judgements each, one a label."])


def unit_table(figures: dict[str, float]) -> str:
    """Return the judgements about action units in Markdown."""
    if not figures:
        return "The bundle gives no action units."
    auc, least, right = (figures[name] for name in ("auc_head", "auc_head_least_unit", "correct_head"))
    return "\n".join(
        [
            "| action units by the network that gives them | |",
            "|---|---|",
            f"| AUC, mean of the units | {auc:.3f} |",
            f"| AUC of the least unit | {least:.3f} |",
            f"| right at each unit's threshold | {right:.1%} |",
            f"| drawings | {figures['samples']:.0f} |",
        ]
    )


def blend_table(compound: dict[str, dict[str, float]]) -> str:
    """Return both ways of naming a blend in Markdown."""
    ways = {
        "choice": "choice of the 11 compound labels",
        "product_of_two": "product of the two basic probabilities",
        "prototypes": "prototypes of the two, read off the network's action units",
        "prototypes_of_drawn_units": "the same rule, off the units that were drawn: no network",
    }
    lines = ["| compound expressions by | right (95 %) | chance | drawings |", "|---|---|---|---|"]
    for name, figures in compound.items():
        low, high = figures["accuracy_low"], figures["accuracy_high"]
        interval = f"{figures['accuracy']:.3f} ({low:.3f}–{high:.3f})"
        lines.append(f"| {ways[name]} | {interval} | {figures['chance']:.3f} | {figures['samples']:.0f} |")
    return "\n".join(lines)


def pulse_table(answers: PulseAnswers) -> str:
    """Return the counts of answers about a heart rate in Markdown."""
    return "\n".join(
        [
            "| answers about a heart rate | |",
            "|---|---|",
            f"| carry the measured number and no other | {answers.with_the_number} of {answers.answers} |",
            f"| without a reliable pulse give the reason and no rate | {answers.refused_without_number} of "
            f"{answers.refused} |",
        ]
    )


if __name__ == "__main__":
    main()
