"""``emo-edge bench``: accuracy, latency, memory and energy of every profile, compared with full precision."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from emo_edge.cli.completion import complete_bundle, complete_profile
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.choices import THREADS, NameChoice, label_map_option, label_pairs
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.face_options import face_options
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.runtimes.base.device_names import DEVICES

if TYPE_CHECKING:
    from emo_edge.benchmarks.workload.config import BenchConfig

COMPARE = "compare"
SIGNALS = ("synthetic-au", "synthetic-micro", "synthetic-pulse")
"""Data sets whose truth is no label of an expression."""
SIGNAL_OPTIONS = (
    "bundle", "dataset", "profiles", "device", "threads", "detector", "min_score", "min_face", "max_faces", "out",
    "overwrite",
)  # fmt: skip


class BenchCommand(EdgeCommand):
    """The benchmark; with ``compare`` as its first word, the comparison of two reports."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Hand the words after ``compare`` to that command; a bundle of that name is ``./compare``."""
        if args[:1] == [COMPARE]:
            command: click.Command = importlib.import_module("emo_edge.benchmarks.report.compare.command").main
            return command.make_context(f"{info_name} {COMPARE}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the benchmark or the comparison, whichever command the context has."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


@click.command(
    cls=BenchCommand, epilog="emo-edge bench compare A/report.json B/report.json lists the changes beyond noise."
)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.option("--checkpoint", help="Checkpoint that BUNDLE was exported from: a directory, or emo-tiny.")
@click.option(
    "--dataset",
    required=True,
    help="Data set: a name, a folder with a folder a label, a .csv, a .jsonl, synthetic:N; or synthetic-au:N, "
    "synthetic-micro:N, synthetic-pulse:N, which are measured without labels.",
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of your copy of the data set.")
@click.option("--split", default="test", show_default=True, help="Split of the data set: train, val or test.")
@click.option("--fold", type=int, help="Fold of a data set that is measured in folds.")
@label_map_option
@click.option(
    "--profile", "profiles", multiple=True, shell_complete=complete_profile, help="Profile to measure; all if left out."
)
@click.option(
    "--device", type=NameChoice(DEVICES), default="auto", show_default=True, help="Device that runs the engines."
)
@click.option("--threads", type=THREADS, help="Number of threads of each engine, PyTorch's too.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Number of processes that read the samples for accuracy; times are taken by one alone.",
)
@face_options
@click.option("--samples", type=click.IntRange(1), help="Number of samples, drawn at random with a fixed seed.")
@click.option("--frames", default=8, show_default=True, type=click.IntRange(1), help="Number of frames of a clip.")
@click.option("--generate/--no-generate", default=True, help="Measure free-text answers, too.")
@click.option(
    "--generated",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Number of samples with a free-text answer.",
)
@click.option(
    "--latency-rounds", default=30, show_default=True, type=click.IntRange(1), help="Number of timed readings."
)
@click.option(
    "--cold", default=3, show_default=True, type=click.IntRange(0), help="Number of fresh processes of each row."
)
@click.option("--batch", default="1,2,4", show_default=True, help="Numbers of faces that are read at once.")
@click.option("--vs", metavar="COMMAND", help="Another command to time on the same files, which replace {files}.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report; bench-NAME if left out.")
@click.option("--quick", is_flag=True, help="Few samples and rounds: a test run, not for publication.")
@click.option("--overwrite", is_flag=True, help="Measure again, and replace the report in --out.")
@click.pass_context
def main(context: click.Context, /, bundle: Path, out: Path | None, checkpoint: str | None, **choices: Any) -> None:
    """Measure BUNDLE's profiles against its full-precision checkpoint, on the same samples.

    Prints the first table and, as the last line, the folder of report.json (every raw time), report.md and
    report.html, and each row's prediction for each sample. A stopped run continues with the same command. A
    profile that cannot run here is a row with the reason. On synthetic-au, synthetic-micro and synthetic-pulse it
    measures action units, micro-expressions and pulses instead, and writes figures.json and figures.md.
    """
    from emo_edge.console.progress import shown_reports

    if choices["dataset"].partition(":")[0] in SIGNALS:
        measure_signals(context, bundle, out, choices)
        return

    with shown_reports() as reports:
        from emo_edge.benchmarks.measure.reference_workload import DEFAULT_WAITING, QUICK_WAITING, Waiting
        from emo_edge.benchmarks.report.markdown import overview_from_report
        from emo_edge.benchmarks.report.reader import report_from_json
        from emo_edge.benchmarks.runner.run import bench

        usual = QUICK_WAITING if choices["quick"] else DEFAULT_WAITING
        overwrite, plan = choices.pop("overwrite"), plan_of(**choices)
        folder = bench(
            bundle_directory(bundle),
            plan,
            out,
            checkpoint=checkpoint,
            command=typed(context),
            overwrite=overwrite,
            waiting=context.find_object(Waiting) or usual,
            reports=reports,
        )
    echo(f"{overview_from_report(report_from_json(folder))}\n{folder}")


def measure_signals(context: click.Context, bundle: Path, out: Path | None, choices: dict[str, Any]) -> None:
    """Measure action units, micro-expressions or pulses; raise InputError for options of labels."""
    from emo_edge.console.progress import shown_reports

    given = [name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    other = [name for name in given if name not in SIGNAL_OPTIONS]
    if other:
        raise InputError(f"`{other[0]}` is an option of data sets of labels, and {choices['dataset']} is none")
    with shown_reports() as reports:
        from emo_edge.benchmarks.signals.plan import SignalPlan
        from emo_edge.benchmarks.signals.run import bench_signals
        from emo_edge.faces.limits import FaceLimits

        limits = FaceLimits(choices["min_score"], choices["min_face"], choices["max_faces"])
        plan = SignalPlan(
            choices["dataset"], choices["profiles"], choices["device"], choices["threads"], choices["detector"], limits,
            reports,
        )  # fmt: skip
        text, folder = bench_signals(
            bundle_directory(bundle), plan, out, command=typed(context), overwrite=choices["overwrite"]
        )
    echo(f"{text}\n{folder}")


def plan_of(
    *, label_map: tuple[str, ...], generate: bool, generated: int, batch: str, quick: bool, **rest: Any
) -> BenchConfig:
    """Return the configuration from the options; raise InputError for one that cannot be read."""
    from emo_edge.benchmarks.workload.config import BenchConfig

    try:
        batches = tuple(dict.fromkeys(int(word) for word in batch.split(",")))
    except ValueError as error:
        raise InputError(f"--batch reads like 1,2,4, not {batch!r}") from error
    plan = BenchConfig(
        label_map=label_pairs(label_map),
        written=generated if generate else 0,
        batches=batches,
        **rest,
    )
    return plan.quick() if quick else plan


def typed(context: click.Context) -> str:
    """Return the command as typed, defaults left out."""
    words = context.command_path.split()
    for parameter in context.command.params:
        name = str(parameter.name)
        if context.get_parameter_source(name) != ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [parameter.opts[0], str(one)] if isinstance(parameter, click.Option) else [str(one)]
    return shlex.join(words)
