"""Try every engine in a child process of its own: is it installed, does it compute, or does it take the process along.

An engine that was built for another CPU, beside another CUDA or by the wrong compiler ends its process with a signal,
so this process imports none. Run as a module with an engine's name, this file is the child that tries it.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
import importlib.util
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emo_edge.errors import EmoEdgeError
from emo_edge.faces import haar
from emo_edge.runtimes import openvino as openvino_runtime
from emo_edge.runtimes.llama_cpp import library
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt import fingerprint
from emo_edge.utils import opencv
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.processes import ProcessResult, run_bounded

TRIAL_SECONDS = 60.0
SMALL_GRAPH = base64.b64decode(
    "CAgSCGVtby1lZGdlOpIBChEKAXgKAXcSAXAiBk1hdE11bAoOCgFwCgFiEgFzIgNBZGQKDAoBcxIBeSIEUmVsdRIFc21hbGwqGwgCCAIQAUIBd0oQ"
    "AACAPwAAAEAAAEBAAACAQCoRCAIQAUIBYkoIAADAwAAAgD9aEwoBeBIOCgwIARIICgIIAQoCCAJiEwoBeRIOCgwIARIICgIIAQoCCAJCBAoAEBE="
)
"""An ONNX file: y = relu(x w + b) with w = [[1, 2], [3, 4]], b = [-6, 1]. The test writes it again with onnx.helper."""
SMALL_INPUT, SMALL_OUTPUT = [[2.0, 1.0]], [[0.0, 9.0]]
NOT_TAKEN = "this card does not take"
"""Of an engine: part of a problem that no newer installation cures."""
QUANTIZED = ("q4_k_m", "q8_0", "q4_0")
"""Language variants that llama.cpp computes with its AMX kernels, the smallest first."""
NO_MODEL = "none tried; emo-edge demo makes one, --bundle names one"

State = Literal["works", "broken", "missing"]


@dataclass(frozen=True)
class Engine:
    """A library that runs graphs or pictures; ``distributions`` are the packages that bring its module."""

    module: str
    distributions: tuple[str, ...]
    needed: bool = False
    """Whether a reading on the CPU needs it."""


ENGINES = (
    Engine(
        "onnxruntime",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-silicon"),
        needed=True,
    ),
    Engine("llama_cpp", ("llama-cpp-python",), needed=True),
    Engine("tokenizers", ("tokenizers",), needed=True),
    Engine(
        "cv2",
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
        needed=True,
    ),
    Engine("openvino", ("openvino",)),
    Engine("tensorrt", ("tensorrt",)),
    Engine("tensorrt_rtx", ("tensorrt-rtx",)),
    Engine("cuda.bindings", ("cuda-bindings",)),
    Engine("torch", ("torch",)),
)


@dataclass(frozen=True)
class EngineReport:
    """What is known of an engine after its trial; ``facts`` are short texts by name, ``packages`` versions by name."""

    module: str
    needed: bool
    state: State
    version: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    seconds: float | None = None


def check_engines(bundle: Path | None = None, engines: Sequence[Engine] = ENGINES) -> list[EngineReport]:
    """Try the engines one after another; ``bundle`` has the language model llama.cpp computes, the demo's if None."""
    return [check_engine(engine, arguments=[str(bundle)] if bundle else []) for engine in engines]


def check_engine(
    engine: Engine,
    *,
    arguments: Sequence[str] = (),
    command: Sequence[str] | None = None,
    seconds: float = TRIAL_SECONDS,
) -> EngineReport:
    """Try one engine for at most ``seconds``; ``command`` replaces the child that tries it."""
    packages = installed_packages(engine.distributions)
    if command is None and not _is_there(engine.module):
        return EngineReport(engine.module, engine.needed, "missing", packages=packages)
    child = [sys.executable, "-m", "emo_edge.diagnostics.engine_trials", engine.module, *arguments]
    start = time.monotonic()
    # A folder of the engine's name where the command was started is not the engine.
    ended = run_bounded(command or child, seconds, {"PYTHONSAFEPATH": "1"})
    spent = round(time.monotonic() - start, 2)
    facts = _last_object(ended)
    problem = ended.problem or facts.pop("problem", None) or (None if facts else "said nothing")
    version = facts.pop("version", None) or next(iter(packages.values()), None)
    state: State = "broken" if problem else "works"
    return EngineReport(engine.module, engine.needed, state, version, packages, facts, problem, spent)


