"""``emo-edge doctor``: what this machine is, which engines really work on it, and the command that fixes the rest."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emo_edge import __version__
from emo_edge.diagnostics.engine_trials import NOT_TAKEN, EngineReport, check_engines
from emo_edge.machine.hardware import Machine, read_machine
from emo_edge.machine.jetson import Jetson, fastest_mode
from emo_edge.utils.cache import cache_directory

AMX_CURE = 'CXXFLAGS="-fno-tree-dse -fno-dse"'
LITTLE_ROOM = 1_000_000_000
"""Bytes; the demo's bundle takes 0.05 GB, one of seven billion parameters 7."""
REBUILD = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"

ENGINES, STEPS = (
    textwrap.TextWrapper(110, "  ", " " * indent, break_long_words=False, break_on_hyphens=False) for indent in (28, 11)
)


@dataclass(frozen=True)
class Step:
    """One thing to do: ``broken`` and ``missing`` keep something from working, ``slow`` costs time alone."""

    kind: Literal["broken", "missing", "slow"]
    what: str
    command: str | None


@dataclass(frozen=True)
class Report:
    """All that the doctor found; ``devices`` are what ``emo-edge infer --device`` can take here."""

    doctor_version: int
    emo_edge: str
    machine: Machine
    engines: tuple[EngineReport, ...]
    devices: tuple[str, ...]
    steps: tuple[Step, ...]


def examine(machine: Machine | None = None, *, bundle: Path | None = None) -> Report:
    """Read the machine, try its engines and say what to do; a ``machine`` that was read before is not read again."""
    return report_of(machine or read_machine(folders=_written_folders()), check_engines(bundle))


def report_of(machine: Machine, engines: Sequence[EngineReport]) -> Report:
    """Conclude from facts what can be used and what is to be done."""
    works = {engine.module: engine.facts for engine in engines if engine.state == "works"}
    onnx, llama = works.get("onnxruntime"), works.get("llama_cpp")
    ready = works.get("cv2", {}).get("cascades") == "work" and all(e.state == "works" for e in engines if e.needed)
    devices = []
    if ready and onnx is not None and llama is not None:
        devices.append("cpu")
        gpu = llama.get("gpu") == "built in"
        compiled = "cuda.bindings" in works and not works.keys().isdisjoint({"tensorrt", "tensorrt_rtx"})
        devices += ["cuda"] if onnx.get("cuda") == "works" and gpu else []
        devices += ["tensorrt"] if compiled and gpu else []
        devices += ["openvino"] if "openvino" in works else []
    steps = (*_missing(machine, engines), *_broken(machine, engines), *_hardware(machine), *_slow(machine, works))
    return Report(1, __version__, machine, tuple(engines), tuple(devices), steps)


def described(report: Report) -> str:
    """Write a report for people."""
    machine = report.machine
    lines = [f"emo-edge {report.emo_edge}, Python {machine.python}, {machine.system}"]
    lines += ["", "machine", *(f"  {name:<9} {text}" for name, text in _machine_rows(machine))]
    if machine.jetson:
        lines += ["", "Jetson", *(f"  {name:<9} {text}" for name, text in _jetson_rows(machine, machine.jetson))]
    lines += ["", "engines", *(line for engine in report.engines for line in _engine_lines(engine))]
    lines += ["", "what to do", *(line for step in report.steps for line in _step_lines(step))]
    if not report.steps:
        untried = any(_only_starts(engine) for engine in report.engines)
        lines.append("  nothing: all that a reading needs works" + (", as far as it was tried" if untried else ""))
    usable = " and ".join(report.devices) or "nothing yet"
    return "\n".join([*lines, "", f"emo-edge infer runs here on: {usable}"])


