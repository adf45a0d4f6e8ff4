"""The user's cache may be missing, unwritable or nowhere at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.errors import InputError
from emo_edge.storage.output_paths import require_cache
from emo_edge.utils.cache import cache_directory, read_cached, write_cached


def test_a_user_without_a_home_has_no_cache_and_is_asked_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    write_cached("a.json", {"a": 1})
    assert read_cached("a.json") == {}
    with pytest.raises(InputError, match="no home folder: set XDG_CACHE_HOME"):
        cache_directory()


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write_cached("a.json", {"a": 1})
    assert read_cached("a.json") == {}
    with pytest.raises(InputError, match="the cache cannot be written; set XDG_CACHE_HOME"):
        require_cache("bundles")


def test_a_cache_that_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_cached("a.json", {"a": 1})
    assert read_cached("a.json") == {"a": 1}
    assert require_cache("bundles") == tmp_path / "emo-edge" / "bundles"
