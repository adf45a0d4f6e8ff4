"""Pictures of every format and kind, and files that are no pictures, cut off, damaged or hostile."""

from __future__ import annotations

import base64
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.benchmarks.synthetic.generator import render_face
from emo_edge.errors import InputError
from emo_edge.media.crops import Image
from emo_edge.media.folders import image_paths
from emo_edge.media.headers.image_headers import BrokenImageError, read_header
from emo_edge.media.images import read_image, write_image

FORMATS = (".jpg", ".png", ".webp", ".bmp")
# A red 2x2 JPEG in CMYK, as Photoshop writes them (Adobe marker, inverted); OpenCV cannot write one.
CMYK = base64.b85decode(
    "|JeWT01iQ9Z(?NtWB>pF0095n07C#95)>B{5gQj47aklNASgmBC?zE*Q93;^LSR*8WM5TXTWWZjfogG(b6Z`7wT6(MqpPi}XMnuPx~9jOsH>#^"
    "zyK5o00IC41Va%3O%VWD5dcdO0RO}Q6aWDL000000000000000000L6!~hf!0RR910000000000000000RP$m4g^C0O#oQ{O8@{r08BD6O#j&"
)


@pytest.fixture(scope="module")
def face() -> Image:
    return render_face(5, 3, size=64).image


def coded(extension: str, image: Any) -> bytes:
    lossy = [cv2.IMWRITE_WEBP_QUALITY, 90] if extension == ".webp" else []
    return bytes(cv2.imencode(extension, image, lossy)[1].tobytes())


def bgr(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *side: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(side) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def read(tmp_path: Path, data: bytes, **limits: int) -> Image:
    (tmp_path / "picture.dat").write_bytes(data)
    return read_image(tmp_path / "picture.dat", **limits)


def refused(tmp_path: Path, data: bytes, **limits: int) -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, data, **limits)
    assert "picture.dat: " in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("extension", FORMATS)
def test_what_is_written_is_read(tmp_path: Path, face: Image, extension: str) -> None:
    write_image(tmp_path / f"face{extension}", face)
    image = read_image(str(tmp_path / f"face{extension}"))
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert np.abs(image.astype(int) - face).mean() < (0.01 if extension in (".png", ".bmp") else 5)
    assert [path.name for path in tmp_path.iterdir()] == [f"face{extension}"]


@pytest.mark.parametrize("extension", FORMATS)
def test_one_pixel_is_a_picture(tmp_path: Path, extension: str) -> None:
    pixel = np.full((1, 1, 3), 200, np.uint8)
    write_image(tmp_path / f"p{extension}", pixel)
    assert np.abs(read_image(tmp_path / f"p{extension}").astype(int) - 200).max() <= 2


@pytest.mark.parametrize("extension", FORMATS)
def test_the_content_decides_not_the_name(tmp_path: Path, face: Image, extension: str) -> None:
    assert read(tmp_path, coded(extension, bgr(face))).shape == (64, 64, 3)


UPRIGHT = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    for order in "<>":
        image = read(tmp_path, png(3, 2, 8, 2, rows, chunk(b"eXIf", exif(orientation, order))))
        np.testing.assert_array_equal(image, UPRIGHT[orientation](stored))  # type: ignore[no-untyped-call]
    jpeg = coded(".jpg", bgr(np.repeat(np.repeat(stored, 16, 0), 16, 1)))
    segment = b"Exif\0\0" + exif(orientation)
    plain, marked = jpeg, jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
    np.testing.assert_array_equal(
        read(tmp_path, marked),
        UPRIGHT[orientation](read(tmp_path, plain)),  # type: ignore[no-untyped-call]
    )


def test_exif_orientation_of_a_webp(tmp_path: Path, face: Image) -> None:
    lossy = coded(".webp", bgr(face[:, :40]))
    extended = b"VP8X" + struct.pack("<IB3x", 10, 8) + (39).to_bytes(3, "little") + (63).to_bytes(3, "little")
    block = b"EXIF" + struct.pack("<I", len(exif(6))) + exif(6)
    body = b"WEBP" + extended + lossy[12:] + block
    image = read(tmp_path, b"RIFF" + struct.pack("<I", len(body)) + body)
    np.testing.assert_array_equal(image, np.rot90(read(tmp_path, lossy), -1))


def test_damaged_exif_leaves_the_picture_as_it_is(tmp_path: Path) -> None:
    for block in (b"", b"II", b"II*\0\xff\xff\xff\xff", exif(9), exif(6)[:12]):
        assert read(tmp_path, png(2, 1, 8, 2, b"\0" + b"\1" * 6, chunk(b"eXIf", block))).shape == (1, 2, 3)