def _machine_rows(machine: Machine) -> Iterator[tuple[str, str]]:
    cpu, memory = machine.processor, machine.memory
    yield "CPU", f"{cpu.name}, {cpu.cores} cores, {cpu.architecture}"
    features = ", ".join(cpu.features or ()) or "without AVX2, AVX-512 and AMX"
    yield "", "features unknown" if cpu.features is None else features
    if memory is None:
        yield "memory", "unknown"
    else:
        parts = [f"{memory.total / 1e9:.1f} GB"]
        parts += [f"{memory.available / 1e9:.1f} GB free"] if memory.available is not None else []
        parts += [f"swap {memory.swap / 1e9:.1f} GB" if memory.swap else "no swap"] if memory.swap is not None else []
        parts += [f"this container may use {memory.limit / 1e9:.1f} GB"] if memory.limit else []
        yield "memory", ", ".join(parts)
    shared = "shares the memory above" if machine.jetson else "memory unknown"
    for device in machine.cuda_devices:
        parts = [device.name, f"{device.memory / 1e9:.1f} GB" if device.memory else shared]
        parts += [f"compute capability {device.compute_capability}"] if device.compute_capability else []
        yield "CUDA", ", ".join([*parts, f"driver {device.driver}"] if device.driver else parts)
    if not machine.cuda_devices:
        yield "CUDA", machine.cuda_problem or ("the Jetson's own" if machine.jetson else "no NVIDIA card")
    if machine.cuda_toolkit:
        yield "", f"toolkit {machine.cuda_toolkit}"
    for drive in machine.drives:
        yield "disk", f"{drive.free / 1e9:.1f} of {drive.total / 1e9:.1f} GB free at {drive.folder}"
    for camera in machine.cameras:
        yield "camera", f"{camera.device}, {camera.name or 'no name'}" + ("" if camera.opens else ", may not be opened")
    if not machine.cameras:
        yield "camera", "none"


def _jetson_rows(machine: Machine, jetson: Jetson) -> Iterator[tuple[str, str]]:
    yield "module", jetson.module or "unknown"
    yield "model", jetson.model or "the device tree names none"
    gpu = f"sm_{jetson.gpu_architecture}" if jetson.gpu_architecture else "architecture unknown"
    gpu += " (CUDA 12 calls it sm_101)" if jetson.gpu_architecture == 110 else ""
    yield "GPU", f"{gpu}, shares the {machine.memory.total / 1e9:.1f} GB" if machine.memory else gpu
    yield "L4T", f"{jetson.l4t or 'unknown'}, JetPack {jetson.jetpack or 'unknown'}"
    power = f"mode {jetson.power_mode.number}, {jetson.power_mode.name}" if jetson.power_mode else "mode unknown"
    others = ", ".join(f"{mode.number} {mode.name}" for mode in jetson.power_modes)
    yield "power", f"{power}; there are {others}" if others else power
    clocks = {True: "fixed, as jetson_clocks does", False: "follow the load", None: "unknown"}
    yield "clocks", clocks[jetson.clocks_fixed]


def _engine_lines(engine: EngineReport) -> list[str]:
    state: str = engine.state
    if engine.state == "missing" and not engine.needed:
        state = "not installed"
    elif _only_starts(engine):
        state = "starts"
    took = f", {engine.seconds:.1f} s" if engine.seconds is not None and engine.state == "works" else ""
    texts = [f"{state}{took}" + (f": {engine.problem}" if engine.problem else "")]
    texts += [f"{name}: {text}" for name, text in engine.facts.items()]
    return ENGINES.wrap(f"{engine.module:<13} {engine.version or '':<11} {'; '.join(texts)}")


def _only_starts(engine: EngineReport) -> bool:
    return engine.state == "works" and engine.facts.get("model", "").startswith(("none", "not"))


def _step_lines(step: Step) -> Iterator[str]:
    yield from STEPS.wrap(f"{step.kind:<8} {step.what}")
    if step.command:
        yield f"           $ {step.command}"


