"""Folders by content, sources that are no files, and pictures from pipes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from emo_edge.assets.packaged import folder_samples, packaged_samples
from emo_edge.errors import InputError, MissingExtraError
from emo_edge.media import pipes
from emo_edge.media.folders import folder_entries, image_paths
from emo_edge.media.images import read_image, write_image
from emo_edge.media.photos import read_photo
from emo_edge.media.sources import classify_source
from emo_edge.media.videos import sampled_frames

PICTURE = np.full((9, 7, 3), 80, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", PICTURE)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    for name in ("b.JFIF", "c", "d.tif", "e.gif", "f.HEIC"):
        kind = {"d.tif": "TIFF", "e.gif": "GIF"}.get(name, "JPEG")
        Pillow.fromarray(PICTURE).save(tmp_path / name, kind)
    frames = [Pillow.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(tmp_path / "g.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "h.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(20))
    (tmp_path / "i.jpg").symlink_to(tmp_path / "none.jpg")
    (tmp_path / "j.txt").write_text("hello")
    (tmp_path / "k.jpeg").write_text("no picture")
    (tmp_path / "l.jpg").mkdir()
    os.mkfifo(tmp_path / "m.jpg")
    (tmp_path / ".n.jpg").touch()
    (tmp_path / "o.jpg").symlink_to("o.jpg")
    return tmp_path


def test_every_entry_is_a_picture_or_has_its_reason(folder: Path) -> None:
    reasons = {entry.path.name: entry.skipped for entry in folder_entries(folder)}
    assert [name for name, reason in reasons.items() if reason is None] == [
        *("a.jpg", "b.JFIF", "c", "d.tif", "e.gif", "f.HEIC", "k.jpeg"),
    ]
    assert {name: reason for name, reason in reasons.items() if reason} == {
        ".n.jpg": "hidden",
        "g.gif": "a video (animated GIF): give it as a source of its own",
        "h.mp4": "a video (MP4): give it as a source of its own",
        "i.jpg": f"a link to {folder / 'none.jpg'}, which is missing",
        "j.txt": "not a picture",
        "l.jpg": "a folder",
        "m.jpg": "a pipe, socket or device",
        "o.jpg": "a link to o.jpg, which leads back to it",
    }
    for path in image_paths(folder)[:-1]:
        assert read_image(path).shape == PICTURE.shape


def test_a_format_of_the_extra_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r'd\.tif: PIL is not installed. Run: pip install "emo-edge\[photos\]"'):
        read_image(folder / "d.tif")


@pytest.mark.parametrize("package", ["PIL", "pillow_heif"])
def test_a_package_that_does_not_load_is_not_a_damaged_picture(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    broken = tmp_path / "site-packages" / package
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libfoo.so.1: cannot open shared object file: No such')")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(broken.parent)
    kind = "TIFF" if package == "PIL" else "HEIC"
    with pytest.raises(MissingExtraError, match=f"{package} is installed and .* shared library libfoo.so.1 is missing"):
        read_photo(b"", kind, "name", 1000)


def test_sources_that_are_no_files_are_named(folder: Path) -> None:
    assert classify_source("-") == "image"
    assert classify_source(str(folder / "m.jpg")) == "image"
    assert classify_source(str(folder / "e.gif")) == "image"
    assert classify_source(str(folder / "g.gif")) == "video"
    with pytest.raises(InputError, match=r"i\.jpg: a link to .*none\.jpg, which is missing"):
        classify_source(str(folder / "i.jpg"))
    with pytest.raises(InputError, match=r"o\.jpg: a link to o\.jpg, which leads back to it"):
        classify_source(str(folder / "o.jpg"))
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(str(folder / "plug"))
        with pytest.raises(InputError, match="is a socket"):
            classify_source(str(folder / "plug"))


def test_a_picture_comes_from_a_fifo(folder: Path) -> None:
    data = (folder / "b.JFIF").read_bytes()
    writer = threading.Thread(target=(folder / "m.jpg").write_bytes, args=(data,))
    writer.start()
    assert read_image(folder / "m.jpg").shape == PICTURE.shape
    writer.join()


def test_a_fifo_without_a_writer_says_what_it_waits_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipes, "NOTICE_S", 0.05)
    monkeypatch.setattr(pipes, "SILENCE_S", 0.1)
    with pytest.raises(InputError, match=r"m\.jpg: nothing was written to it"):
        read_image(folder / "m.jpg")
    assert "m.jpg: waiting for a program that writes a picture to it" in caplog.text


READ = """
from emo_edge.errors import InputError
from emo_edge.media.images import read_image, write_image
from emo_edge.media.photos import read_photo
try:
    print(read_image("-", max_bytes=10_000).shape)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, "(9, 7, 3)"),
        (b"", "standard input: is empty (0 bytes): copy or save it again"),
        (b"\xff" * 20_000, "standard input: more than max_bytes=10,000 bytes: shrink the image"),
        (
            b"\0\0\0\x18ftypisom" + bytes(20),
            "standard input: holds MP4, a video and not one picture",
        ),
    ],
)
def test_a_picture_comes_from_standard_input(folder: Path, data: bytes | None, expected: str) -> None:
    given = (folder / "b.JFIF").read_bytes() if data is None else data
    done = subprocess.run([sys.executable, "-c", READ], input=given, capture_output=True)
    assert done.stdout.decode().startswith(expected), done.stderr.decode()


