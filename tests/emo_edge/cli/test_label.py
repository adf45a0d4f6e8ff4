"""``emo-edge label`` as a user runs it: in a process of its own, stopped in every way, and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from emo_edge.assets.packaged import SAMPLES

DRAWINGS = sorted(SAMPLES.glob("*.jpg"))
COPIES = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hundred pictures, most of them equal; they take a second or two."""
    folder = tmp_path_factory.mktemp("label") / "pictures"
    folder.mkdir()
    for copy in range(COPIES):
        for path in DRAWINGS[:84]:
            shutil.copy(path, folder / f"{copy:02d}-{path.name}")
    return folder


def command(bundle: Path, *arguments: object) -> list[str]:
    options = ("--device", "cpu", "--detector", "whole", "--workers", "1", "--rows-per-part", "50")
    code = "import sys; from emo_edge.cli import main; sys.argv[0] = 'emo-edge'; main()"
    return [sys.executable, "-c", code, "label", str(bundle), *map(str, arguments), *options]


def run(bundle: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(bundle, *arguments), capture_output=True, text=True, check=False)


def sources(out: Path) -> list[str]:
    parts = sorted(out.glob("part-*.parquet"))
    return sorted(name for part in parts for name in pyarrow.parquet.read_table(part)["source"].to_pylist())


def _is_named(out: Path, part: str) -> bool:
    """Return whether a part counts: the manifest is there as a whole or not at all."""
    try:
        return part in (out / "label-run.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def stopped(bundle: Path, pictures: Path, out: Path, number: signal.Signals) -> tuple[int, str]:
    """Start a run and send it a signal as soon as a second part counts."""
    with subprocess.Popen(
        command(bundle, pictures, "--out", out, "-v"), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not _is_named(out, "part-00002.parquet") and process.poll() is None:
            pass
        # Ctrl-C reaches every process of a terminal.
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        _, errors = process.communicate()
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=lambda one: str(one))
def test_a_run_that_is_stopped_goes_on(
    label_bundle: Path, pictures: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "out"
    ended, errors = stopped(label_bundle, pictures, out, number)
    assert ended == code
    # A slow machine has lines of progress before.
    said = [line for line in errors.splitlines() if " done, " not in line]
    assert said == ([] if number is signal.SIGKILL else ["interrupted"])
    left = sources(out)
    assert 100 <= len(left) < len(DRAWINGS[:84]) * COPIES and len(set(left)) == len(left)
    parts = json.loads((out / "label-run.json").read_text(encoding="utf-8"))["parts"]
    finished = sum(part["rows"] for part in parts)
    assert len(left) - finished <= (0 if number is signal.SIGINT else 58), "one part that the manifest does not name"
    done = run(label_bundle, pictures, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"{finished:,} finished before" in done.stderr and done.stdout == ""
    assert sources(out) == sorted(map(str, pictures.iterdir()))


def test_the_stated_purpose_is_one_of_the_settings_of_a_run(label_bundle: Path, tmp_path: Path) -> None:
    shutil.copy(DRAWINGS[0], tmp_path / "a.jpg")
    out = tmp_path / "out"
    done = run(label_bundle, tmp_path / "a.jpg", "--out", out, "--purpose", "research")
    assert done.returncode == 0, done.stderr
    settings = json.loads((out / "label-run.json").read_text(encoding="utf-8"))["settings"]
    assert settings["deployment_purpose"] == "research"
    other = run(label_bundle, tmp_path / "a.jpg", "--out", out)
    assert other.returncode == 4 and "deployment_purpose" in other.stderr, other.stderr


def test_errors_are_counted_and_skipped_entries_named(label_bundle: Path, tmp_path: Path) -> None:
    shutil.copy(DRAWINGS[0], tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    done = run(label_bundle, tmp_path, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(
        f"1 with errors (input 1)\nskipped 1 entry:\n  {tmp_path}/notes.txt: not a picture\n"
    ), done.stderr
    refused = run(label_bundle, tmp_path / "b.jpg", "--out", tmp_path / "other", "--max-errors", 0)
    assert refused.returncode == 4
    assert refused.stderr.startswith("Error: 1 inputs cannot be read, more than --max-errors 0; the last one: ")


def test_without_pyarrow_the_install_command_is_named(label_bundle: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['pyarrow.parquet'] = None; from emo_edge.cli import main; main()"
    command = [sys.executable, "-c", code, "label", str(label_bundle), str(DRAWINGS[0]), "--out", str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and 'pip install "emo-edge[table]"' in done.stderr and not list(tmp_path.iterdir())