def _missing(machine: Machine, engines: Sequence[EngineReport]) -> Iterator[Step]:
    absent = [engine.module for engine in engines if engine.state == "missing"]
    needed = [engine.module for engine in engines if engine.module in absent and engine.needed]
    if not machine.jetson:
        flags = _flags(machine) if "llama_cpp" in needed else ""
        if needed:
            yield Step("missing", f"{', '.join(needed)}: a reading needs them", f'{flags}pip install "emo-edge[cpu]"')
        return
    brought = " and ".join(name for name in ("cv2", "tensorrt") if name in absent)
    if brought and machine.closed_environment:
        what = f"JetPack brings {brought}; this environment hides the system's packages"
        yield Step("missing", what, _opening(machine.closed_environment))
    elif brought:
        yield Step("missing", f"JetPack brings {brought}", "sudo apt install nvidia-jetpack")
    for module, command in (
        ("onnxruntime", "pip install onnxruntime"),
        ("llama_cpp", f"{_flags(machine)}pip install llama-cpp-python"),
        ("tokenizers", "pip install tokenizers"),
    ):
        if module in needed:
            yield Step("missing", f"{module}: a reading needs it", command)
    if "cuda.bindings" in absent:
        major = (machine.cuda_toolkit or "").partition(".")[0]
        version = f'"cuda-bindings=={major}.*"' if major else "cuda-bindings"
        yield Step("missing", "cuda-python: --device tensorrt needs it", f"pip install {version}")


def _broken(machine: Machine, engines: Sequence[EngineReport]) -> Iterator[Step]:
    for engine in engines:
        if engine.module == "cv2" and machine.jetson and engine.packages and not _sees_all(engine):
            yield _hiding(machine, engine)
        elif len(engine.packages) > 1:
            yield _overwritten(machine, engine)
        elif engine.state == "broken" and (engine.needed or _has_gpu(machine)):
            yield _repair(machine, engine)
        elif engine.module == "cv2" and engine.facts.get("cascades", "work") != "work":
            yield _cascades(engine)
        elif engine.module == "onnxruntime" and engine.facts.get("cuda", "works") != "works" and _has_gpu(machine):
            libraries = None if machine.jetson else 'pip install "onnxruntime-gpu[cuda,cudnn]"'
            yield Step("broken", f"onnxruntime's CUDA provider {engine.facts['cuda']}", libraries)


def _sees_all(opencv: EngineReport) -> bool:
    facts = opencv.facts
    return opencv.state == "works" and facts.get("gstreamer") != "no" and facts.get("cascades", "work") == "work"


def _hiding(machine: Machine, opencv: EngineReport) -> Step:
    names = " and ".join(opencv.packages)
    what = f"{names} from pip hides JetPack's OpenCV, whose GStreamer opens CSI cameras"
    remove = f"pip uninstall -y {' '.join(opencv.packages)}"
    environment = machine.closed_environment
    return Step("broken", what, f"{remove} && {_opening(environment)}" if environment else remove)


def _overwritten(machine: Machine, engine: EngineReport) -> Step:
    what = f"{' and '.join(engine.packages)} overwrite each other's module {engine.module}: remove all, install one"
    remove = f"pip uninstall -y {' '.join(engine.packages)}"
    if machine.jetson:
        # JetPack or NVIDIA's own build is the one to keep, and no public name says which that is.
        return Step("broken", f"{what} that was made for this JetPack", remove)
    keep = "onnxruntime-gpu" if machine.cuda_devices else "onnxruntime"
    keep = '"opencv-python-headless<5"' if engine.module == "cv2" else keep
    return Step("broken", what, f"{remove} && pip install {keep}")


def _repair(machine: Machine, engine: EngineReport) -> Step:
    what, package = f"{engine.module}: {engine.problem}", next(iter(engine.packages), None)
    if engine.module == "llama_cpp":
        return Step("broken", f"{what}; build it on this machine", _flags(machine) + REBUILD)
    if machine.jetson and engine.module in ("cv2", "tensorrt", "torch"):
        remove = f"pip uninstall -y {package}" if package else "sudo apt install --reinstall nvidia-jetpack"
        return Step("broken", f"{what}; use the one made for JetPack", remove)
    if NOT_TAKEN in (engine.problem or "") and engine.module == "tensorrt_rtx" and not machine.jetson:
        return Step("broken", f"{what}; use another device, or TensorRT itself", 'pip install "emo-edge[tensorrt]"')
    if engine.module == "cv2" and package and "headless" not in package:
        return Step("broken", what, f'pip uninstall -y {package} && pip install "opencv-python-headless<5"')
    wanted = '"opencv-python-headless<5"' if engine.module == "cv2" else package or engine.module.replace("_", "-")
    # Without its dependencies, because pip would replace theirs by newer ones that others do not bear.
    again = "" if "ModuleNotFoundError" in (engine.problem or "") else "--force-reinstall --no-deps "
    return Step("broken", what, f"pip install {again}{wanted}")