@pytest.mark.parametrize(("packet", "offset"), [(188, 0), (192, 4), (204, 0)])
def test_a_transport_stream_is_a_video_under_any_name(tmp_path: Path, packet: int, offset: int) -> None:
    content = bytearray(packet * 20)
    content[offset::packet] = b"G" * 20
    for name in ("00001.MTS", "clip.m2ts", "clip", "clip.jpg"):
        (tmp_path / name).write_bytes(content)
        assert classify_source(str(tmp_path / name)) == "video"
    assert {entry.skipped for entry in folder_entries(tmp_path)} == {"a video (MPEG): give it as a source of its own"}


def coded(suffix: str, value: int = 90) -> bytes:
    return bytes(cv2.imencode(suffix, np.full((64, 48, 3), value, np.uint8))[1].tobytes())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_of_joined_pictures_the_first_is_read_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(coded(suffix) + coded(suffix, 200))
    assert read_image(path).mean() == pytest.approx(90, abs=2)
    assert f"joined{suffix}: several pictures, one after the other: the first one is read" in caplog.text
    assert ("a name that ends in .mjpeg" in caplog.text) == (suffix == ".jpg")
    caplog.clear()
    path.write_bytes(coded(suffix) + b"trailing bytes of a camera" + coded(suffix, 200))
    assert read_image(path).mean() == pytest.approx(90, abs=2) and not caplog.text


def test_pictures_that_a_jpeg_lists_itself_are_no_surprise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed, path = b"\xff\xe2\0\x0eMPF\0" + bytes(8), tmp_path / "phone.jpg"
    path.write_bytes(coded(".jpg")[:2] + listed + coded(".jpg")[2:] + coded(".jpg", 200))
    assert read_image(path).mean() == pytest.approx(90, abs=2) and not caplog.text


@pytest.mark.parametrize("suffix", [".mjpeg", ".MJPG"])
def test_joined_jpegs_are_a_video_by_their_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(b"".join(coded(".jpg", value) for value in (30, 120, 210)))
    assert classify_source(str(path)) == "video"
    assert [round(float(frame.image.mean()), -1) for frame in sampled_frames(path)] == [30, 120, 210]
    [entry] = folder_entries(tmp_path)
    assert entry.skipped == "a video (Motion JPEG): give it as a source of its own"
    path.write_bytes(coded(".jpg"))
    assert classify_source(str(path)) == "image"


@pytest.mark.parametrize(("name", "kind"), [("pages.tif", "a TIFF of several pages"), ("two.gif", "several GIFs")])
def test_a_photo_of_several_names_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, kind: str
) -> None:
    first, second = (Pillow.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (90, 200))
    path = tmp_path / name
    if name.endswith(".tif"):
        first.save(path, save_all=True, append_images=[second])
    else:
        for part in (first, second):
            part.save(tmp_path / "part.gif")
            path.write_bytes((path.read_bytes() if path.exists() else b"") + (tmp_path / "part.gif").read_bytes())
    assert read_image(path).mean() == pytest.approx(90, abs=2)
    assert f"{name}: {kind}" in caplog.text


def test_of_a_heic_of_several_the_main_one_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heif = pytest.importorskip("pillow_heif")
    pictures = heif.from_pillow(Pillow.fromarray(np.full((64, 64, 3), 90, np.uint8)))
    pictures.add_from_pillow(Pillow.fromarray(np.full((64, 64, 3), 200, np.uint8)))
    pictures.save(tmp_path / "burst.heic", primary_index=1)
    assert read_image(tmp_path / "burst.heic").mean() == pytest.approx(200, abs=3)
    assert "burst.heic: a HEIC of 2 pictures: its main one is read" in caplog.text


def test_pictures_to_compare_on_may_lie_in_a_folder_a_label(tmp_path: Path) -> None:
    for sample in packaged_samples(6):
        assert isinstance(sample.source, Path) and sample.expression
        (tmp_path / sample.expression).mkdir(exist_ok=True)
        shutil.copy(sample.source, tmp_path / sample.expression)
    assert len(folder_samples(tmp_path, 4)) == 4 and len(folder_samples(tmp_path, 100)) == 6
    shutil.copy(sample.source, tmp_path / "beside.jpg")
    assert [one.name for one in folder_samples(tmp_path, 100)] == ["beside.jpg"]
