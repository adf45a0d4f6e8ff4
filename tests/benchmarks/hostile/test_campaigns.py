"""A short campaign of each kind: mutated files are read or refused, and nothing else happens."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from emo_edge.benchmarks.hostile.__main__ import KINDS, kind_of
from emo_edge.benchmarks.hostile.mutate import DEEP, HUGE, json_text, mutated_bytes, mutated_json
from emo_edge.benchmarks.hostile.trials import Kind, run_campaign
from emo_edge.errors import InputError

FEW = {
    "config": 40,
    "llava-config": 30,
    "llava-settings": 30,
    "llava-tokenizer": 30,
    "face-config": 40,
    "verified": 40,
    "hdf5": 3,
    "label-part": 20,
    "label-run": 20,
    "mmproj-engine": 3,
}
"""Files of those kinds that build a network, open two bundles, or start a process for each."""


@pytest.mark.parametrize("name", KINDS)
def test_mutated_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    count = FEW.get(name, 100)
    outcome = run_campaign(kind_of(name), 1, count, tmp_path)
    assert not outcome.failures
    assert outcome.read + outcome.refused == count and outcome.refused + outcome.read > 0
    assert not list(tmp_path.iterdir())


def misread(path: Path) -> None:
    content = path.read_bytes()
    if b"!" in content:
        raise InputError("refused")
    if b"#" in content:
        raise KeyError("a traceback")
    if b"$" in content:
        bytearray(8 << 30)
    if b"%" in content:
        os.abort()


def chosen(rng: Random, content: bytes) -> bytes:
    return rng.choice([b"plain", b"!", b"#", b"%"])


def test_a_campaign_counts_what_breaks_a_reader_and_keeps_the_file(tmp_path: Path) -> None:
    outcome = run_campaign(Kind("x.bin", lambda: [b"plain"], chosen, misread), 0, 40, tmp_path)
    problems = [failure.problem for failure in outcome.failures]
    assert outcome.read and outcome.refused
    assert any("KeyError" in problem for problem in problems) and any("ended with -6" in one for one in problems)
    assert outcome.read + outcome.refused + len(problems) == 40
    assert len(list(tmp_path.iterdir())) == len(problems)


def test_a_campaign_notes_the_most_that_a_file_took(tmp_path: Path) -> None:
    def busy(path: Path) -> None:
        path.read_bytes() * (64 << 20)

    outcome = run_campaign(Kind("x.bin", lambda: [b"plain"], lambda rng, content: b"$", busy), 0, 3, tmp_path)
    assert outcome.read == 3
    assert 60 << 20 < outcome.added_bytes < outcome.peak_bytes
    assert 0 < outcome.slowest_s < 2


def test_a_campaign_counts_memory(tmp_path: Path) -> None:
    outcome = run_campaign(Kind("x.bin", lambda: [b"plain"], lambda rng, content: b"$", misread), 0, 1, tmp_path)
    assert "MemoryError" in outcome.failures[0].problem


def test_the_same_seed_gives_the_same_file() -> None:
    content = bytes(range(256)) * 4
    assert mutated_bytes(Random("1-2"), content) == mutated_bytes(Random("1-2"), content)
    assert len({mutated_bytes(Random(f"1-{number}"), content) for number in range(50)}) > 40


def test_a_changed_json_does_not_depend_on_those_before_it() -> None:
    content = json.dumps({"a": [1, 2], "b": {"c": [[3]]}}).encode()

    def changed() -> list[bytes]:
        return [mutated_json(Random(f"1-{number}"), content) for number in range(3000)]

    assert changed() == changed()


def test_json_holds_what_no_writer_writes() -> None:
    text: Any = json_text({"a": DEEP, "b": HUGE}).decode()
    assert "[" * 600 in text and str(10**400) in text
