"""Bundles: what is refused before any native loader sees a byte, and that a half-written one never has the name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.bundle import reader as bundle_module
from emo_edge.bundle.manifest import GRAPHS, MANIFEST_NAME, OUTPUTS, Manifest, manifest_from_json, schema
from emo_edge.bundle.reader import Bundle, read_manifest, require_unchanged, verified_again
from emo_edge.bundle.writer import BundleWriter
from emo_edge.cli.inspect import inspect, verify
from emo_edge.errors import BundleError, InputError
from emo_edge.storage.locks import FileLock, lock_path

FILES = ("vision-fp32.onnx", "connector-fp32.onnx", "face-fp32.onnx", "language-f16.gguf", "question_tokenizer.json")


def values(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    def variants(name: str, path: str) -> dict[str, Any]:
        return {name: {"files": [entries[path]]}}

    def graph(part: str, path: str) -> dict[str, Any]:
        tensor = {"name": "image", "dtype": "uint8", "shape": ["N", 8, 8, 3]}
        question = {"name": "question_ids", "dtype": "int64", "shape": ["N", "L"]}
        outputs = [{"name": name, "dtype": "float32", "shape": ["N"]} for name in sorted(OUTPUTS[part])]
        inputs = [tensor, question] if part == "connector" else [tensor]
        return {"inputs": inputs, "outputs": outputs, "variants": variants("fp32", path)}

    return {
        "bundle_version": 1,
        "name": "toy",
        "components": {
            "vision": graph("vision", FILES[0]),
            "connector": graph("connector", FILES[1]),
            "face": graph("face", FILES[2]),
            "language": {"context_size": 64, "embedding_size": 8, "variants": variants("f16", FILES[3])},
        },
        "preprocessing": {
            "vision": {"method": "padded", "size": 8, "margin": 0.5, "fill": [0.1, 0.2, 0.3]},
            "face": {"method": "stretched", "size": 8, "margin": 0.25},
        },
        "layout": [
            {"kind": "begin"},
            {"kind": "text", "text": "USER: "},
            {"kind": "frames", "groups": [{"name": "context", "count": 1, "component": "connector"}]},
            {"kind": "text", "text": "{demographics}{question} ASSISTANT:"},
        ],
        "prompt": {},
        "label_sets": {"two": ["joy", "fear"]},
        "face_labels": {},
        "question_tokenizer": entries[FILES[4]],
        "max_question_tokens": 16,
        "profiles": {"exact": {"vision": "fp32", "connector": "fp32", "face": "fp32", "language": "f16"}},
        "default_profile": "exact",
    }


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def content_of(number: int, location: str = "", kind: int = 1) -> bytes:
    """Return 1000 + ``number`` bytes: an ONNX message of a producer's name, and of a weight in another file.

    The weight has four values of the element type ``kind``, where 1 is float32.
    """
    external = b""
    if location:
        entry = b"\x0a\x08location\x12" + bytes([len(location)]) + location.encode()
        tensor = b"\x08\x04\x10" + bytes([kind]) + b"\x42\x01w\x6a" + bytes([len(entry)]) + entry + b"\x70\x01"
        graph = b"\x2a" + bytes([len(tensor)]) + tensor
        external = b"\x3a" + bytes([len(graph)]) + graph
    size = 1000 + number - 3 - len(external)
    return external + b"\x12" + bytes([size & 0x7F | 0x80, size >> 7]) + bytes([number]) * size


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    with BundleWriter(tmp_path / "toy") as writer:
        entries = {}
        for number, name in enumerate(FILES):
            path = writer.path(name)
            path.write_bytes(content_of(number))
            entries[name] = writer.entry(path).model_dump()
        writer.path("left-over.tmp").write_text("scratch")
        writer.finish(Manifest.model_validate(values(entries)))
    return tmp_path / "toy"


def change(directory: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = directory / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def refusal(directory: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.open(directory)
    done = CliRunner().invoke(verify, [str(directory)])
    assert done.exit_code == 5
    assert done.output.startswith("Error: ")
    return str(caught.value)


def test_a_written_bundle_opens_and_holds_nothing_else(toy: Path) -> None:
    bundle = Bundle.open(toy)
    assert bundle.manifest.name == "toy"
    assert sorted(path.name for path in toy.iterdir()) == sorted([*FILES, MANIFEST_NAME])
    variant = bundle.manifest.components.vision.variants["fp32"]
    assert bundle.files(variant) == [toy / FILES[0]]
    output = CliRunner().invoke(verify, [str(toy)]).output
    assert output.count("not the graph of the manifest") == 3 and "language-f16.gguf: llama.cpp cannot read" in output


def test_one_flipped_byte_is_found(toy: Path) -> None:
    path = toy / FILES[3]
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert "language-f16.gguf: its content is not what the manifest's sha256 says" in refusal(toy)


def test_every_missing_and_truncated_file_is_named_at_once(toy: Path) -> None:
    (toy / FILES[0]).unlink()
    (toy / FILES[1]).write_bytes(b"short")
    message = refusal(toy)
    assert "2 problem(s)" in message
    assert "vision-fp32.onnx: no such file" in message
    assert "connector-fp32.onnx: 5 bytes, the manifest says 1001" in message


@pytest.mark.parametrize("target", ["outside", "inside", "folder"])
def test_links_are_refused(toy: Path, tmp_path: Path, target: str) -> None:
    path = toy / FILES[0]
    content = path.read_bytes()
    path.unlink()
    if target == "folder":
        change(toy, lambda m: m["components"]["vision"]["variants"]["fp32"]["files"][0].update(path="sub/v.onnx"))
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "v.onnx").write_bytes(content)
        (toy / "sub").symlink_to(tmp_path / "elsewhere")
    else:
        real = (toy if target == "inside" else tmp_path) / "real.bin"
        real.write_bytes(content)
        path.symlink_to(real)
    assert "a link; a bundle holds plain files only" in refusal(toy)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../b", "a\\b", "", ".", "a//b", "c:/x", "./a"])
def test_paths_that_lead_elsewhere_are_refused(toy: Path, path: str) -> None:
    change(toy, lambda m: m["question_tokenizer"].update(path=path))
    assert "is no plain path inside the bundle" in refusal(toy)


def test_a_bundle_under_a_linked_directory_is_fine(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(toy)
    assert Bundle.open(tmp_path / "alias").manifest.name == "toy"


def test_every_problem_of_the_manifest_is_named_at_once(toy: Path) -> None:
    def spoil(manifest: dict[str, Any]) -> None:
        manifest["colour"] = "red"
        manifest["components"]["vision"]["speed"] = 9
        manifest["preprocessing"]["face"]["size"] = 0
        manifest["question_tokenizer"]["sha256"] = "abc"
        manifest["layout"][1]["size"] = 3

    change(toy, spoil)
    message = refusal(toy)
    assert "5 problem(s)" in message
    for place in (
        "layout.1.text.size: unknown key",
        "colour: unknown key",
        "components.vision.speed: unknown key",
        "preprocessing.face.size",
        "sha256",
    ):
        assert place in message


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (lambda m: m["profiles"]["exact"].update(language="q9"), "profiles.exact.language: 'q9' is not one of ['f16']"),
        (lambda m: m.update(default_profile="fast"), "default_profile 'fast' is no profile"),
        (lambda m: m["layout"].pop(2), "exactly one frames segment"),
        (lambda m: m["layout"].pop(3), "layout lacks {question}"),
        (lambda m: m["label_sets"].update(two=["joy", "joy"]), "label_sets.two needs two different labels"),
        (lambda m: m["question_tokenizer"].update(path=FILES[0]), "two files have the same path"),
        (lambda m: m.update(question_tokenizer=None), "components.language needs question_tokenizer"),
        (
            lambda m: m["components"]["connector"]["inputs"].pop(),
            "components.connector reads no question: there is no use for question_tokenizer, max_question_tokens",
        ),
        (
            lambda m: m["layout"][2]["groups"].append({"name": "face", "count": 1, "component": "face"}),
            "layout has face tokens, components.face lacks face_tokens",
        ),
        (
            lambda m: m["components"]["face"].update(
                outputs=[{"name": "face_tokens", "dtype": "float32", "shape": ["N", 1, 8]}]
            ),
            "components.face gives tokens alone, and the layout has none",
        ),
        (
            lambda m: m["components"]["face"]["outputs"].pop(),
            "components.face lacks the outputs",
        ),
        (lambda m: m["components"].update(vision=None), "components.language needs components.vision"),
        (
            lambda m: m["components"].update(language=None),
            "without components.language there is no use for components.vision, components.connector",
        ),
        (
            lambda m: m["components"].update(language=None, face=None),
            "there is neither a language model nor a face network",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(toy: Path, edit: Callable[[dict[str, Any]], None], part: str) -> None:
    change(toy, edit)
    assert part in refusal(toy)


def test_a_newer_version_asks_for_an_update(toy: Path) -> None:
    change(toy, lambda m: m.update(bundle_version=3, novelty={}))
    assert "has version 3, this emo-edge reads up to 2: update emo-edge" in refusal(toy)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(toy: Path, content: bytes) -> None:
    (toy / MANIFEST_NAME).write_bytes(content)
    assert MANIFEST_NAME in refusal(toy)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    assert "a bundle is a directory that emo-edge export wrote" in refusal(tmp_path / "nothing")


def test_an_unchanged_file_is_not_hashed_again(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Bundle.open(toy)
    hashed: list[str] = []
    real = bundle_module.sha256_of
    monkeypatch.setattr(bundle_module, "sha256_of", lambda path: hashed.append(path.name) or real(path))
    Bundle.open(toy)
    assert hashed == []
    os.utime(toy / FILES[1], ns=(1, 1))
    Bundle.open(toy)
    assert hashed == [FILES[1]]
    Bundle.open(toy, use_cache=False)
    assert len(hashed) == 1 + len(FILES)


def test_a_byte_changed_under_the_old_time_is_hashed_again(toy: Path) -> None:
    Bundle.open(toy)
    path = toy / FILES[1]
    status, content = path.stat(), bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "its content is not what the manifest's sha256 says" in refusal(toy)


def test_an_open_bundle_is_verified_again(toy: Path) -> None:
    bundle = Bundle.open(toy)
    assert verified_again(bundle) == bundle
    change(toy, lambda manifest: manifest.update(name="other"))
    with pytest.raises(BundleError, match="another bundle has replaced it"):
        verified_again(bundle)
    (toy / FILES[2]).write_bytes(content_of(2)[:-1] + b"x")
    with pytest.raises(BundleError, match=rf"{FILES[2]}: its content is not what"):
        verified_again(bundle)


@pytest.mark.parametrize("change", ["content", "link", "gone"])
def test_a_small_file_that_changed_after_the_opening_is_an_error(toy: Path, tmp_path: Path, change: str) -> None:
    bundle, path = Bundle.open(toy), toy / FILES[2]
    files = [file for file in bundle.manifest.files() if file.path == FILES[2]]
    require_unchanged(bundle, files)
    if change == "content":
        path.write_bytes(content_of(2)[:-1] + b"x")
    else:
        path.rename(tmp_path / "elsewhere")
    if change == "link":
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=rf"{FILES[2]}: it has changed since the bundle was opened: start again"):
        require_unchanged(bundle, files)


def test_the_cache_forgets_bundles_that_are_gone(toy: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(toy, gone)
    Bundle.open(gone)
    shutil.rmtree(gone)
    Bundle.open(toy)
    cached = tmp_path / "cache" / "emo-edge" / "verified.json"
    assert set(json.loads(cached.read_text(encoding="utf-8"))) == {str(toy / name) for name in FILES}
    assert cached.stat().st_mode & 0o777 == 0o600


def replaced(toy: Path, number: int, content: bytes) -> None:
    """Put other bytes into a file of the bundle, and their size and hash into its manifest."""
    (toy / FILES[number]).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    text = (toy / MANIFEST_NAME).read_text(encoding="utf-8")
    manifest = json.loads(text)

    def renew(value: Any) -> None:
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            if isinstance(child, dict) and child.get("path") == FILES[number]:
                child.update(size=len(content), sha256=digest)
            renew(child)

    renew(manifest)
    (toy / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize("location", ["weights.data", "../weights.data", "/etc/passwd", "sub/../weights.data"])
def test_a_graph_that_opens_what_nobody_hashed_is_refused(toy: Path, location: str) -> None:
    (toy / "weights.data").write_bytes(bytes(16))
    replaced(toy, 0, content_of(0, location))
    assert f"vision-fp32.onnx: its loader opens {location!r}, not in the manifest" in refusal(toy)
    assert f"its loader opens {location!r}" in refusal(toy), "also where the hash is known already"


def test_a_path_that_goes_back_up_is_refused_also_to_a_listed_file(toy: Path, tmp_path: Path) -> None:
    """A folder in it may be a link, and the file that the loader then opens another one."""
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "other" / FILES[1]).write_bytes(bytes(16))
    (toy / "sub").symlink_to(tmp_path / "other" / "deep")
    location = f"sub/../{FILES[1]}"
    replaced(toy, 0, content_of(0, location))
    assert f"vision-fp32.onnx: its loader opens {location!r}, not in the manifest" in refusal(toy)


def test_a_graph_is_scanned_by_its_role_and_not_by_its_suffix(toy: Path) -> None:
    (toy / "weights.data").write_bytes(bytes(16))
    replaced(toy, 0, content_of(0, "weights.data"))
    (toy / FILES[0]).rename(toy / "vision.model")
    change(toy, lambda m: m["components"]["vision"]["variants"]["fp32"]["files"][0].update(path="vision.model"))
    assert "vision.model: its loader opens 'weights.data'" in refusal(toy)


def test_a_file_that_nobody_hashed_is_named_before_what_else_is_wrong(toy: Path) -> None:
    replaced(toy, 0, content_of(0, FILES[1], kind=0))
    assert "vision-fp32.onnx: no file that a loader may open: a constant 'w' of the element type 0" in refusal(toy)
    replaced(toy, 0, content_of(0, "weights.data", kind=0))
    assert "vision-fp32.onnx: its loader opens 'weights.data', not in the manifest" in refusal(toy)


def test_a_graph_may_open_what_the_manifest_lists(toy: Path) -> None:
    replaced(toy, 0, content_of(0, FILES[1]))
    assert Bundle.open(toy)


def test_a_graph_that_cannot_be_read_is_refused(toy: Path) -> None:
    replaced(toy, 0, b"no graph")
    assert "vision-fp32.onnx: no file that a loader may open" in refusal(toy)


def test_a_changed_manifest_entry_is_hashed_again_even_if_the_file_is_old(toy: Path) -> None:
    Bundle.open(toy)
    change(toy, lambda m: m["question_tokenizer"].update(sha256="0" * 64))
    assert "sha256" in refusal(toy)


def test_a_broken_cache_is_no_error(toy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "emo-edge"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "verified.json").write_text("[broken")
    Bundle.open(toy)


@pytest.mark.parametrize("name", ["x" * 5000, "\0", "", "\ud800"])
def test_a_name_of_the_cache_that_no_file_has_is_dropped(toy: Path, tmp_path: Path, name: str) -> None:
    Bundle.open(toy)
    cached = tmp_path / "cache" / "emo-edge" / "verified.json"
    entries = json.loads(cached.read_text(encoding="utf-8"))
    cached.write_text(json.dumps({**entries, f"/{name}": {}, name: {}}))
    Bundle.open(toy)
    assert name not in json.loads(cached.read_text(encoding="utf-8"))


@pytest.mark.parametrize("opens", [None, 7, "x", [[]], [7], [None], {}])
def test_an_entry_of_the_cache_that_nobody_wrote_is_no_error(toy: Path, tmp_path: Path, opens: Any) -> None:
    Bundle.open(toy)
    cached = tmp_path / "cache" / "emo-edge" / "verified.json"
    entries = json.loads(cached.read_text(encoding="utf-8"))
    cached.write_text(json.dumps({name: {**entry, "opens": opens} for name, entry in entries.items()}))
    Bundle.open(toy)
    assert json.loads(cached.read_text(encoding="utf-8")) == entries


def test_nothing_is_overwritten_silently(toy: Path) -> None:
    before = read_manifest(toy)
    with pytest.raises(BundleError, match="already there; give another name or `overwrite`"):
        BundleWriter(toy)
    assert read_manifest(toy) == before


def test_a_graph_that_no_device_would_open_replaces_nothing(toy: Path) -> None:
    before = read_manifest(toy)
    words = r"not written, for no device would open it:\n  face-fp32.onnx: no file that a loader may open"
    with pytest.raises(BundleError, match=words), BundleWriter(toy, overwrite=True) as writer:
        entries = {}
        for number, name in enumerate(FILES):
            path = writer.path(name)
            path.write_bytes(b"\xff" * 100 if name == "face-fp32.onnx" else content_of(number))
            entries[name] = writer.entry(path).model_dump()
        writer.finish(Manifest.model_validate(values(entries)))
    assert Bundle.open(toy).manifest == before


def test_an_interrupted_writer_leaves_nothing_under_the_name_and_the_next_one_finishes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), BundleWriter(tmp_path / "new") as writer:
        writer.path("half.onnx").write_bytes(b"half")
        raise KeyboardInterrupt
    assert not (tmp_path / "new").exists()
    killed = tmp_path / ".new.partial"
    killed.mkdir()
    (killed / "old.onnx").write_bytes(b"what a killed process left")
    with BundleWriter(tmp_path / "new") as writer:
        assert list(writer.partial.iterdir()) == []


def test_a_killed_writer_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom emo_edge.bundle.writer import BundleWriter\n"
        f"with BundleWriter({str(tmp_path / 'new')!r}) as writer:\n"
        "    writer.path('half.onnx').write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.lock", ".new.partial"]
    with BundleWriter(tmp_path / "new") as writer:
        assert list(writer.partial.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["web", "mixed", "nested", "linked"])
def test_what_is_not_the_bundles_is_never_deleted(toy: Path, tmp_path: Path, folder: str) -> None:
    target = tmp_path / "target"
    if folder == "web":
        target.mkdir()
        (target / MANIFEST_NAME).write_text('{"name": "app", "start_url": "."}', encoding="utf-8")
    else:
        shutil.copytree(toy, target)
    own = target / ("notes/thesis.txt" if folder == "nested" else "thesis.txt")
    own.parent.mkdir(exist_ok=True)
    own.symlink_to(toy) if folder == "linked" else own.write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError, match="no bundle of ours" if folder == "web" else "are not the bundle's"):
        BundleWriter(target, overwrite=True)
    assert own.is_symlink() if folder == "linked" else own.read_text(encoding="utf-8") == "years of work"


def test_an_empty_folder_of_the_users_is_named_and_stays(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy, tmp_path / "target")
    (tmp_path / "target/pictures/of the day").mkdir(parents=True)
    with pytest.raises(BundleError, match="are not the bundle's: pictures/of the day/; move or remove them"):
        BundleWriter(tmp_path / "target", overwrite=True)
    assert (tmp_path / "target/pictures/of the day").is_dir()


def test_a_kill_between_the_renames_of_an_overwrite_loses_nothing(toy: Path) -> None:
    toy.rename(toy.with_name(f".{toy.name}.replaced"))
    with pytest.raises(BundleError, match="already there"):
        BundleWriter(toy)
    assert Bundle.open(toy).manifest.name
    assert not toy.with_name(f".{toy.name}.replaced").exists()


OVERWRITER = """
import shutil, sys
from pathlib import Path
from emo_edge.bundle.reader import read_manifest
from emo_edge.bundle.writer import BundleWriter
from emo_edge.errors import BundleError
from emo_edge.storage import directories
if sys.argv[2] == "two renames":
    directories.exchanged = lambda first, second: False
