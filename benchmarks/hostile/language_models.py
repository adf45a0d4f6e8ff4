"""GGUF files: their header checked as before every opening, and what passes opened and computed by llama.cpp."""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from emo_edge.benchmarks.hostile.mutate import INTEGERS, mutated_bytes
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.bundle.checks.gguf import check_gguf
from emo_edge.planning.probes.language import F16, LanguageProbe
from emo_edge.runtimes.llama_cpp.session import LlamaSession

KEY = re.compile(rb"(?:general|llama|tokenizer)\.[a-z_.]{3,40}|blk\.0\.[a-z_.]{3,40}")
TYPES = (0, 2, 4, 5, 6, 7, 8, 9, 10, 12, 13, 255)
"""GGUF's numbers of types, and numbers that are none."""
NUMBERS = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"))
CONTEXT = 32
PROMPT = list(range(20))


def _whole() -> Sequence[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [LanguageProbe(64, 64, layers, F16).write(Path(folder) / "model.gguf").read_bytes() for layers in (1, 2)]


def _mutated(rng: Random, content: bytes) -> bytes:
    return mutated_gguf(rng, content, KEY)


def mutated_gguf(rng: Random, content: bytes, keys: re.Pattern[bytes]) -> bytes:
    """Change bytes, or what follows a key or a tensor's name of ``keys``: its type and its value."""
    if rng.random() < 0.4:
        return mutated_bytes(rng, content)
    changed = bytearray(content)
    place = rng.choice([match.end() for match in keys.finditer(content)])
    if rng.random() < 0.2:
        changed[place : place + 4] = struct.pack("<I", rng.choice(TYPES))
    else:
        number = struct.pack("<f", rng.choice(NUMBERS)) if rng.random() < 0.3 else _integer(rng)
        start = place + rng.choice((4, 4, 8, 12))
        changed[start : start + len(number)] = number
    return bytes(changed)


def _integer(rng: Random) -> bytes:
    size = rng.choice((4, 8))
    return (rng.choice(INTEGERS) % (1 << 8 * size)).to_bytes(size, "little")


def _open(path: Path) -> None:
    with LlamaSession(path, context_size=CONTEXT, max_branches=2, threads=1) as session:
        session.tokenize("What is the emotion of this face? Ärger, 怒り")
        session.prefill([PROMPT])
        session.score([[3, 4], [5]])


GGUF = Kind("model.gguf", _whole, _mutated, check_gguf)
GGUF_ENGINE = Kind("model.gguf", _whole, _mutated, _open)
