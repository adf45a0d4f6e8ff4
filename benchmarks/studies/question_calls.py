"""Gain of a question cache: ``python -m emo_edge.benchmarks.studies.question_calls``.

Random weights of a language model's width, a few layers of it: the prompt of a label as a whole, with question caches,
and of several faces at once. Each way is timed in turn, round by round, on the same session.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from emo_edge.console.commands import EdgeCommand
from emo_edge.export.gguf.file_types import FILE_TYPES
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.planning.probes.language import LanguageProbe
from emo_edge.runtimes.base.sessions import CachedQuestion, Chunk, ScoreRequest
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.utils.files import write_json

WIDTH, MLP = 4096, 11008
"""Of LLaMA 7B."""
BEFORE, PICTURE, QUESTION = 33, 9, 56
"""Positions of emo-tiny's and EMO-LLaMA's prompt of a label: text, picture and face, sentence and question."""
LABELS = [[token] for token in range(300, 307)]
"""Seven labels of one token."""
FACES = 4
WHOLE = "whole prompt"
CACHES = ((0, 1), (7, 1), (28, 1), (0, 32))
"""Head and tail."""


@dataclass(frozen=True)
class Way:
    """One way to score labels: positions that it computes a face, and milliseconds a face in each round."""

    name: str
    positions: float
    ms: list[float]


def prompt(numbers: np.random.Generator) -> list[Chunk]:
    """Return a prompt about a picture that no other prompt has."""
    picture: NDArray[np.float32] = numbers.normal(0, 0.02, (PICTURE, WIDTH)).astype(np.float32)
    return [list(range(5, 5 + BEFORE)), picture, list(range(100, 100 + QUESTION))]


def request(numbers: np.random.Generator, cache: tuple[int, int] | None) -> ScoreRequest:
    """Return such a prompt with the labels, with a cached question of head and tail."""
    grey = partial(prompt, np.random.default_rng(0))
    question = CachedQuestion(QUESTION, *cache, grey) if cache else None
    return ScoreRequest(prompt(numbers), LABELS, question)


def timed(session: LlamaSession, rounds: int) -> list[Way]:
    """Time every way in turn; the first round, in which questions are computed, does not count."""
    seeds = count(1)

    def one(cache: tuple[int, int] | None) -> None:
        asked = request(np.random.default_rng(next(seeds)), cache)
        session.prefill(asked.prompt, asked.question)
        session.score(asked.branches)

    def many(cache: tuple[int, int]) -> None:
        session.score_many([request(np.random.default_rng(next(seeds)), cache) for _ in range(FACES)])

    ways: Mapping[str, tuple[int, float, Callable[[], None]]] = {
        WHOLE: (1, PICTURE + QUESTION, partial(one, None)),
        **{f"head {h}, tail {t}": (1, PICTURE + h + t, partial(one, (h, t))) for h, t in CACHES},
        **{f"{FACES} faces, head {h}, tail {t}": (FACES, PICTURE + h + t, partial(many, (h, t))) for h, t in CACHES},
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (faces, _, run) in ways.items():
            started = time.perf_counter()
            run()
            if number:
                taken[name].append(1000 * (time.perf_counter() - started) / faces)
    return [Way(name, positions, taken[name]) for name, (_, positions, _) in ways.items()]


def table(ways: list[Way]) -> str:
    """Return median times and, round by round, how many times faster than the whole prompt, in Markdown."""
    whole = np.array(ways[0].ms)
    lines = ["| way | positions a face | ms a face | times faster (lowest to highest round) |", "|---|---|---|---|"]
    for way in ways:
        ratios = whole / np.array(way.ms)
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        lines.append(f"| {way.name} | {way.positions:g} | {np.median(way.ms):.1f} | {spread} |")
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.option("--layers", default=4, show_default=True, type=click.IntRange(1, 32), help="Layers of LLaMA 7B's width.")
@click.option("--type", "file_type", default="q4_k_m", show_default=True, help="GGUF type of the weights.")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(3), help="Rounds that count.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(layers: int, file_type: str, rounds: int, json_path: Path | None) -> None:
    """Time the language model's part of a label with and without question caches."""
    if file_type not in FILE_TYPES:
        raise click.UsageError(f"--type: no {file_type}; choose from {', '.join(FILE_TYPES)}")
    with tempfile.TemporaryDirectory() as folder:
        path = LanguageProbe(WIDTH, MLP, layers, FILE_TYPES[file_type]).write(Path(folder) / "random.gguf")
        with LlamaSession(path, context_size=512) as session:
            ways = timed(session, rounds)
    click.echo(table(ways))
    click.echo(
        f"\n{layers} layers of LLaMA 7B's width, {file_type}, random weights, {usable_cpus()} threads; {BEFORE} "
        f"positions of text are kept, {PICTURE} are the picture, {QUESTION} the question; {rounds} rounds in turn.\n"
        f"{describe_machine()}"
    )
    if json_path:
        ways_json = [{"way": way.name, "positions": way.positions, "ms": way.ms} for way in ways]
        write_json(json_path, {"machine": describe_machine(), "layers": layers, "type": file_type, "ways": ways_json})


if __name__ == "__main__":
    main()