target, written = Path(sys.argv[1]), 0
source = target.with_name("source")
manifests = [read_manifest(source / kind) for kind in ("even", "odd")]
while written < int(sys.argv[3]):
    manifest = manifests[written % 2]
    try:
        with BundleWriter(target, overwrite=True) as writer:
            for file in manifest.files():
                shutil.copyfile(source / ("even", "odd")[written % 2] / file.path, writer.path(file.path))
            writer.finish(manifest)
    except BundleError as error:
        if "another export is writing it" not in str(error):
            raise
        continue
    written += 1
"""


def overwriter(target: Path, kind: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OVERWRITER, str(target), kind, str(count)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def two_kinds(toy: Path) -> Path:
    """A bundle, and what `OVERWRITER` replaces it by: bundles whose files have the same names and other bytes."""
    for kind, first in (("even", b"even"), ("odd", b"odd.")):
        folder = toy.with_name("source") / kind
        shutil.copytree(toy, folder)
        path = folder / FILES[4]
        path.write_bytes(first + path.read_bytes()[4:])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        change(folder, lambda values, digest=digest: values["question_tokenizer"].update(sha256=digest))
    return toy


@pytest.mark.parametrize("kind", ["exchange", "two renames"])
def test_a_bundle_can_be_opened_at_every_moment_while_two_processes_overwrite_it(two_kinds: Path, kind: str) -> None:
    writers = [overwriter(two_kinds, kind, 15) for _ in range(2)]
    opened = set()
    while any(process.poll() is None for process in writers):
        opened.add(Bundle.open(two_kinds, use_cache=False).manifest.question_tokenizer.sha256)
    assert [process.communicate()[1] for process in writers] == ["", ""]
    assert len(opened) >= 2
    assert sorted(path.name for path in two_kinds.parent.iterdir()) == ["cache", "source", "toy"]


def inode(path: Path) -> int | None:
    """Return the number of a folder's inode; None between two renames."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


