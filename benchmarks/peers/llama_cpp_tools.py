"""llama.cpp's own programs, built from the source distribution of the llama-cpp-python that is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.console.children import module_command
from emo_edge.errors import EmoEdgeError
from emo_edge.machine.cpus import usable_cpus

BENCH, MTMD = "llama-bench", "llama-mtmd-cli"
SETTINGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_CURL=OFF",
)
"""Programs that are built; llama.cpp chooses its kernels, as it does under pip."""
LINES_SHOWN = 15


@dataclass(frozen=True)
class Tools:
    """The two programs, and the settings they were built with."""

    bench: Path
    mtmd: Path
    made: str


def llama_tools(
    work: Path, settings: Sequence[str], report: Callable[[str], None], wanted: Sequence[str] = (BENCH, MTMD)
) -> Tools:
    """Return the tools below ``work``, built there if they are not; minutes on two cores.

    Args:
        work: keeps the source and a build for each set of settings.
        settings: more of CMake's, such as ``-DGGML_NATIVE=OFF``.
        report: gets a line before each long step.
        wanted: names of the programs that are needed.

    Raises EmoEdgeError where the source cannot be fetched or built.
    """
    version = importlib.metadata.version("llama-cpp-python")
    made = f"llama.cpp of llama-cpp-python {version}" + (f" with {' '.join(settings)}" if settings else "")
    name = "-".join(["build", version, *(setting.strip("-").replace("=", "-") for setting in settings)])
    built = work / name / "bin"
    tools = Tools(built / BENCH, built / MTMD, made)
    if not all((built / name).is_file() for name in wanted):
        source = _source(work, version, report)
        report(f"building {' and '.join(wanted)} {' '.join(settings)}")
        cmake = _cmake()
        _run([cmake, "-S", str(source), "-B", str(work / name), *SETTINGS, *settings])
        targets = ["--target", *wanted, "--parallel", str(usable_cpus())]
        _run([cmake, "--build", str(work / name), "--config", "Release", *targets])
    return tools


def _cmake() -> str:
    """Return the package's CMake where there is one, else the system's."""
    spec = importlib.util.find_spec("cmake")
    folder = Path(spec.origin).parent / "data/bin" if spec and spec.origin else None
    return str(folder / "cmake") if folder and (folder / "cmake").is_file() else "cmake"


def _source(work: Path, version: str, report: Callable[[str], None]) -> Path:
    folder = work / f"llama_cpp_python-{version}"
    if not folder.is_dir():
        report(f"fetching the source of llama-cpp-python {version}")
        wanted = ["--no-deps", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={version}"]
        _run(module_command("pip", "download", "--quiet", "--dest", str(work), *wanted))
        with tarfile.open(work / f"{folder.name}.tar.gz") as archive:
            archive.extractall(work, filter="data")
    return folder / "vendor/llama.cpp"


def _run(command: Sequence[str]) -> None:
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        raise EmoEdgeError(f"{command[0]} cannot be started: {error}; pip install cmake") from error
    if ended.returncode:
        last = ended.stdout.splitlines()[-LINES_SHOWN:]
        raise EmoEdgeError("\n".join([f"{' '.join(command[:4])} … ended with {ended.returncode}:", *last]))
