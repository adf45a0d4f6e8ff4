"""No path of the machine is in a report, however it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.benchmarks.runner.redact import redacted, redactions


def test_every_way_to_write_a_folder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, real = tmp_path / "data", tmp_path / "disk"
    (real / "faces").mkdir(parents=True)
    root.symlink_to(real)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "person")
    monkeypatch.chdir(tmp_path)
    names = redactions(root, str(root / "faces"), Path("b/x.bundle"), tmp_path / "out", tmp_path / "model")
    report = {
        "command": f"bench b/x.bundle --root {root} --out={tmp_path}/out -I{tmp_path}/person/lib",
        "notes": [f"{real}/faces/1.png: torn", f"{tmp_path}/b/x.bundle, {tmp_path}/model."],
        "rows": ({"name": "small", "ms": 1.5, "stable": None},),
    }
    clean = redacted(report, names)
    assert clean["command"] == "bench BUNDLE --root ROOT --out=OUT -I~/lib"
    assert clean["notes"] == ["ROOT/faces/1.png: torn", "BUNDLE, CHECKPOINT."]
    assert clean["rows"] == [{"name": "small", "ms": 1.5, "stable": None}]


def test_words_that_are_no_paths_stay() -> None:
    names = redactions(None, "synthetic:7", Path("out"), Path("."), Path("/srv/model"))
    words = "the output is out of date. /srv/models"
    assert redacted(words, names) == words