def test_every_colour_kind_becomes_rgb(tmp_path: Path) -> None:
    grey = read(tmp_path, png(2, 1, 8, 0, b"\0\x05\xfa"))
    assert grey.tolist() == [[[5] * 3, [250] * 3]]
    assert read(tmp_path, coded(".jpg", np.full((8, 8), 77, np.uint8)))[0, 0].tolist() == [77] * 3
    assert read(tmp_path, coded(".bmp", np.full((8, 8), 77, np.uint8)))[0, 0].tolist() == [77] * 3
    palette = read(tmp_path, png(2, 1, 8, 3, b"\0\0\1", chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))))
    assert palette.tolist() == [[[10, 20, 30], [40, 50, 60]]]
    red, green, blue = read(tmp_path, CMYK)[0, 0].tolist()
    assert red > 200 and green < 60 and blue < 60


def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path) -> None:
    values = [0, 128, 129, 32768, 65278, 65535]
    image = read(tmp_path, png(6, 1, 16, 0, b"\0" + struct.pack(">6H", *values)))
    assert image[0, :, 0].tolist() == [round(value * 255 / 65535) for value in values]
    deep = read(tmp_path, png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 0, 65535, 257, 65535)))
    assert deep.tolist() == [[[0, 255, 1]]]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    pixels = bytes([10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 127])
    assert read(tmp_path, png(3, 1, 8, 6, b"\0" + pixels)).tolist() == [[[10, 20, 30], [255] * 3, [128] * 3]]
    table = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60])) + chunk(b"tRNS", b"\0")
    assert read(tmp_path, png(2, 1, 8, 3, b"\0\0\1", table)).tolist() == [[[255] * 3, [40, 50, 60]]]
    clear = np.zeros((8, 8, 4), np.uint8)
    assert read(tmp_path, coded(".webp", clear)).min() == 255
    assert read(tmp_path, coded(".png", clear)).min() == 255


def test_the_fourth_byte_of_a_bmp_is_padding(tmp_path: Path) -> None:
    header = b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 1, 1, 1, 32, 0, 4, 0, 0, 0, 0)
    assert read(tmp_path, header + bytes([1, 2, 3, 0])).tolist() == [[[3, 2, 1]]]


def forged(extension: str, data: bytes, side: int) -> bytes:
    """Return ``data`` with another width and height in its header."""
    if extension == ".png":
        start = data[:8] + chunk(b"IHDR", struct.pack(">II", side, side) + data[24:29])
        return start + data[33:]
    if extension == ".jpg":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]
    if extension == ".bmp":
        return data[:18] + struct.pack("<ii", side, side) + data[26:]
    return data[:26] + struct.pack("<HH", side, side) + data[30:]


@pytest.mark.parametrize(
    ("extension", "side"), [(".png", 30_000), (".jpg", 30_000), (".bmp", 30_000), (".webp", 16_383)]
)
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, face: Image, extension: str, side: int) -> None:
    bomb = forged(extension, coded(extension, bgr(face)), side)
    (tmp_path / "picture.dat").write_bytes(bomb)
    before, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = refused(tmp_path, bomb)
    assert "cut off" in text if extension == ".bmp" else f"{side}x{side} pixels, more than the limit" in text
    assert time.perf_counter() - before < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 50_000  # KiB; decoded it would be gigabytes


def test_a_bomb_in_a_webp_of_another_kind_is_refused(tmp_path: Path) -> None:
    lossless = b"VP8L" + struct.pack("<IBI", 9, 0x2F, 16_382 | 16_382 << 14) + bytes(5)
    extended = b"VP8X" + struct.pack("<II", 10, 0) + b"\xfe\xff\xff" * 2
    for body, side in ((lossless, 16_383), (extended, 2**24 - 1)):
        text = refused(tmp_path, b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body)
        assert f"{side}x{side} pixels, more than the limit" in text


def test_limits_are_the_callers(tmp_path: Path, face: Image) -> None:
    data = coded(".png", bgr(face))
    assert "64x64 pixels, more than the limit of 4,095" in refused(tmp_path, data, max_pixels=4095)
    assert f"max_bytes={len(data) - 1:,}" in refused(tmp_path, data, max_bytes=len(data) - 1)
    assert read(tmp_path, data, max_pixels=4096, max_bytes=len(data)).shape == (64, 64, 3)


@pytest.mark.parametrize("extension", FORMATS)
def test_no_cut_off_file_is_a_picture(extension: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 10, 3), dtype=np.uint8)
    data = coded(extension, image)
    assert read_header(data).width == 10
    for length in range(len(data)):
        with pytest.raises(BrokenImageError):
            read_header(data[:length])


