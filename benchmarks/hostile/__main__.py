"""``python -m emo_edge.benchmarks.hostile KIND --seed S --count N``: exit code 1 where a file broke its reader."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import click

from emo_edge.benchmarks.hostile.trials import Kind, run_campaign

KINDS = {
    "adapter": "emo_edge.benchmarks.hostile.weights:ADAPTER",
    "config": "emo_edge.benchmarks.hostile.configs:CONFIG",
    "face-config": "emo_edge.benchmarks.hostile.configs:FACE_CONFIG",
    "graph": "emo_edge.benchmarks.hostile.graphs:GRAPH",
    "imatrix": "emo_edge.benchmarks.hostile.statistics:IMATRIX",
    "index": "emo_edge.benchmarks.hostile.weights:INDEX",
    "journal": "emo_edge.benchmarks.hostile.journals:JOURNAL",
    "language-tokenizer": "emo_edge.benchmarks.hostile.tokenizers:LANGUAGE",
    "question-tokenizer": "emo_edge.benchmarks.hostile.tokenizers:QUESTION",
    "ranges": "emo_edge.benchmarks.hostile.statistics:RANGES",
    "safetensors": "emo_edge.benchmarks.hostile.weights:SAFETENSORS",
    "torch": "emo_edge.benchmarks.hostile.weights:TORCH",
}
"""Module and name of each kind."""
SHOWN = 20
"""Failures that are printed; all are kept."""


def kind_of(name: str) -> Kind:
    """Load a kind by its name."""
    module, _, attribute = KINDS[name].partition(":")
    kind: Kind = getattr(importlib.import_module(module), attribute)
    return kind


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="KIND...", type=click.Choice([*KINDS, "all"]))
@click.option("--seed", default=0, show_default=True, help="Seed of the mutations.")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(1), help="Number of files of each kind.")
@click.option(
    "--keep", type=click.Path(path_type=Path), default=Path("hostile"), show_default=True, help="For failures."
)
def main(names: tuple[str, ...], seed: int, count: int, keep: Path) -> None:
    """Read mutated files of each KIND, and count those that are read, refused, or break their reader."""
    failed = False
    for name in KINDS if "all" in names else dict.fromkeys(names):
        start = time.monotonic()
        outcome = run_campaign(kind_of(name), seed, count, keep / name)
        failed |= bool(outcome.failures)
        click.echo(
            f"{name}: {count} files, {outcome.read} read, {outcome.refused} refused, {len(outcome.failures)} failures, "
            f"{time.monotonic() - start:.0f} s"
        )
        for failure in outcome.failures[:SHOWN]:
            click.echo(f"  {failure.number}: {failure.problem}")
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
