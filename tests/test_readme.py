"""The README is one page, what it shows is run, and every command, option and file it names exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from emo_edge.cli.app import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
FIRST, TESTS, USE = BLOCKS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """A directory that looks like a checkout with the exported bundle in it."""
    directory = tmp_path_factory.mktemp("place")
    (directory / "emo_edge").symlink_to(ROOT / "emo_edge")
    (directory / "emo-tiny.bundle").symlink_to(tiny_bundle)
    return directory


def lines() -> list[str]:
    """List the commands that use a bundle; the fixture has exported it."""
    shown = USE.splitlines()[1:]
    return [line.partition("#")[0].strip() for line in shown if not line.startswith("emo-edge export")]


def test_it_is_one_page() -> None:
    assert README.count("\n") <= 120
    head = "\n".join(README.splitlines()[:10])
    assert "on my photos?" in head and "forbidden" in head and "guides/import.md" in head


@pytest.mark.parametrize("line", lines())
def test_the_readmes_commands_run(place: Path, line: str) -> None:
    installed = shutil.which("emo-edge", path=str(Path(sys.executable).parent))
    assert installed, "the package installs its command"
    command = line.replace("emo-edge", shlex.quote(installed), 1)
    done = subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout or ">" in line


@pytest.mark.parametrize("block", [FIRST, TESTS])
def test_the_two_commands_install_what_they_run_in_a_fresh_shell(block: str) -> None:
    make, install, run = block.strip().split(" && ")
    assert make == "python3 -m venv .venv"
    extras = re.fullmatch(r"\.venv/bin/pip install -e '\.\[([\w,]+)\]'", install)
    assert extras and run in (".venv/bin/emo-edge demo", ".venv/bin/pytest")
    declared = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(extras[1].split(",")) <= declared


def test_the_block_of_commands_activates_the_environment_first() -> None:
    assert USE.splitlines()[0] == ". .venv/bin/activate"
    export = USE.splitlines()[1].partition("#")[0].split()
    assert export == ["emo-edge", "export", "emo-tiny", "--out", "emo-tiny.bundle"], "what the fixture stands for"


def test_the_readmes_python_runs(place: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("happiness ") and "surprise" in done.stdout.splitlines()[-1]


def test_every_command_and_option_named_exists() -> None:
    context = click.Context(main)
    known = set(main.list_commands(context))
    named = set(re.findall(r"`(?:emo-edge )([a-z-]+)", README))
    assert named <= known, named - known
    assert known <= named, "a command that the README does not name"
    options = set()
    for name in known:
        command = main.get_command(context, name)
        assert command is not None
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        parameters = [parameter for leaf in leaves for parameter in leaf.params]
        options |= {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", README)):
        assert option in options, option


def test_the_import_that_the_guide_shows_is_understood() -> None:
    guide = (ROOT / "docs" / "guides" / "import.md").read_text(encoding="utf-8")
    shown = next(block for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) if " llama-vid " in block)
    arguments = shlex.split(shown.replace("\\\n", " "))[1:]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 5, result.output
    assert "config.json: no such file" in result.stderr, "nothing but the files is missing"


def test_every_file_named_in_the_documents_exists() -> None:
    for document in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{document}: {target}"
        for path in re.findall(r"`((?:emo_edge|export|runtimes|calibration|benchmarks|tests|docs)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{document}: {path}"


def test_pictures_are_small_and_their_command_is_kept() -> None:
    commands = (ROOT / "docs" / "images" / "make.py").read_text(encoding="utf-8").split('"""')[1]
    pictures = [path for path in (ROOT / "docs" / "images").iterdir() if path.suffix in (".jpg", ".png")]
    assert pictures
    for path in pictures:
        assert path.stat().st_size < 200_000, path.name
        assert f"docs/images/{path.name}" in commands, path.name
