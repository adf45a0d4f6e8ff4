"""What importing loads, held to an allow-list, and what must import where nothing optional is installed."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import emo_edge

ALLOWED = {"emo_edge", "numpy", "click"}
OPTIONAL = (
    "torch",
    "transformers",
    "safetensors",
    "sentencepiece",
    "tokenizers",
    "cv2",
    "tqdm",
    "onnxruntime",
    "llama_cpp",
    "onnx",
    "gguf",
)
BARE = ("export.config", "export.text")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code", ["import emo_edge", "from emo_edge.cli import main\nmain(['--help'], standalone_mode=False)"]
)
def test_importing_and_help_load_only_stdlib_numpy_and_click(code: str) -> None:
    report = run(
        f"import sys, json\nbefore = set(sys.modules)\n{code}\n"
        "print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    loaded = set(json.loads(report.splitlines()[-1]))
    assert "emo_edge" in loaded
    assert loaded - ALLOWED - set(sys.stdlib_module_names) == set()


def bare_modules() -> list[str]:
    runtimes = [f"runtimes.{module.name}" for module in pkgutil.iter_modules(_package_path("runtimes"))]
    faces = [
        f"benchmarks.{module.name}"
        for module in pkgutil.iter_modules(_package_path("benchmarks"))
        if module.name.startswith("face_") or module.name in ("synthetic", "instructions", "machine")
    ]
    # The command line's layer joins export and calibration.
    joining = ("calibrated_", "calibration_")
    modules = [module for module in pkgutil.iter_modules(emo_edge.__path__) if not module.ispkg]
    core = [module.name for module in modules if not module.name.startswith(joining)]
    return [f"emo_edge.{name}" for name in (*BARE, *core, *runtimes, *faces)]


def _package_path(name: str) -> list[str]:
    return list(__import__(f"{emo_edge.__name__}.{name}", fromlist=["__path__"]).__path__)


def test_device_side_modules_import_without_any_extra() -> None:
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in OPTIONAL)
    imports = "\n".join(f"import {name}" for name in bare_modules())
    run(f"import sys\n{blocked}\n{imports}")