def installed_packages(names: Sequence[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name) or "unknown"
    return found


def demo_bundle_folder() -> Path | None:
    """Return the newest bundle that ``emo-edge demo`` left in the user's cache."""
    try:
        folders = [path.parent for path in (cache_directory() / "bundles").glob("*/manifest.json")]
        return max(folders, key=lambda path: path.stat().st_mtime, default=None)
    except (OSError, RuntimeError):
        return None


def main(module: str, bundle: str | None = None) -> None:
    """Try one engine in this process and print what it said as the last line, one JSON object."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        facts = _try_llama(bundle) if module == "llama_cpp" else TRIALS[module](module)
    except Exception as error:
        # Our own errors name a cure for every machine; the doctor knows this one's, and wants the cause.
        cause = error.__cause__ or error
        facts = {"problem": f"{type(cause).__name__}: {' '.join(str(cause).split())[:400]}".rstrip(": ")}
    print("\n" + json.dumps(facts))


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _last_object(ended: ProcessResult) -> dict[str, str]:
    """Parse the child's last line: native code may have written lines of its own before it."""
    lines = ended.output.strip().splitlines()
    with suppress(ValueError, IndexError):
        found = json.loads(lines[-1])
        if isinstance(found, dict):
            return {str(name): str(value) for name, value in found.items()}
    return {}


def _try_onnxruntime(module: str) -> dict[str, str]:
    import onnxruntime as ort

    facts = {"version": str(ort.__version__)}
    offered = list(ort.get_available_providers())
    for name, provider in (("cpu", "CPUExecutionProvider"), ("cuda", "CUDAExecutionProvider")):
        if provider in offered:
            facts[name] = _try_provider(ort, provider)
    # Azure sends pictures away and is in every build.
    others = [name.removesuffix("ExecutionProvider") for name in offered]
    others = [name for name in others if name.lower() not in (*facts, "azure")]
    if others:
        facts["not tried"] = ", ".join(others)
    if facts.get("cpu") != "works":
        facts["problem"] = f"CPUExecutionProvider {facts.get('cpu', 'is not offered')}"
    return facts


def _try_provider(ort: Any, provider: str) -> str:
    import numpy as np

    options = ort.SessionOptions()
    if provider.startswith("CUDA") and hasattr(ort, "preload_dlls"):
        # It prints what it misses, and this child's last line is its answer.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(SMALL_GRAPH, options, providers=[provider])
        if session.get_providers()[0] != provider:
            return "does not start" + _missing_library(ort)
        value = session.run(["y"], {"x": np.array(SMALL_INPUT, np.float32)})[0]
    except Exception as error:
        # ONNX Runtime's errors share no class of their own.
        return f"fails: {' '.join(str(error).split())[:300]}"
    return "works" if value.tolist() == SMALL_OUTPUT else f"computes {value.tolist()} instead of {SMALL_OUTPUT}"


def _missing_library(ort: Any) -> str:
    """Load the CUDA provider's library, for the name of what it misses."""
    import ctypes

    library = Path(ort.__file__).parent / "capi/libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        match = re.search(r"[\w.+-]+\.so[\w.]*: cannot open", str(error))
        return f": {match[0].partition(':')[0]} is missing" if match else ""
    return ""


def _try_llama(bundle: str | None) -> dict[str, str]:
    native = library.library()
    import llama_cpp

    information = native.llama_print_system_info().decode("utf-8", "replace")
    facts = {
        "version": str(llama_cpp.__version__),
        "gpu": "built in" if native.llama_supports_gpu_offload() else "not built in",
        "built with": " ".join(re.findall(r"(\w+) = 1\b", information)),
    }
    amx = "AMX_INT8 = 1" in information
    facts |= {"amx": "built in, not proved"} if amx else {}
    folder = Path(bundle) if bundle else demo_bundle_folder()
    if folder is None:
        return facts | {"model": NO_MODEL}
    # Kept by the parent if the next step ends this process.
    print(json.dumps(facts | {"model": f"{folder.name} was being computed"}), flush=True)
    return facts | _compute(folder, amx)


def _compute(folder: Path, amx: bool) -> dict[str, str]:
    """Compute a prompt with the bundle's smallest quantized model; with AMX built in, ask first whether it is safe."""
    # Here because pydantic would add 0.2 s to every child.
    from emo_edge.bundle.reader import Bundle
    from emo_edge.errors import BundleError

    try:
        found = Bundle.open(folder)
    except BundleError as error:
        return {"model": f"not tried: {' '.join(str(error).split())}"}
    language = found.manifest.components.language
    variants = language.variants if language else {}
    name = next((name for name in (*QUANTIZED, *variants) if name in variants), None)
    if name is None:
        return {"model": f"not tried: {folder.name} has no language model"}
    path = found.files(variants[name])[0]
    if amx and not library.fast_path_is_safe(path):
        return {"model": f"{name} of {folder.name} needs the way around AMX", "amx": "avoided: its probe failed"}
    library.main(path)
    told = {"model": f"{name} of {folder.name} computes a prompt"}
    return told | {"amx": "works"} if amx and name in QUANTIZED else told


def _try_tokenizers(module: str) -> dict[str, str]:
    import tokenizers

    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"fear": 0, "[UNK]": 1}, unk_token="[UNK]"))
    if words.encode("fear").ids != [0]:
        raise RuntimeError(f"reads 'fear' as {words.encode('fear').ids} instead of [0]")
    return {"version": str(tokenizers.__version__)}


