"""``emo-edge import``: its progress where stderr is no terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.endurance.inputs import write_face_network
from emo_edge.cli.import_ import main
from emo_edge.console import progress


def test_a_piped_import_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_face_network(tmp_path / "face.pt")
    monkeypatch.setattr(progress, "LINE_SECONDS", 1e-4)
    done = CliRunner().invoke(main, ["facexformer", str(tmp_path / "face.pt"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'out'}\n"
    assert "write, MB" in done.stderr