@pytest.mark.parametrize("kind", ["exchange", "two renames"])
def test_a_kill_at_any_moment_of_an_overwrite_loses_nothing(two_kinds: Path, kind: str) -> None:
    for moment in range(4):
        with overwriter(two_kinds, kind, 100_000) as process:
            try:
                before = two_kinds.stat().st_ino
                while process.poll() is None and inode(two_kinds) in (before, None):
                    pass
                for _ in range(3 * moment):
                    Bundle.open(two_kinds, use_cache=False)
            finally:  # leaving the context waits for the process
                process.kill()
        with pytest.raises(BundleError, match="already there"):
            BundleWriter(two_kinds)  # brings the old one back where the kill came between two renames
        Bundle.open(two_kinds, use_cache=False)


@pytest.mark.parametrize("cached", [True, False])
def test_a_file_of_the_bundle_that_the_user_changed_is_not_replaced(toy: Path, tmp_path: Path, cached: bool) -> None:
    bundle = Bundle.open(toy) if cached else None
    name = read_manifest(toy).files()[0].path
    content = (toy / name).read_bytes()
    (toy / name).write_bytes(content[:-1] + b"x")
    with pytest.raises(BundleError, match=f"was changed since: {name}; move or remove them"):
        BundleWriter(toy, overwrite=True)
    (toy / name).rename(tmp_path / "kept")
    (toy / name).symlink_to(tmp_path / "kept")
    with pytest.raises(BundleError, match=f"was changed since: {name}"):
        BundleWriter(toy, overwrite=True)
    (toy / name).unlink()
    BundleWriter(toy, overwrite=True)
    (toy / name).write_bytes(content)
    BundleWriter(toy, overwrite=True)
    assert bundle is None or bundle.manifest == Bundle.open(toy).manifest


