"""What importing loads, held to an allow-list, and what must import where nothing optional is installed."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

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
    "pyarrow",
    "onnx_ir",
    "PIL",
    "av",
    "h5py",
    "starlette",
    "uvicorn",
    "h11",
    "websockets",
    "matplotlib",
    "filelock",
    "jinja2",
    "yaml",
    "sklearn",
    "scipy",
    "psutil",
    "rich",
)
DEVICE_SIDE = (
    "emo_edge.utils",
    "emo_edge.metrics",
    "emo_edge.machine",
    "emo_edge.media",
    "emo_edge.media.live",
    "emo_edge.faces",
    "emo_edge.faces.live",
    "emo_edge.assets",
    "emo_edge.bundle",
    "emo_edge.runtimes",
    "emo_edge.runtimes.base",
    "emo_edge.runtimes.tensorrt",
    "emo_edge.runtimes.llama_cpp",
    "emo_edge.runtimes.loading",
    "emo_edge.inference",
    "emo_edge.inference.signals",
    "emo_edge.inference.live",
    "emo_edge.planning",
    "emo_edge.planning.cost",
    "emo_edge.planning.probes",
    "emo_edge.rendering",
    "emo_edge.rendering.tables",
    "emo_edge.rendering.tracks",
    "emo_edge.tracking",
    "emo_edge.batch",
    "emo_edge.diagnostics.trials",
    "emo_edge.diagnostics.doctor",
    "emo_edge.diagnostics.selftest",
    "emo_edge.benchmarks.synthetic",
    "emo_edge.benchmarks.synthetic.pulse",
    "emo_edge.benchmarks.synthetic.micro",
)
COMMANDS = (
    *("app", "diagnostics.doctor", "diagnostics.engines", "diagnostics.selftest"),
    *("infer", "inspect", "label", "live.command", "plan", "signals.pulse", "signals.track"),
)
"""Those that a device needs."""
BARE = (
    "emo_edge.errors",
    "emo_edge.taxonomy",
    "emo_edge.tensors",
    "emo_edge.export.configs.checkpoint",
    "emo_edge.export.reference.tokenizer",
    "emo_edge.benchmarks.emo_tiny.instructions",
    *(f"emo_edge.cli.{name}" for name in COMMANDS),
)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code", ["import emo_edge", "from emo_edge.cli.app import main\nmain(['--help'], standalone_mode=False)"]
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
    """List what must import without any extra: the device's side whole, and what is named in `BARE`."""
    device_side = [
        name
        for package in DEVICE_SIDE
        for name in (package, *(f"{package}.{found.name}" for found in pkgutil.iter_modules(_package_path(package))))
    ]
    return [*device_side, *BARE]


def _package_path(name: str) -> list[str]:
    return list(importlib.import_module(name).__path__)


def test_device_side_modules_import_without_any_extra() -> None:
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in OPTIONAL)
    imports = "\n".join(f"import {name}" for name in bare_modules())
    run(f"import sys\n{blocked}\n{imports}")


HELP_OF_ALL = """
import click
from emo_edge.cli.app import main

def walked(command, *path):
    main([*path, "--help"], standalone_mode=False)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            walked(command.get_command(context, name), *path, name)

walked(main)
"""


def test_help_of_every_command_needs_no_extra() -> None:
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in OPTIONAL)
    helps = run(f"import sys\n{blocked}\n{HELP_OF_ALL}").split("Usage:")
    assert len(helps) > 30
    assert any("import llama-vid" in text and "--lora" in text for text in helps)
