"""Completion in a shell: commands, devices, and the profiles and label sets of the bundle that was typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from emo_edge.cli.app import COMMANDS, main


def completed(*words: object, incomplete: str = "") -> list[str]:
    shell = ShellComplete(main, {}, "emo-edge", "_EMO_EDGE_COMPLETE")
    return [item.value for item in shell.get_completions([str(word) for word in words], incomplete)]


def test_commands_and_options() -> None:
    assert completed() == list(COMMANDS)
    assert completed(incomplete="in") == ["infer", "inspect"]
    assert "--face-facts" in completed("infer", incomplete="--f")


def test_profiles_and_label_sets_of_the_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    for words in (("infer", tiny_bundle), ("infer", tiny_bundle, "x.jpg"), ("plan", tiny_bundle)):
        assert completed(*words, "--profile") == ["exact", "small"], words
    assert completed("selftest", tiny_bundle, "--profile", incomplete="s") == ["small"]
    manifest = json.loads((tiny_bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["label_sets"]["shop3"] = ["satisfied", "neutral", "annoyed"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert completed("infer", tmp_path, "--labels", incomplete="sh") == ["shop3"]


def test_without_a_bundle_the_usual_names_are_offered() -> None:
    assert completed("infer", "nowhere", "--profile") == ["exact", "balanced", "small"]
    assert completed("infer", "nowhere", "--device", incomplete="c") == ["cuda", "cpu"]
    assert completed("plan", "emo-tiny", "--device", incomplete="orin") == ["orin-nano-8gb", "orin-nx-16gb"]


def test_bundles_are_the_packaged_models_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "emo-mine").mkdir()
    (tmp_path / "emo.txt").touch()
    assert completed("infer", incomplete="emo") == ["emo-tiny", "emo-mine"]
    assert completed("plan", incomplete="emola") == ["emola-7b"]
    shell = ShellComplete(main, {}, "emo-edge", "_EMO_EDGE_COMPLETE")
    assert [item.type for item in shell.get_completions(["verify"], "my/")] == ["dir"]


def test_completing_a_command_imports_none() -> None:
    code = (
        "import sys\nfrom click.shell_completion import ShellComplete\nfrom emo_edge.cli.app import main\n"
        "ShellComplete(main, {}, 'emo-edge', 'X').get_completions([], '')\n"
        "print({'torch', 'pydantic', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def completed_line(folder: Path, line: bytes, **changes: str) -> subprocess.CompletedProcess[bytes]:
    """Complete the last word of a line as bash has it done."""
    words = {"COMP_WORDS": os.fsdecode(line), "COMP_CWORD": str(len(line.split(b" ")) - 1)}
    environment = {**os.environ, **words, "_EMO_EDGE_COMPLETE": "bash_complete", **changes}
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'emo-edge'; from emo_edge.cli import main; main()"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


def test_names_that_no_line_holds_are_left_out(tmp_path: Path) -> None:
    for name in (b"emo-\xe9", b"emo-\nx", b"emo-mine"):
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    ended = completed_line(tmp_path, b"emo-edge infer emo")
    assert (ended.returncode, ended.stdout.split()) == (0, [b"plain,emo-tiny", b"plain,emo-mine"])


@pytest.mark.parametrize(
    ("line", "changes"), [(b"emo-edge infer b\xe9", {}), (b"emo-edge infer", {"COMP_CWORD": "many"})]
)
def test_what_cannot_be_completed_prints_nothing(tmp_path: Path, line: bytes, changes: dict[str, str]) -> None:
    ended = completed_line(tmp_path, line, **changes)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")
