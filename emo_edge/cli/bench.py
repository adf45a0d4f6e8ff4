"""``emo-edge bench``: accuracy, latency, memory and energy of every profile, beside full precision."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from emo_edge.errors import InputError
from emo_edge.runtimes.base.devices import DEVICES
from emo_edge.utils.commands import EdgeCommand

if TYPE_CHECKING:
    from emo_edge.benchmarks.workload.config import BenchConfig

COMPARE = "compare"


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
        """Run whichever of the two the context is of."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


@click.command(
    cls=BenchCommand, epilog="emo-edge bench compare A/report.json B/report.json says what changed beyond noise."
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--checkpoint", help="What BUNDLE was exported from: a directory, or emo-tiny.")
@click.option("--dataset", required=True, help="A data set's name, a folder of folders, a .csv, .jsonl, synthetic:N.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of your copy of the data set.")
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option("--fold", type=int, help="Of a data set that is measured in folds.")
@click.option("--label-map", multiple=True, metavar="THEIRS=OURS", help="A label of theirs; =nothing leaves it out.")
@click.option("--profile", "profiles", multiple=True, help="Measure this profile; all if left out.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Threads of each engine, PyTorch's too.")
@click.option("--samples", type=click.IntRange(1), help="Draw so many at random, with a fixed seed.")
@click.option("--frames", default=8, show_default=True, type=click.IntRange(1), help="Frames of a clip.")
@click.option("--generate/--no-generate", default=True, help="Write answers as free text, too.")
@click.option(
    "--generated", default=200, show_default=True, type=click.IntRange(1), help="Samples they are written of."
)
@click.option("--latency-rounds", default=30, show_default=True, type=click.IntRange(1), help="Timed readings.")
@click.option("--cold", default=3, show_default=True, type=click.IntRange(0), help="Fresh processes of each row.")
@click.option("--batch", default="1,2,4", show_default=True, help="Faces read at once.")
@click.option("--vs", metavar="COMMAND", help="Time this command around the same files; {files} stands for them.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report; bench-NAME if left out.")
@click.option("--quick", is_flag=True, help="Few samples and rounds: to see that it runs, not to publish.")
@click.option("--overwrite", is_flag=True, help="Measure again what --out holds.")
@click.pass_context
def main(context: click.Context, /, bundle: Path, out: Path | None, checkpoint: str | None, **choices: Any) -> None:
    """Measure BUNDLE's profiles beside its full-precision checkpoint, on the same samples.

    Writes report.json (every raw time), report.md and report.html, and what each row says of each
    sample. Stopped, the same command goes on. A profile that cannot run here is a row that says why.
    """
    from emo_edge.benchmarks.measure.machine_pulse import DEFAULT_WAITING, Waiting
    from emo_edge.benchmarks.runner.run import bench
    from emo_edge.utils.progress import shown_reports

    overwrite, plan = choices.pop("overwrite"), plan_of(**choices)
    with shown_reports() as reports:
        folder = bench(
            bundle,
            plan,
            out,
            checkpoint=checkpoint,
            command=typed(context),
            overwrite=overwrite,
            waiting=context.find_object(Waiting) or DEFAULT_WAITING,
            reports=reports,
        )
    click.echo(folder)


def plan_of(
    *, label_map: tuple[str, ...], generate: bool, generated: int, batch: str, quick: bool, **rest: Any
) -> BenchConfig:
    """Read the options that are text; raise InputError for one that cannot be read."""
    from emo_edge.benchmarks.workload.config import BenchConfig

    pairs = [entry.partition("=") for entry in label_map]
    if wrong := [entry for entry, (theirs, sign, _) in zip(label_map, pairs, strict=True) if not (theirs and sign)]:
        raise InputError(f"--label-map reads THEIRS=OURS, not {wrong[0]!r}")
    try:
        batches = tuple(dict.fromkeys(int(word) for word in batch.split(",")))
    except ValueError as error:
        raise InputError(f"--batch reads like 1,2,4, not {batch!r}") from error
    plan = BenchConfig(
        label_map=tuple((theirs, ours) for theirs, _, ours in pairs),
        written=generated if generate else 0,
        batches=batches,
        **rest,
    )
    return plan.quick() if quick else plan


def typed(context: click.Context) -> str:
    """Write the command again from what was given, defaults left out."""
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
