"""llama-server on the same GGUF: ``python -m emo_edge.benchmarks.serving.llama_server BUNDLE --llama-server PROGRAM``.

llama-server takes no embeddings, so it gets as many tokens as a picture has positions, other ones each time, and the
bundle's question; it gives the probabilities of one token. Both sides are asked in turn, one client each. Needs
``--llama-server``, llama.cpp's program, which nothing here builds.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import numpy as np

from emo_edge.benchmarks.serving.__main__ import pictures, table
from emo_edge.benchmarks.serving.clients import PATIENCE_S, READINGS, server
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import classify_question
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import EmoEdgeError, InputError
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import write_json

WARM = 8
ASK_AGAIN_S = 0.1
FIRST_TOKEN, TOKENS = 300, 200
"""Tokens that stand for a picture: words, beyond the vocabulary's marks and bytes."""
LABELS = "rafdb7"
Answer = dict[str, Any]


@contextmanager
def llama_server(program: Path, gguf: Path, threads: int) -> Iterator[str]:
    """Run llama-server inside the block; yield its host and port."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = str(bound.getsockname()[1])
    address = f"127.0.0.1:{port}"
    command = [str(program), "-m", str(gguf), "--host", "127.0.0.1", "--port", port, "-t", str(threads), "-np", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(address, process)
            yield address
        finally:
            process.terminate()


def _wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        with suppress(OSError, http.client.HTTPException, EmoEdgeError):
            asked(address, "GET", "/health")
            return
        time.sleep(ASK_AGAIN_S)
    raise EmoEdgeError("llama-server did not start: run it by hand with the bundle's GGUF to see why")


def asked(address: str, method: str, path: str, body: bytes | None = None, media: str = "application/json") -> Answer:
    """Return the JSON of an answer; raise EmoEdgeError for any but a 200."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {"Content-Type": media})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise EmoEdgeError(f"{path} answered {response.status}: {content[:200]!r}")
    answer: Answer = json.loads(content)
    return answer


def completion(manifest: Manifest, draw: random.Random, labels: Sequence[str]) -> bytes:
    """Return a request of llama-server: tokens in the picture's place, the question, one token with probabilities."""
    count = manifest.frames_segment.tokens_per_frame
    filler = [FIRST_TOKEN + draw.randrange(TOKENS) for _ in range(count)]
    content = {
        "prompt": [*filler, classify_question(manifest.prompt, labels)],
        "n_predict": 1,
        "n_probs": len(labels),
        "temperature": 0,
        "cache_prompt": True,
    }
    return json.dumps(content, allow_nan=False).encode()


def timed(call: Callable[[], Answer]) -> tuple[float, Answer]:
    """Return milliseconds and answer."""
    started = time.perf_counter()
    answer = call()
    return 1000 * (time.perf_counter() - started), answer


def measure(bundle: Path, program: Path, options: dict[str, Any]) -> dict[str, list[float]]:
    """Return the milliseconds of each side, in turn, and the positions that llama-server computed."""
    opened, draw, files = Bundle.open(bundle), random.Random(0), pictures()
    manifest, (name, profile) = opened.manifest, profile_of(opened, options["profile"])
    component = manifest.components.language
    if component is None or profile.language is None:
        raise InputError(f"{manifest.name} has no language model that llama-server could read")
    (gguf,) = opened.files(component.variants[profile.language])
    labels, engine = manifest.label_sets[LABELS], ["--device", "cpu", "--profile", name]
    engine += ["--threads", str(options["threads"])]
    rows: dict[str, list[float]] = {key: [] for key in ("ours_text", "theirs_text", "theirs_trip", "theirs_positions")}
    with server(bundle, engine) as ours, llama_server(program, gguf, options["threads"]) as theirs:
        for number in range(WARM + options["readings"]):
            picture = files[number % len(files)]
            read = asked(ours.address, "POST", READINGS, picture, "image/jpeg")
            body = completion(manifest, draw, labels)
            trip, answer = timed(lambda body=body: asked(theirs, "POST", "/completion", body))  # type: ignore[misc]
            faces = read["results"][0]["readings"]
            if number < WARM or not faces:
                continue
            stages, clock = faces[0]["stage_ms"], answer["timings"]
            rows["ours_text"].append(stages["prefill"] + stages["score"])
            rows["theirs_text"].append(clock["prompt_ms"] + clock["predicted_ms"])
            rows["theirs_trip"].append(trip)
            rows["theirs_positions"].append(clock["prompt_n"])
    return rows


def figures(rows: dict[str, list[float]]) -> list[tuple[str, str]]:
    """Return the rows of the table."""
    names = {
        "ours_text": "emo-edge serve: prefill and label scores of a reading",
        "theirs_text": "llama-server: prompt and one token, by its own clock",
        "theirs_trip": "llama-server: a request until its answer",
    }
    table_rows = []
    for key, name in names.items():
        p50, p90 = np.percentile(rows[key], (50, 90))
        table_rows.append((f"{name}, p50 and p90", f"{p50:.1f} and {p90:.1f} ms"))
    return [*table_rows, ("llama-server: positions computed, p50", f"{np.median(rows['theirs_positions']):.0f}")]


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--llama-server", "program", required=True, type=click.Path(path_type=Path), help="llama.cpp's llama-server."
)
@click.option("--profile", help="One of the bundle's profiles; the default is the bundle's.")
@click.option("--readings", default=100, show_default=True, type=click.IntRange(2), help="Of each side.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="Of each side.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of all figures and raw values.")
def main(bundle: Path, program: Path, target: Path | None, **options: Any) -> None:
    """Measure the text part of ``emo-edge serve`` and llama-server on the same GGUF, in turn."""
    if not os.access(program, os.X_OK):
        raise InputError(f"{program}: no program; build llama-server from llama.cpp and name it here")
    before = os.getloadavg()[0]
    measured = measure(bundle, program, options)
    rows, machine = figures(measured), describe_machine()
    click.echo(f"{machine}. Load before: {before:.2f}.\n\n{table(rows)}")
    if target:
        write_json(target, {"machine": machine, "load_before": before, **options, "figures": dict(rows), **measured})


if __name__ == "__main__":
    main()
