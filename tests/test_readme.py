"""What the README shows is run, and every command and option it names exists."""

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
from emo_edge.utils.commands import LazyGroup

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n.*?^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """A directory that looks like a checkout with the exported bundle in it."""
    directory = tmp_path_factory.mktemp("place")
    (directory / "emo_edge").symlink_to(ROOT / "emo_edge")
    (directory / "emo-tiny.bundle").symlink_to(tiny_bundle)
    return directory


def lines() -> list[str]:
    shown = BLOCKS["Export, then read"].splitlines()
    return [line.partition("#")[0].strip() for line in shown if not line.startswith("emo-edge export")]


@pytest.mark.parametrize("line", lines())
def test_the_readmes_commands_run(place: Path, line: str) -> None:
    installed = shutil.which("emo-edge", path=str(Path(sys.executable).parent))
    assert installed, "the package installs its command"
    command = line.replace("emo-edge", shlex.quote(installed), 1)
    done = subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout or ">" in line


def test_the_readmes_python_runs(place: Path) -> None:
    code = README.split("```python\n")[1].split("```")[0]
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
    assert "fear" in done.stdout


def test_every_command_and_option_named_exists() -> None:
    assert isinstance(main, LazyGroup)
    context = click.Context(main)
    known = set(main.list_commands(context))
    named = set(re.findall(r"`(?:emo-edge )([a-z]+)", README))
    assert named <= known, named - known
    assert known <= named, "a command the README does not tell of"
    options = set()
    for name in known:
        command = main.get_command(context, name)
        assert command is not None
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        parameters = [parameter for leaf in leaves for parameter in leaf.params]
        options |= {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    rows = [row for row in README.splitlines() if row.startswith("| `emo-edge ")]
    for option in set(re.findall(r"--[a-z0-9-]+", "\n".join(rows))):
        assert option in options, option


def test_the_readmes_import_is_understood() -> None:
    shown = README.split("## Import released weights")[1].split("```text\n")[1].split("```")[0]
    arguments = shlex.split(shown.replace("\\\n", " "))[1:]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 5, result.output
    assert "config.json: no such file" in result.stderr, "nothing but the files is missing"


def test_every_file_named_in_the_documents_exists() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{document}: {target}"
        for path in re.findall(r"`((?:emo_edge|export|runtimes|calibration|benchmarks|tests|docs)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{document}: {path}"


def test_each_engine_says_where_it_has_run_and_nothing_else() -> None:
    table = README.split("<!-- engines -->\n")[1].split("<!-- /engines -->")[0]
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in table.splitlines()]
    assert {len(row) for row in rows} == {6}
    for row in rows[2:]:
        for cell in row[1:]:
            assert re.fullmatch(r"runs in CI|built in CI|not yet run|ran on .+ on \d{4}-\d\d-\d\d", cell), cell


def test_the_benchmarks_figures_are_those_of_the_kept_report() -> None:
    def cells(line: str) -> list[str]:
        return [cell.strip(" *") for cell in line.strip("| \n").split("|")]

    report = (ROOT / "docs" / "bench" / "report.md").read_text(encoding="utf-8")
    whole = [cells(line) for line in report.splitlines() if line.startswith("|")]
    head, kept = whole[0], {row[0]: row for row in whole[2:6]}
    table = README.split("<!-- bench -->\n")[1].split("<!-- /bench -->")[0].splitlines()
    shown = [cells(line) for line in table]
    assert {row[0] for row in shown[2:]} == kept.keys()
    for row in shown[2:]:
        for name, cell in zip(shown[0], row, strict=True):
            assert kept[row[0]][head.index(name)] == cell, (row[0], name)
