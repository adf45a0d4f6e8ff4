"""Steps for engines that are broken, hidden or overwritten."""

from __future__ import annotations

from collections.abc import Iterator

from emo_edge.diagnostics.doctor.commands import HEADLESS_OPENCV, REBUILD, build_flags, open_environment
from emo_edge.diagnostics.doctor.facts import Facts
from emo_edge.diagnostics.doctor.report import Step
from emo_edge.diagnostics.trials.check import EngineReport
from emo_edge.diagnostics.trials.cuda import NOT_TAKEN
from emo_edge.machine.hardware import Machine
from emo_edge.utils.extras import loader_command

FORMATS = ("av", "pillow_heif")
"""Engines that only some sources need, and then at once."""


def repair_steps(facts: Facts) -> Iterator[Step]:
    """Yield at most one step for each engine that does not work as it should."""
    for engine in facts.engines:
        if engine.module == "cv2" and facts.machine.jetson and engine.packages and not _is_complete(engine):
            yield _hiding(facts.machine, engine)
        elif len(engine.packages) > 1:
            yield _overwritten(facts.machine, engine)
        elif engine.state == "broken" and (engine.needed or facts.has_gpu or engine.module in FORMATS):
            yield _broken(facts, engine)
        elif engine.module == "cv2" and engine.facts.get("cascades", "work") != "work":
            yield _cascades(engine)
        elif engine.module == "onnxruntime" and engine.facts.get("cuda", "works") != "works" and facts.has_gpu:
            libraries = None if facts.machine.jetson else 'pip install "onnxruntime-gpu[cuda,cudnn]"'
            yield Step("broken", f"onnxruntime's CUDA provider {engine.facts['cuda']}", libraries)


def _is_complete(opencv: EngineReport) -> bool:
    facts = opencv.facts
    return opencv.state == "works" and facts.get("gstreamer") != "no" and facts.get("cascades", "work") == "work"


def _hiding(machine: Machine, opencv: EngineReport) -> Step:
    names = " and ".join(opencv.packages)
    what = f"{names} from pip hides JetPack's OpenCV, whose GStreamer opens CSI cameras"
    remove = f"pip uninstall -y {' '.join(opencv.packages)}"
    environment = machine.closed_environment
    return Step("broken", what, f"{remove} && {open_environment(environment)}" if environment else remove)


def _overwritten(machine: Machine, engine: EngineReport) -> Step:
    what = f"{' and '.join(engine.packages)} overwrite each other's module {engine.module}: remove all, install one"
    remove = f"pip uninstall -y {' '.join(engine.packages)}"
    if machine.jetson:
        # JetPack or NVIDIA's own build is the one to keep, and no public name says which that is.
        return Step("broken", f"{what} that was made for this JetPack", remove)
    keep = "onnxruntime-gpu" if machine.cuda_devices else "onnxruntime"
    keep = HEADLESS_OPENCV if engine.module == "cv2" else keep
    return Step("broken", what, f"{remove} && pip install {keep}")


def _broken(facts: Facts, engine: EngineReport) -> Step:
    what, package = f"{engine.module}: {engine.problem}", next(iter(engine.packages), None)
    jetson = facts.machine.jetson
    headless = engine.module == "cv2" and package is not None and "headless" not in package and not jetson
    if (command := loader_command(engine.problem or "")) and not headless:
        return Step("broken", what, command)
    if engine.module == "llama_cpp":
        return Step("broken", f"{what}; build it on this machine", build_flags(facts) + REBUILD)
    if jetson and engine.module in ("cv2", "tensorrt", "torch"):
        remove = f"pip uninstall -y {package}" if package else "sudo apt install --reinstall nvidia-jetpack"
        return Step("broken", f"{what}; use the one made for JetPack", remove)
    if NOT_TAKEN in (engine.problem or "") and engine.module == "tensorrt_rtx" and not jetson:
        return Step("broken", f"{what}; use another device, or TensorRT itself", 'pip install "emo-edge[tensorrt]"')
    if headless:
        return Step("broken", what, f"pip uninstall -y {package} && pip install {HEADLESS_OPENCV}")
    return Step("broken", what, _install_again(engine, package))


def _install_again(engine: EngineReport, package: str | None) -> str:
    requirement = HEADLESS_OPENCV if engine.module == "cv2" else package or engine.module.replace("_", "-")
    if engine.module == "pillow_heif":
        requirement = f"pillow {requirement}"  # it loads Pillow, whose failure looks the same
    # Without its dependencies, because pip would replace theirs by newer ones that others do not bear.
    options = "" if "ModuleNotFoundError" in (engine.problem or "") else "--force-reinstall --no-deps "
    return f"pip install {options}{requirement}"


def _cascades(engine: EngineReport) -> Step:
    if engine.facts["cascades"] == "no CascadeClassifier":
        what = f"OpenCV {engine.version} has no face cascades any more; or use --yunet"
        package = next(iter(engine.packages), None)
        return Step("broken", what, f'pip install "{package}<5"' if package else None)
    return Step("broken", f"cv2's cascades: {engine.facts['cascades']}", "sudo apt install opencv-data")
