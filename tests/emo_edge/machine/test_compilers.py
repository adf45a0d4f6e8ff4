"""Builds whose AMX kernels may be wrong: by the compiler's mark, and by the options that a library records."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emo_edge.machine.compilers import may_lose_tile_stores

OPTIONS = b"GNU C++17 12.2.0 -mtune=generic -O3 -fno-tree-dse -fno-dse\0"
DEBIAN_12, UBUNTU_24, FUTURE = b"GCC: (Debian 12.2.0-14) 12.2.0", b"GCC: (Ubuntu 13.2.0-4) 13.2.0", b"GCC: (GNU) 14.2.1"


@pytest.mark.parametrize(
    ("content", "may"),
    [
        (DEBIAN_12, True),
        (UBUNTU_24, True),
        (FUTURE, False),
        (FUTURE + b"\0" + DEBIAN_12, True),
        (DEBIAN_12 + b"\0" + OPTIONS, False),
        (DEBIAN_12 + b" -fno-dse", True),
        (b"clang version 18.1.3", False),
        (b"", False),
    ],
)
def test_the_mark_and_the_options_decide(tmp_path: Path, content: bytes, may: bool) -> None:
    library = tmp_path / "libggml-cpu.so"
    library.write_bytes(b"\x7fELF" + content)
    assert may_lose_tile_stores([library]) is may
    assert not may_lose_tile_stores([])


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs GCC")
@pytest.mark.parametrize("options", [(), ("-fno-tree-dse", "-fno-dse", "-frecord-gcc-switches")])
def test_a_library_of_this_compiler(tmp_path: Path, options: tuple[str, ...]) -> None:
    source, library = tmp_path / "empty.c", tmp_path / "libggml-cpu.so"
    source.write_text("int answer(void) { return 42; }\n")
    subprocess.run(["gcc", "-O2", "-shared", *options, str(source), "-o", str(library)], check=True)
    version = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True, check=True).stdout
    is_old = int(version.partition(".")[0]) < 14
    assert may_lose_tile_stores([library]) is (is_old and not options)