def test_a_bundle_that_was_replaced_since_it_was_read_is_not_replaced_by_its_old_one(toy: Path) -> None:
    old = Bundle.open(toy)
    writer = BundleWriter(toy, replaces=old)
    with BundleWriter(toy, replaces=old) as other:
        for file in old.manifest.files():
            shutil.copyfile(toy / file.path, other.path(file.path))
        other.finish(old.manifest.model_copy(update={"name": "other"}))
    with pytest.raises(BundleError, match="another run has replaced it since this one read it: start again"), writer:
        pass
    assert Bundle.open(toy).manifest.name == "other"


def test_what_came_there_while_a_bundle_was_written_is_not_replaced(toy: Path) -> None:
    manifest = read_manifest(toy)
    with pytest.raises(InputError, match=r"not the bundle's: thesis\.txt"):  # noqa: SIM117
        with BundleWriter(toy, overwrite=True) as writer:
            for file in manifest.files():
                shutil.copyfile(toy / file.path, writer.path(file.path))
            (toy / "thesis.txt").write_text("years of work", encoding="utf-8")
            writer.finish(manifest)
    assert (toy / "thesis.txt").is_file() and Bundle.open(toy)


def test_nothing_of_another_writer_is_moved(toy: Path) -> None:
    """The lock comes first, even before a replacement that was stopped is undone."""
    left = toy.with_name(f".{toy.name}.replaced")
    with FileLock(lock_path(toy)):
        toy.rename(left)
        with pytest.raises(BundleError, match="another export is writing it"):
            BundleWriter(toy, overwrite=True)
        assert left.is_dir() and not toy.exists()


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written"), BundleWriter(tmp_path / "file" / "new"):
        pass


