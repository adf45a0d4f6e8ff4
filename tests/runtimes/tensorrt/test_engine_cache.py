"""Engines are found again, rebuilt with a reason where they may not be trusted, and never half there."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_edge.errors import DeviceError
from emo_edge.runtimes.tensorrt import engine_cache
from emo_edge.runtimes.tensorrt.build_config import EngineConfig
from emo_edge.runtimes.tensorrt.builder import Built
from emo_edge.runtimes.tensorrt.engine_cache import ENTRY, PLAN, EngineCache, Entry

Recipes = Callable[..., EngineConfig]
MACHINE = {"library": "tensorrt 10.3.0", "gpu": "Orin", "driver": "540.4.0, CUDA 12.6", "system": "L4T 36.4.0"}


class Builder:
    """Writes so many bytes where an engine was asked for, and counts."""

    def __init__(self, size: int = 1000) -> None:
        self.size, self.built, self.timings = size, 0, list[bytes | None]()
        self.error: Exception | None = None
        self.hold: threading.Barrier | None = None

    def __call__(self, recipe: EngineConfig, target: Path, *, timing: Path, progress: Any = None, **_: Any) -> Built:
        self.built += 1
        self.timings.append(timing.read_bytes() if timing.exists() else None)
        target.write_bytes(bytes([self.built]) * self.size)
        if self.hold:
            self.hold.wait(10)
        if self.error:
            raise self.error
        timing.write_bytes(b"measured %d" % self.built)
        return Built("tensorrt 10.3.0", self.size, 1.5, timing_cache=True)


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    made = Builder()
    monkeypatch.setattr(engine_cache, "engine_from_onnx", made)
    return made


@pytest.fixture
def cache(tmp_path: Path, builder: Builder, caplog: pytest.LogCaptureFixture) -> EngineCache:
    caplog.set_level(logging.INFO)
    return EngineCache(tmp_path / "engines")


def content(cache: EngineCache, entry: Entry) -> bytes:
    with cache.content(entry) as mapped:
        return bytes(mapped)


def test_a_real_engine_is_built_once(small_graph: Path, recipe_of: Recipes, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="waits for a system that tensorrt-rtx is made for")
    cache = EngineCache(tmp_path / "engines")
    first, second = (cache.engine(recipe_of(small_graph), MACHINE, modules=["tensorrt_rtx"]) for _ in range(2))
    assert first == second
    assert len(content(cache, first)) == first.size > 1000


def test_what_was_built_is_found_by_another_process(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    entry = cache.engine(recipe_of(Path("a.onnx")), MACHINE)
    again = EngineCache(cache.directory).engine(recipe_of(Path("moved.onnx")), MACHINE)
    assert builder.built == 1
    assert again == entry
    assert content(cache, again) == b"\x01" * 1000


def test_another_machine_or_graph_is_another_engine(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    cache.engine(recipe_of(Path("a.onnx")), MACHINE)
    cache.engine(recipe_of(Path("a.onnx")), MACHINE | {"driver": "560.1"})
    cache.engine(recipe_of(Path("a.onnx"), digest="1" * 64), MACHINE)
    assert builder.built == 3
    assert len(cache.entries()) == 3


def changed_byte(folder: Path) -> None:
    (folder / PLAN).write_bytes(b"\x02" + (folder / PLAN).read_bytes()[1:])


def cut_off(folder: Path) -> None:
    (folder / PLAN).write_bytes((folder / PLAN).read_bytes()[:-1])


def linked(folder: Path) -> None:
    (folder / PLAN).rename(folder / "elsewhere")
    (folder / PLAN).symlink_to(folder / "elsewhere")


def changed_record(folder: Path) -> None:
    values = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
    (folder / ENTRY).write_text(json.dumps(values | {"seconds": 0.0}), encoding="utf-8")


def no_record(folder: Path) -> None:
    (folder / ENTRY).write_text("[[[[", encoding="utf-8")


def other_keys(folder: Path) -> None:
    (folder / ENTRY).write_text('{"seal": 3, "key": []}', encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (changed_byte, "was changed since it was built"),
        (cut_off, "is not as long as it was"),
        (linked, "is not as long as it was"),
        (changed_record, "was made elsewhere, or its record was changed"),
        (no_record, "record of the one there cannot be read"),
        (other_keys, "record of the one there cannot be read"),
    ],
)
def test_what_may_not_be_trusted_is_built_anew_with_a_reason(
    harm: Callable[[Path], None], reason: str, cache: EngineCache, builder: Builder, recipe_of: Recipes,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    entry = cache.engine(recipe_of(Path("a.onnx")), MACHINE)
    harm(cache.directory / entry.key)
    assert reason in cache.entries()[0][1]
    again = cache.engine(recipe_of(Path("a.onnx")), MACHINE)
    assert builder.built == 2
    assert reason in caplog.text
    assert content(cache, again) == b"\x02" * 1000
    assert cache.entries()[0][1] == ""


def test_a_plan_from_elsewhere_is_refused(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    entry = cache.engine(recipe_of(Path("a.onnx")), MACHINE)
    other = EngineCache(cache.directory.with_name("copied"))
    shutil.copytree(cache.directory / entry.key, other.directory / entry.key)
    other.engine(recipe_of(Path("a.onnx")), MACHINE)
    assert builder.built == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("no"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing(
    error: Exception, cache: EngineCache, builder: Builder, recipe_of: Recipes
) -> None:
    builder.error = error
    expected = DeviceError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        cache.engine(recipe_of(Path("a.onnx")), MACHINE)
    assert {path.name for path in cache.directory.iterdir()} <= {".lock", ".secret"}
    if isinstance(error, OSError):
        assert str(caught.value).endswith("(No space left on device); make room, or set XDG_CACHE_HOME to another disk")


def test_two_at_once_build_once(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    builder.hold = threading.Barrier(2)
    found: list[Entry] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(EngineCache(cache.directory).engine(recipe_of(Path("a")), MACHINE))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    builder.hold.wait(10)  # one is inside the build; whoever comes later finds the lock or the engine
    for thread in threads:
        thread.join(10)
    assert builder.built == 1
    assert len(found) == 2
    assert found[0] == found[1]


def test_the_timing_cache_is_used_again_unless_it_was_changed(
    cache: EngineCache, builder: Builder, recipe_of: Recipes, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2):
        cache.engine(recipe_of(Path("a"), digest=str(number) * 64), MACHINE)
    next(cache.directory.glob("timing-*.cache")).write_bytes(b"mea")
    cache.engine(recipe_of(Path("a"), digest="2" * 64), MACHINE)
    assert builder.timings == [None, b"measured 1", None]
    assert "was changed or cut off; building without it" in caplog.text


def test_the_engine_unused_for_longest_goes_first(
    cache: EngineCache, builder: Builder, recipe_of: Recipes, caplog: pytest.LogCaptureFixture
) -> None:
    import os

    cache.limit = 3 * 1600
    entries = [cache.engine(recipe_of(Path("a"), digest=str(number) * 64), MACHINE) for number in range(3)]
    for age, entry in enumerate([entries[1], entries[2], entries[0]]):
        os.utime(cache.directory / entry.key / ENTRY, (1000 + age, 1000 + age))
    kept = cache.engine(recipe_of(Path("a"), digest="3" * 64), MACHINE)
    left = {folder.name for _, _, folder in cache.entries()}
    assert left == {entries[0].key, entries[2].key, kept.key}
    assert f"removing the engine {entries[1].key[:8]}" in caplog.text


def test_one_engine_larger_than_the_limit_stays(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    cache.limit = 10
    cache.engine(recipe_of(Path("a")), MACHINE)
    assert len(cache.entries()) == 1


def test_a_judgement_is_kept_and_sealed(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    entry = cache.engine(recipe_of(Path("a")), MACHINE)
    cache.compared(entry, {"y": 0.5})
    found = cache.engine(recipe_of(Path("a")), MACHINE)
    assert (found.distance, builder.built) == ({"y": 0.5}, 1)


def test_rows_that_fit_are_remembered_for_the_graph_and_the_machine(cache: EngineCache, recipe_of: Recipes) -> None:
    recipe = recipe_of(Path("a"))
    assert cache.rows_that_fit(recipe, MACHINE) is None
    cache.clear()  # makes the folder
    cache.note_rows(recipe, MACHINE, 4)
    assert cache.rows_that_fit(recipe_of(Path("a"), shapes={}), MACHINE) == 4
    assert cache.rows_that_fit(recipe, MACHINE | {"gpu": "Thor"}) is None
    noted = (cache.directory / "rows.json").read_text(encoding="utf-8")
    for changed in ("[1", noted.replace("4}", "true}"), noted.replace("4}", "0}"), noted.replace("4}", "4.5}")):
        (cache.directory / "rows.json").write_text(changed, encoding="utf-8")
        assert cache.rows_that_fit(recipe, MACHINE) is None


def test_half_a_secret_seals_nothing(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    cache.engine(recipe_of(Path("a")), MACHINE)
    (cache.directory / ".secret").write_bytes(b"")
    cache.engine(recipe_of(Path("a")), MACHINE)
    assert builder.built == 2
    assert len((cache.directory / ".secret").read_bytes()) == 32


def test_what_a_killed_build_left_goes_with_the_next(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    (cache.directory / ".partial-old").mkdir(parents=True)
    cache.engine(recipe_of(Path("a")), MACHINE)
    assert not (cache.directory / ".partial-old").exists()


def test_clear_takes_some_or_all(cache: EngineCache, builder: Builder, recipe_of: Recipes) -> None:
    entries = [cache.engine(recipe_of(Path("a"), digest=str(number) * 64), MACHINE) for number in range(3)]
    assert cache.clear([entries[0].key[:8]]) > 1000
    assert len(cache.entries()) == 2
    cache.clear()
    assert cache.entries() == []
    assert list(cache.directory.glob("timing-*")) == []


def test_a_place_that_takes_nothing_is_named(builder: Builder, recipe_of: Recipes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DeviceError, match=r"cannot be written .*; set XDG_CACHE_HOME to a folder of yours"):
        EngineCache(tmp_path / "file" / "engines").engine(recipe_of(Path("a")), MACHINE)