def test_a_lossless_webp_says_its_size(face: Image) -> None:
    data = bytes(cv2.imencode(".webp", bgr(face[:, :40]), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes())
    header = read_header(data)
    assert data[12:16] == b"VP8L" and (header.width, header.height) == (40, 64)


def test_bytes_after_the_end_are_no_harm(tmp_path: Path, face: Image) -> None:
    for extension in FORMATS:
        assert read(tmp_path, coded(extension, bgr(face)) + b"trailer" * 20).shape == (64, 64, 3)


@given(st.sampled_from(FORMATS), st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_byte_is_an_error_or_a_picture(
    tmp_path_factory: pytest.TempPathFactory, extension: str, position: int, change: int
) -> None:
    data = bytearray(coded(extension, np.arange(300, dtype=np.uint8).reshape(10, 10, 3)))
    data[position % len(data)] ^= change
    path = tmp_path_factory.getbasetemp() / f"damaged{extension}"
    path.write_bytes(data)
    try:
        image = read_image(path)
    except InputError:
        return
    assert image.dtype == np.uint8 and image.shape[2] == 3


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    assert "not an image" in refused(tmp_path, b"hello")
    assert "is empty (0 bytes)" in refused(tmp_path, b"")
    assert "holds JPEG XL, which is not read as an image: convert" in refused(tmp_path, b"\xff\x0a" + bytes(20))
    assert "this HEIC is damaged" in refused(tmp_path, b"\0\0\0\x18ftypheic" + bytes(20))
    assert "holds MP4, a video and not one picture" in refused(tmp_path, b"\0\0\0\x18ftypisom" + bytes(20))
    assert "this TIFF is damaged" in refused(tmp_path, b"II*\0" + bytes(20))
    assert "0x0 pixels" in refused(tmp_path, png(0, 0, 8, 0, b""))
    assert "wrong checksum in IDAT" in refused(tmp_path, png(1, 1, 8, 0, b"\0\0").replace(b"IDATx", b"IDATy"))
    assert "cannot be decoded" in refused(tmp_path, png(9, 9, 8, 77, b"\0\0"))


@pytest.mark.parametrize(("extension", "hint"), [("gif", "as a video"), ("png", "as a video"), ("webp", "to MP4")])
def test_an_animation_is_not_one_picture(tmp_path: Path, face: Image, extension: str, hint: str) -> None:
    animation = cv2.Animation()
    animation.frames, animation.durations = [bgr(face), face, bgr(face) // 2], [100] * 3
    assert cv2.imwriteanimation(str(tmp_path / f"moving.{extension}"), animation)
    with pytest.raises(InputError, match=rf"moving.{extension}: holds an anima.*{hint}"):
        read_image(tmp_path / f"moving.{extension}")


def test_paths_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_image("a\0b.png")
    with pytest.raises(InputError, match=r"cannot be read \(File name too long"):
        read_image("a" * 5000)
    if Path("/dev/null").exists():
        with pytest.raises(InputError, match="not a regular file"):
            read_image("/dev/null")


def test_a_folder_lists_its_pictures(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", ".hidden.png", "notes.txt", "c.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "inside.png").touch()
    assert [path.name for path in image_paths(tmp_path)] == ["a.jpeg", "b.PNG", "c.webp"]
    with pytest.raises(InputError, match="no such folder"):
        image_paths(tmp_path / "none")
    with pytest.raises(InputError, match="not a folder"):
        image_paths(tmp_path / "c.webp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no picture, it is empty \(subfolders"):
        image_paths(tmp_path / "empty")


def test_writing_refuses_what_cannot_end_well(tmp_path: Path, face: Image) -> None:
    with pytest.raises(InputError, match=r"cannot write \.tiff; use \.jpg"):
        write_image(tmp_path / "face.tiff", face)
    with pytest.raises(InputError, match="uint8 RGB"):
        write_image(tmp_path / "face.png", face[..., 0])
    with pytest.raises(InputError, match=r"cannot be written \(No such file"):
        write_image(tmp_path / "none" / "face.png", face)
    (tmp_path / "face.png").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        write_image(tmp_path / "face.png", face)
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory"):
        write_image(tmp_path / "face.png" / "face.png", face)
    assert (tmp_path / "face.png").read_text() == "mine"
    write_image(tmp_path / "face.png", face, overwrite=True)
    np.testing.assert_array_equal(read_image(tmp_path / "face.png"), face)
    with pytest.raises(InputError, match=r"\.webp cannot hold 20000x1 pixels|cannot be encoded"):
        write_image(tmp_path / "wide.webp", np.zeros((1, 20_000, 3), np.uint8))


FULL = """
import resource, sys
import numpy as np
from emo_edge.errors import InputError
from emo_edge.media.images import write_image
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_image(sys.argv[1], np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
except InputError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "face.png")], capture_output=True, text=True)
    assert "face.png: cannot be written (File too large)" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a system that limits memory this way")
def test_a_picture_that_memory_is_too_short_for_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    assert cv2.imwrite(str(path), np.zeros((6000, 6000, 3), np.uint8))
    code = (
        "import resource, sys\nimport numpy, cv2\nfrom emo_edge.errors import DeviceMemoryError\n"
        "from emo_edge.media.images import read_image\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))\n"
        "try:\n    read_image(sys.argv[1])\nexcept DeviceMemoryError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("a PNG of 6000x6000 pixels: not enough memory"), done.stderr
