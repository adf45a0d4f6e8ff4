"""Kills at random moments: a short run of the real command, and broken outputs that must be noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.benchmarks.endurance import interruptions, kills
from emo_edge.benchmarks.endurance.cached_engines import engines_digest
from emo_edge.benchmarks.endurance.commands import COMMANDS, OUT, KilledCommand, folder_digest
from emo_edge.benchmarks.endurance.inputs import write_face_network
from emo_edge.benchmarks.endurance.kills import killed_runs
from emo_edge.errors import DeviceError, EmoEdgeError
from emo_edge.runtimes.tensorrt.engine_cache import PLAN, EngineCache, Entry
from emo_edge.utils.files import sha256_of


@pytest.mark.slow
def test_a_killed_import_leaves_nothing_half(tmp_path: Path) -> None:
    write_face_network(tmp_path / "face.pt")
    runs = list(killed_runs("import", tmp_path, tmp_path / "work", count=2, seed=3))
    assert sum(not run.finished for run in runs) == 2
    assert {run.problems for run in runs} == {()}
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"undisturbed"}


def test_only_kills_count_and_the_summary_tells_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second run ends before it can be killed."""
    monkeypatch.setattr(kills, "undisturbed", lambda *given: kills.Baseline(0.2, {}, frozenset()))
    ends = iter([None, "", "", None])  # killed, and its rerun; ended by itself, without a rerun
    monkeypatch.setattr(kills, "_run", lambda *given, killed_after=None: next(ends) if killed_after else "")
    command = KilledCommand(lambda made, folder: ["x"], lambda out: {})
    monkeypatch.setitem(COMMANDS, "half", command)  # type: ignore[arg-type]
    runs = list(killed_runs("half", tmp_path, tmp_path / "work", count=2, seed=0))
    assert [run.finished for run in runs] == [False, True, True, False]
    assert "2 killed at 0." in kills.summary(runs) and kills.summary(runs).endswith("2 ended before, 0 problems")
    monkeypatch.setattr(kills, "_run", lambda *given, **killed_after: "")
    with pytest.raises(EmoEdgeError, match="half: only 0 of 8 runs"):
        list(killed_runs("half", tmp_path, tmp_path / "again", count=2, seed=0))


def test_half_an_output_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that writes in place: killed between its two files, it leaves one of them."""
    monkeypatch.setattr(kills, "command_line", lambda words: ["sh", "-c", *words])
    slow = 'mkdir -p "$0" && echo 1 > "$0/a" && sleep 0.3 && echo 2 > "$0/b"'
    careless = KilledCommand(lambda made, folder: [slow, str(folder / OUT)], folder_digest)
    monkeypatch.setitem(COMMANDS, "careless", careless)  # type: ignore[arg-type]
    runs = list(killed_runs("careless", tmp_path, tmp_path / "work", count=8, seed=0))
    noticed = [problem for run in runs for problem in run.problems]
    assert noticed and set(noticed) == {"after the kill: b differ from the undisturbed run"}


def test_another_result_after_a_kill_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that goes on in what a killed run left, and so ends otherwise."""
    monkeypatch.setattr(kills, "command_line", lambda words: ["sh", "-c", *words])
    appends = 'echo 1 >> "$0.part" && sleep 0.2 && mkdir -p "$0" && cp "$0.part" "$0/a" && rm "$0.part"'
    careless = KilledCommand(lambda made, folder: [appends, str(folder / OUT)], folder_digest)
    monkeypatch.setitem(COMMANDS, "careless", careless)  # type: ignore[arg-type]
    runs = list(killed_runs("careless", tmp_path, tmp_path / "work", count=4, seed=0))
    assert "after the next run: a differ from the undisturbed run" in [one for run in runs for one in run.problems]


def test_some_of_the_parts_may_be_there_after_a_kill_but_none_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that writes one part after the other, each of them whole, or in place."""
    monkeypatch.setattr(kills, "command_line", lambda words: ["sh", "-c", *words])
    whole = 'echo {0} > "$0/.{0}" && sleep 0.05 && mv "$0/.{0}" "$0/{0}" && '
    in_place = 'echo half > "$0/{0}" && sleep 0.2 && echo {0} > "$0/{0}" && '
    for part, count, problems in (
        (whole, 2, set()),
        (in_place, 5, {"after the kill: a differ from the undisturbed run"}),
    ):
        script = 'mkdir -p "$0" && ' + part.format("a") + whole.format("b") + "true"
        command = KilledCommand(
            lambda made, folder, script=script: [script, str(folder / OUT)], folder_digest, grows=True
        )
        monkeypatch.setitem(COMMANDS, "growing", command)  # type: ignore[arg-type]
        runs = list(killed_runs("growing", tmp_path, tmp_path / f"work {count}", count=count, seed=1))
        assert {problem for run in runs for problem in run.problems} == problems


def test_engines_that_would_not_be_used_are_noticed(tmp_path: Path) -> None:
    cache, key = EngineCache(tmp_path), "0" * 32
    (tmp_path / key).mkdir()
    (tmp_path / key / PLAN).write_bytes(b"plan")
    digest = sha256_of(tmp_path / key / PLAN)
    cache.compared(Entry(key, "face fp32", 4, digest, 1.0, {}, "2026-01-01T00:00:00Z"), {"y": 1.0})
    assert engines_digest(tmp_path) == {key: "face fp32"}
    (tmp_path / ".partial-x").mkdir()
    assert engines_digest(tmp_path) == {key: "face fp32", ".partial-x": "left"}
    (tmp_path / key / PLAN).write_bytes(b"half")
    with pytest.raises(DeviceError, match="changed since it was built"):
        engines_digest(tmp_path)


def test_a_command_that_ignores_an_interruption_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        interruptions, "program_line", lambda words, begun: ["bash", "-c", f"exec {begun}>&-; {words[0]}"]
    )
    monkeypatch.setattr(interruptions, "LATEST_S", 0.4)
    monkeypatch.setattr(interruptions, "MOST_SECONDS", 0.2)
    scripts = {
        "prompt": ("trap 'exit 130' INT; while :; do sleep 0.01; done", ""),
        "late": ("trap 'sleep 0.4; exit 130' INT; while :; do sleep 0.01; done", "to end after"),
        "other": ("trap 'exit 1' INT; while :; do sleep 0.01; done", "ended with 1"),
        "failed": ("exit 4", "failed with 4"),
    }
    for name, (script, problem) in scripts.items():
        commands = {name: lambda made, folder, script=script: [script]}
        monkeypatch.setattr(interruptions, "INTERRUPTED_COMMANDS", commands)
        (run, *_) = interruptions.interruptions(name, tmp_path, tmp_path / "work", count=0, seed=0)
        assert problem in run.problem and bool(problem) == bool(run.problem)