def test_the_published_schema_is_the_one_in_the_code() -> None:
    path = Path(bundle_module.__file__).parents[1] / "schemas" / "manifest-2.json"
    assert json.loads(path.read_text(encoding="utf-8")) == schema()


def test_a_manifest_reads_back_equal(toy: Path) -> None:
    manifest = read_manifest(toy)
    assert manifest_from_json(manifest.model_dump_json()) == manifest


def test_a_manifest_without_live_labels_is_written_as_before(toy: Path) -> None:
    manifest = read_manifest(toy)
    assert manifest.live is None and "live" not in manifest.model_dump() and '"live"' not in manifest.model_dump_json()


def test_live_labels_are_closed_and_bounded(toy: Path) -> None:
    values = json.loads(read_manifest(toy).model_dump_json())
    smoothing = {"method": "hidden_markov", "tau_s": 0.5, "alpha": 0.8, "step_s": 0.1}
    values["live"] = {"smoothing": smoothing, "unchanged": 1.5, "evidence": {"clips": 220}}
    manifest = manifest_from_json(json.dumps(values))
    assert manifest.live is not None and manifest.live.smoothing is not None and manifest.live.smoothing.alpha == 0.8
    assert manifest_from_json(manifest.model_dump_json()) == manifest
    for section, key, value in (("live", "smooth", 1), ("live", "unchanged", 0), ("live", "unchanged", 300)):
        with pytest.raises(BundleError, match=f"{section}.{key}"):
            manifest_from_json(json.dumps({**values, "live": {**values["live"], key: value}}))
    for key, value in (("tau_s", 0), ("alpha", -1), ("method", "median"), ("step_s", 61)):
        changed = {**values["live"], "smoothing": {**smoothing, key: value}}
        with pytest.raises(BundleError, match=f"live.smoothing.{key}"):
            manifest_from_json(json.dumps({**values, "live": changed}))


def test_inspect_prints_components_profiles_and_labels(toy: Path) -> None:
    done = CliRunner().invoke(inspect, [str(toy)])
    assert done.exit_code == 0, done.output
    for part in ("toy, bundle version 1", "language   f16", "exact", "(default)", "label set two: joy, fear"):
        assert part in done.output
    assert json.loads(CliRunner().invoke(inspect, [str(toy), "--json"]).output)["name"] == "toy"


def test_components_are_found_by_name(toy: Path) -> None:
    components = read_manifest(toy).components
    assert list(components.graphs()) == [part for part in GRAPHS if components.get(part) is not None]
    assert all(components.graph(part) is graph for part, graph in components.graphs().items())
    with pytest.raises(BundleError, match="the bundle has no graph language"):
        components.graph("language")
