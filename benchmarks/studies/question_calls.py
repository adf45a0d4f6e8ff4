"""Gain of a question cache: ``python -m emo_edge.benchmarks.studies.question_calls``.

Random weights of a language model's width, a few layers of it: the prompt of a label as a whole, with question caches,
and of several faces at once. Each way is timed in turn, round by round, on the same session; then the first label of
sessions that compute their question, and of those that read it from the file another session left.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
FIRST: Mapping[str, tuple[int, Mapping[str, str] | None]] = {
    "first label, question computed": (BEFORE + 2 * PICTURE + QUESTION + 1, None),
    "first label, question from its file": (PICTURE + 1, {"study": "question_calls"}),
}
"""Positions that are computed, and what makes a session keep its question in a file."""


@dataclass(frozen=True)
class Way:
    """One way to score labels: positions that it computes a face, and milliseconds a face in each round."""

    way: str
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


def first_labels(path: Path, rounds: int) -> list[Way]:
    """Time the first label of a session in turn: with a computed question, and with one that a file holds."""
    seeds, taken = count(1), {name: list[float]() for name in FIRST}
    for number in range(rounds + 1):
        for name, (_, made_by) in FIRST.items():
            with LlamaSession(path, context_size=512, made_by=made_by) as session:
                asked = request(np.random.default_rng(next(seeds)), CACHES[0])
                started = time.perf_counter()
                session.prefill(asked.prompt, asked.question)
                session.score(asked.branches)
                if number:
                    taken[name].append(1000 * (time.perf_counter() - started))
    return [Way(name, positions, taken[name]) for name, (positions, _) in FIRST.items()]


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Keep the files of questions in a folder, not in the user's cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def table(ways: list[Way]) -> str:
    """Return median times and, round by round, how many times faster than the whole prompt, in Markdown."""
    whole = np.array(ways[0].ms)
    lines = ["| way | positions a face | ms a face | times faster (lowest to highest round) |", "|---|---|---|---|"]
    for way in ways:
        ratios = whole / np.array(way.ms)
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        lines.append(f"| {way.way} | {way.positions:g} | {np.median(way.ms):.1f} | {spread} |")
    return "\n".join(lines)


@click.command(cls=EdgeCommand)
@click.option("--layers", default=4, show_default=True, type=click.IntRange(1, 32), help="Layers of LLaMA 7B's width.")
@click.option("--type", "file_type", default="q4_k_m", show_default=True, help="GGUF type of the weights.")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(3), help="Rounds that count.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(layers: int, file_type: str, rounds: int, json_path: Path | None) -> None:
    """Time the language model's part of a label with and without question caches, and the first of a process."""
    if file_type not in FILE_TYPES:
        raise click.UsageError(f"--type: no {file_type}; choose from {', '.join(FILE_TYPES)}")
    with tempfile.TemporaryDirectory() as folder:
        path = LanguageProbe(WIDTH, MLP, layers, FILE_TYPES[file_type]).write(Path(folder) / "random.gguf")
        with LlamaSession(path, context_size=512) as session:
            ways = timed(session, rounds)
        with own_cache(Path(folder) / "cache"):
            first = first_labels(path, rounds)
    click.echo(f"{table(ways)}\n\n{table(first)}")
    click.echo(
        f"\n{layers} layers of LLaMA 7B's width, {file_type}, random weights, {usable_cpus()} threads; {BEFORE} "
        f"positions of text are kept, {PICTURE} are the picture, {QUESTION} the question; {rounds} rounds in turn.\n"
        f"{describe_machine()}"
    )
    if json_path:
        made = {"machine": describe_machine(), "layers": layers, "type": file_type}
        write_json(json_path, {**made, "ways": [asdict(way) for way in ways], "first": [asdict(way) for way in first]})


if __name__ == "__main__":
    main()