def _cascades(engine: EngineReport) -> Step:
    if engine.facts["cascades"] == "no CascadeClassifier":
        what = f"OpenCV {engine.version} has no face cascades any more; or use --yunet"
        package = next(iter(engine.packages), None)
        return Step("broken", what, f'pip install "{package}<5"' if package else None)
    return Step("broken", f"cv2's cascades: {engine.facts['cascades']}", "sudo apt install opencv-data")


def _hardware(machine: Machine) -> Iterator[Step]:
    if machine.cuda_problem and not machine.jetson:
        outdated = "mismatch" in machine.cuda_problem
        cure = "the driver was updated: restart" if outdated else "restart, or start this container with its GPUs"
        yield Step("broken", f"{machine.cuda_problem}; {cure}", "sudo reboot" if outdated else None)
    closed = [camera.device for camera in machine.cameras if not camera.opens]
    if closed:
        what = f"{', '.join(closed)} may not be opened; log in again after this"
        yield Step("broken", what, 'sudo usermod -aG video "$USER"')
    for drive in machine.drives:
        if drive.free < LITTLE_ROOM:
            what = f"room: {drive.free / 1e9:.1f} GB free at {drive.folder}; XDG_CACHE_HOME moves the cache"
            yield Step("missing", what, None)


def _slow(machine: Machine, works: dict[str, dict[str, str]]) -> Iterator[Step]:
    llama, onnx, jetson = works.get("llama_cpp", {}), works.get("onnxruntime", {}), machine.jetson
    if llama.get("amx", "works").startswith("avoided"):
        what = "llama.cpp's AMX path crashes as it was built, so that prompts take longer"
        yield Step("slow", what, _flags(machine, amx=True) + REBUILD)
    elif llama.get("amx", "works") != "works":
        yield Step("slow", "llama.cpp's AMX path was not proved with a model", "emo-edge doctor --bundle BUNDLE")
    if llama.get("gpu") == "not built in" and _has_gpu(machine):
        yield Step("slow", "llama.cpp was built without CUDA", _flags(machine) + REBUILD)
    if onnx and "cuda" not in onnx and jetson:
        yield Step("slow", "onnxruntime has no CUDA; NVIDIA builds onnxruntime-gpu for each JetPack", None)
    elif onnx and "cuda" not in onnx and machine.cuda_devices:
        command = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        yield Step("slow", "onnxruntime was built without CUDA", command)
    fastest = fastest_mode(jetson.power_modes) if jetson else None
    if jetson and fastest and jetson.power_mode and fastest.number != jetson.power_mode.number:
        what = f"power mode {jetson.power_mode.name}; {fastest.name} is the fastest and takes the most power"
        yield Step("slow", what, f"sudo nvpmodel -m {fastest.number}")
    if jetson and jetson.clocks_fixed is False:
        yield Step("slow", "clocks follow the load: fix them before measuring", "sudo jetson_clocks")


def _flags(machine: Machine, *, amx: bool = False) -> str:
    """Return what llama.cpp is to be built with here: for the GPU, and past gcc 12's fault where there is AMX."""
    flags = 'CMAKE_ARGS="-DGGML_CUDA=on" ' if _has_gpu(machine) else ""
    return flags + (f"{AMX_CURE} " if amx or "AMX" in (machine.processor.features or ()) else "")


def _written_folders() -> list[Path]:
    folders = []
    for find in (Path.cwd, cache_directory):
        # A working directory that was deleted, a user without a home.
        with suppress(OSError, RuntimeError):
            folders.append(find())
    return folders


def _opening(environment: str) -> str:
    return f"python3 -m venv --system-site-packages {shlex.quote(environment)}"


def _has_gpu(machine: Machine) -> bool:
    return bool(machine.cuda_devices or machine.jetson)
