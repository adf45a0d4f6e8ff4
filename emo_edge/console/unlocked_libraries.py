"""Large libraries that are loaded without Python's lock, before the import that would load them under it.

While an import waits for 400 MB of a busy disk, no handler of a signal and no other thread can run: Ctrl-C took 8 s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

LARGE = {"torch._C": "lib/libtorch_cpu.so", "openvino._pyopenvino": "libs/libopenvino.so.*"}
"""Libraries of an extension module that know nothing of Python, in the folder of its package."""


def load_large_libraries_unlocked() -> None:
    """Watch for the imports of extension modules with `LARGE` libraries; on Linux, where their names are known."""
    if sys.platform == "linux" and not any(isinstance(finder, _Loader) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Loader())


class _Loader(MetaPathFinder):
    """Finds no module; loads its library."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Load the library of a module that is about to be imported."""
        if fullname in LARGE:
            for folder in path or ():
                for library in Path(folder).glob(LARGE[fullname]):
                    load_unlocked(library)


def load_unlocked(library: Path) -> bool:
    """Load a library; False if it does not load: the import that needs it will say why.

    `ctypes.CDLL` would hold the lock; a function that is called through it does not.
    """
    import ctypes

    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int]
    return bool(dlopen(os.fsencode(library), os.RTLD_NOW))
