"""Bundles by a packaged model's name: made once, kept in the cache, behind a folder of that name."""

from __future__ import annotations

import errno
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emo_edge import __version__
from emo_edge.assets.packaged import SAMPLES, named_checkpoint, packaged_checkpoint
from emo_edge.bundle.reader import Bundle
from emo_edge.cli import packaged_bundle
from emo_edge.cli.app import main
from emo_edge.cli.packaged_bundle import bundle_directory, cached_bundle, own_bundle, present_bundle
from emo_edge.errors import BundleError, InputError, MissingExtraError
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.profiles import PROFILE_OF
from emo_edge.storage.locks import FileLock

FACE = SAMPLES / "078-happiness.jpg"


@pytest.fixture
def cached(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The name of a bundle in a cache of its own, with a working directory that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    folder = tmp_path / "cache" / "emo-edge" / "bundles"
    folder.mkdir(parents=True)
    link = folder / f"emo-tiny-{__version__}-{packaged_bundle._checkpoint_digest('emo-tiny')}-0123456789ab-500"
    link.symlink_to(tiny_bundle)
    return link


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_commands_take_the_name_of_a_packaged_model(cached: Path) -> None:
    read = run("infer", "emo-tiny", FACE, "--whole-image")
    assert read.exit_code == 0 and "happiness" in read.stdout, read.output
    inspected = run("inspect", "emo-tiny").stdout
    assert "emo-tiny, bundle version" in inspected and "live labels: hidden markov, tau" in inspected
    verified = run("verify", "emo-tiny")
    assert verified.exit_code == 0 and "intact" in verified.stdout and not verified.stderr


def test_a_packaged_network_of_action_units_is_exported_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    read = run("infer", "au-tiny", FACE)
    assert read.exit_code == 0 and "action units: AU6 " in read.stdout, read.output
    folder = cached_bundle("au-tiny")
    assert folder is not None and set(Bundle.open(folder).manifest.profiles) == {"exact", "balanced"}
    planned = run("plan", "au-tiny", "--device", "orin-nano-8gb")
    assert planned.exit_code == 0 and "no language model" in planned.stdout, planned.output
    refused = run("bench", "au-tiny", "--dataset", "synthetic:7", "--out", "out")
    assert refused.exit_code == 4 and "a network of action units alone: it has no labels to measure" in refused.stderr
    assert "benchmarks.action_units.evaluate measures action units" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_processes_that_need_it_at_once_wait_for_the_first_one(
    cached: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached.unlink()
    for name in ExportConfig().language:  # the tests' bundle has not all of its profiles
        monkeypatch.setitem(PROFILE_OF, name, "exact")
    target = cached.with_name(f"emo-tiny-{__version__}-{packaged_bundle._digest('emo-tiny')}-500")
    said: list[str] = []

    def echo(line: object, **_: object) -> None:
        said.append(str(line))
        target.symlink_to(tiny_bundle)  # what the first process makes
        first.close()

    monkeypatch.setattr(packaged_bundle, "echo", echo)
    first = FileLock(target.with_name(f".{target.name}.making"))
    first.acquire()
    assert bundle_directory(Path("emo-tiny")) == target
    assert said == ["another process is exporting emo-tiny: waiting for it"]
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_the_doctor_takes_the_name_and_makes_nothing(cached: Path) -> None:
    assert present_bundle(Path("emo-tiny")) == cached
    cached.unlink()
    refused = run("doctor", "--bundle", "emo-tiny")
    assert refused.exit_code == 5 and "emo-tiny: no such bundle; emo-edge demo makes that" in refused.stderr
    assert run("doctor", "--bundle", "nowhere").exit_code == 2


def test_what_a_command_replaces_is_a_copy(cached: Path) -> None:
    assert own_bundle(Path("emo-tiny")) == Path("emo-tiny")
    assert Bundle.open("emo-tiny").manifest == Bundle.open(cached).manifest
    assert [path.name for path in Path().iterdir()] == ["emo-tiny"] and cached.exists()
    assert own_bundle(Path("emo-tiny")) == Path("emo-tiny"), "the copy is a folder like any other"


def test_a_bundle_of_the_name_is_not_taken_for_the_checkpoint(cached: Path) -> None:
    own_bundle(Path("emo-tiny"))
    assert named_checkpoint("emo-tiny") == packaged_checkpoint("emo-tiny")
    (Path("emo-tiny") / "config.json").write_text("{}")
    assert named_checkpoint("emo-tiny") == Path("emo-tiny")


def test_a_copy_that_cannot_be_written_is_one_error(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packaged_bundle.shutil, "copytree", full)
    with pytest.raises(InputError, match="cannot be copied here"):
        own_bundle(Path("emo-tiny"))


def test_a_folder_of_that_name_comes_first(cached: Path, tiny_bundle: Path) -> None:
    assert bundle_directory(Path("emo-tiny")) == cached
    Path("emo-tiny").symlink_to(tiny_bundle)
    assert bundle_directory(Path("emo-tiny")) == Path("emo-tiny")


def test_a_damaged_bundle_of_the_cache_is_not_taken(cached: Path) -> None:
    other = cached.with_name(cached.name.replace("0123456789ab", "fedcba987654"))
    other.mkdir()
    (other / "manifest.json").write_text("{}")
    assert cached_bundle("emo-tiny") == cached
    cached.unlink()
    assert cached_bundle("emo-tiny") is None


def test_a_bundle_of_other_weights_is_not_taken(cached: Path) -> None:
    digest = packaged_bundle._checkpoint_digest("emo-tiny")
    cached.rename(cached.with_name(cached.name.replace(digest, digest[::-1])))
    assert cached_bundle("emo-tiny") is None


def test_without_the_tools_to_make_it_the_error_says_what_to_install(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packaged_bundle, "version", version)
    assert bundle_directory(Path("emo-tiny")) == cached, "a bundle that is there needs no tools"
    cached.unlink()
    with pytest.raises(MissingExtraError, match=r'pip install "emo-edge\[export,bench\]"'):
        bundle_directory(Path("emo-tiny"))
    assert run("infer", "emo-tiny", FACE).exit_code == 3


def test_it_is_made_where_it_is_missing(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Made:
        directory = Path("made")

    def demo_bundle(**options: Any) -> Made:
        made.append(options["model"])
        return Made()

    monkeypatch.setattr(packaged_bundle, "demo_bundle", demo_bundle)
    cached.unlink()
    with pytest.raises(InputError, match=r"none\.jpg: no such file"):
        bundle_directory(Path("emo-tiny"), ["none.jpg", "none.png"])
    assert not made, "no minutes of work before a source that is missing"
    assert bundle_directory(Path("emo-tiny"), ["none.jpg", str(FACE)]) == Path("made") and made == ["emo-tiny"]


def test_a_name_that_is_typed_almost_right_gets_a_hint() -> None:
    with pytest.raises(BundleError, match="emo-tyni: no such folder; did you mean emo-tiny"):
        bundle_directory(Path("emo-tyni"))
    assert bundle_directory(Path("folder/nowhere")) == Path("folder/nowhere"), "the reader of bundles names the problem"
