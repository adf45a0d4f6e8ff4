"""Lines of native libraries about damaged pictures; each case in a process of its own, as it is about descriptor 2."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emo_edge.media.images import write_image

CASE = """
import os, sys, threading, logging
from emo_edge.console.native_messages import own_stderr, without_native_messages
{before}
def inside():
    with without_native_messages():
        os.write(2, b"native\\n")
        sys.stderr.write("own\\n")
threads = [threading.Thread(target=inside) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.write(2, b"after\\n")
"""


def lines(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_a_commands_own_messages_stay_and_native_ones_go() -> None:
    assert lines(CASE.format(before="own_stderr()")) == ["own"] * 8 + ["after"]


def test_a_program_keeps_its_standard_error() -> None:
    assert sorted(lines(CASE.format(before=""))) == sorted(["native", "own"] * 8 + ["after"])


def test_whoever_asks_for_opencvs_messages_sees_them() -> None:
    before = "os.environ['OPENCV_LOG_LEVEL'] = 'INFO'; own_stderr()"
    assert "native" in lines(CASE.format(before=before))


def with_zeros(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes(40) + whole[middle + 40 :]


def with_broken_pixels(whole: bytes) -> bytes:
    """A PNG whose checksums fit, so that the library itself finds the fault."""
    start = whole.index(b"IDAT")
    length = int.from_bytes(whole[start - 4 : start], "big")
    chunk = b"IDAT" + with_zeros(whole[start + 4 : start + 4 + length])
    checksum = zlib.crc32(chunk).to_bytes(4, "big")
    return whole[:start] + chunk + checksum + whole[start + 8 + length :]


@pytest.mark.parametrize(("name", "broken"), [("a.jpg", with_zeros), ("a.png", with_broken_pixels)])
def test_a_damaged_picture_is_one_error_and_no_other_line(
    tmp_path: Path, name: str, broken: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    write_image(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(broken(path.read_bytes()))
    code = (
        "import sys\nfrom emo_edge.console.streams import prepare_streams\nfrom emo_edge.errors import InputError\n"
        f"from emo_edge.media.images import read_image\n{{before}}\ntry: read_image({str(path)!r})\n"
        "except InputError as error: print(error, file=sys.stderr)\n"
    )
    loud = lines(code.format(before=""))
    quiet = lines(code.format(before="prepare_streams()"))
    assert len(loud) > len(quiet)
    assert all(line.startswith(str(path)) for line in quiet) and len(quiet) <= 1
