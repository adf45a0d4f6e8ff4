"""Large libraries that are loaded without Python's lock."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from emo_edge.console.unlocked_libraries import LARGE, load_unlocked

IMPORTED = """
import sys
from emo_edge.console import unlocked_libraries
loaded = []
unlocked_libraries.load_unlocked = loaded.append
unlocked_libraries.load_large_libraries_unlocked()
unlocked_libraries.load_large_libraries_unlocked()
try:
    import torch
except ImportError:
    pass
print([path.name for path in loaded])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="waits for Linux")
@pytest.mark.parametrize("module", LARGE)
def test_the_library_is_where_its_package_has_it(module: str) -> None:
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None:
        pytest.skip(f"waits for {module}")
    assert spec.origin and list(Path(spec.origin).parent.glob(LARGE[module]))


@pytest.mark.skipif(sys.platform != "linux", reason="waits for Linux")
def test_an_import_loads_it_first_and_once(tmp_path: Path) -> None:
    package = tmp_path / "torch"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text("import torch._C")
    (package / "lib" / "libtorch_cpu.so").touch()
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{IMPORTED}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("['libtorch_cpu.so']\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="waits for Linux")
def test_a_library_that_does_not_load_is_left_to_the_import(tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(b"no library")
    assert not load_unlocked(tmp_path / "lib.so")