def _try_opencv(module: str) -> dict[str, str]:
    import numpy as np

    cv2 = opencv.open_cv2()
    if cv2.resize(np.full((4, 4, 3), 7, np.uint8), (2, 2)).tolist() != [[[7, 7, 7]] * 2] * 2:
        raise RuntimeError("resizes a grey picture to another colour")
    built = cv2.getBuildInformation()
    facts = {"version": str(cv2.__version__)}
    for name in ("GStreamer", "FFMPEG"):
        match = re.search(rf"^\s*{name}:\s*(\w+)", built, re.MULTILINE)
        facts[name.lower()] = match[1].lower() if match else "unknown"
    facts["cascades"] = _cascades(cv2, np.zeros((64, 64, 3), np.uint8))
    return facts


def _cascades(cv2: Any, picture: Any) -> str:
    if not hasattr(cv2, "CascadeClassifier"):
        return "no CascadeClassifier"
    try:
        haar.HaarDetector().detect(picture)
    except Exception as error:
        return f"no files: {error}"
    return "work"


def _try_openvino(module: str) -> dict[str, str]:
    import numpy as np

    openvino = openvino_runtime.load_openvino()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(SMALL_GRAPH), "CPU")
    value = compiled({"x": np.array(SMALL_INPUT, np.float32)})["y"]
    if value.tolist() != SMALL_OUTPUT:
        raise RuntimeError(f"computes {value.tolist()} instead of {SMALL_OUTPUT}")
    return {"version": str(openvino.__version__), "precision": openvino_runtime.native_precision()}


def _try_tensorrt(module: str) -> dict[str, str]:
    """Parse and build the small graph, for which the RTX edition needs no GPU; load it where there is one."""
    trt: Any = importlib.import_module(module)
    complaints: list[str] = []
    log = tensorrt_api.complaints_logger(trt, complaints)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(SMALL_GRAPH):
        raise RuntimeError(str(parser.get_error(0)))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise RuntimeError(f"the builder returned nothing for a small graph: {'; '.join(complaints)}")
    facts = {"version": str(trt.__version__), "builder": "parses and builds a small graph; nothing was run"}
    try:
        fingerprint.open_device()
    except (EmoEdgeError, ImportError, OSError, RuntimeError):
        return facts  # what is wrong with CUDA is another engine's line
    if trt.Runtime(log).deserialize_cuda_engine(plan) is None:
        wrong_card = tensorrt_api.wrong_card(complaints)
        blamed = NOT_TAKEN if wrong_card else "cannot be loaded"
        raise RuntimeError(f"builds a small graph, which {blamed}: {'; '.join(complaints)}")
    return facts | {"builder": "builds a small graph, which this card takes; nothing was run"}


def _try_cuda(module: str) -> dict[str, str]:
    """Open the first device with cuda-python, which TensorRT's memory and streams come from."""
    facts = fingerprint.open_device().facts
    version = installed_packages(["cuda-bindings"]).get("cuda-bindings", "unknown")
    return {"version": version, "device": f"{facts.name}, compute capability {facts.compute_capability}"}


def _try_torch(module: str) -> dict[str, str]:
    import torch

    facts = {"version": str(torch.__version__), "cpu": _multiply(torch, "cpu")}
    if torch.version.cuda is None:
        facts["cuda"] = "not built in"
    else:
        facts["cuda"] = _multiply(torch, "cuda") if torch.cuda.is_available() else "built in, no device"
    if facts["cpu"] != "works":
        facts["problem"] = f"cpu {facts['cpu']}"
    return facts


def _multiply(torch: Any, device: str) -> str:
    try:
        value = torch.tensor(SMALL_INPUT, device=device) @ torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    except RuntimeError as error:
        return f"fails: {' '.join(str(error).split())[:300]}"
    return "works" if value.tolist() == [[5.0, 8.0]] else f"computes {value.tolist()} instead of [[5.0, 8.0]]"


TRIALS: dict[str, Callable[[str], dict[str, str]]] = {
    "onnxruntime": _try_onnxruntime,
    "tokenizers": _try_tokenizers,
    "cv2": _try_opencv,
    "openvino": _try_openvino,
    "tensorrt": _try_tensorrt,
    "tensorrt_rtx": _try_tensorrt,
    "cuda.bindings": _try_cuda,
    "torch": _try_torch,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
