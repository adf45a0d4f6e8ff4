"""The child process that tries one engine: ``python -m emo_edge.diagnostics.trials.child ENGINE [BUNDLE]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress

from emo_edge.diagnostics.trials import cuda, graph_engines, llama, others

TRIALS: dict[str, Callable[[], dict[str, str]]] = {
    "onnxruntime": graph_engines.try_onnxruntime,
    "tokenizers": others.try_tokenizers,
    "cv2": others.try_opencv,
    "av": others.try_av,
    "pillow_heif": others.try_pillow_heif,
    "openvino": graph_engines.try_openvino,
    "tensorrt": lambda: cuda.try_tensorrt("tensorrt"),
    "tensorrt_rtx": lambda: cuda.try_tensorrt("tensorrt_rtx"),
    "cuda.bindings": cuda.try_cuda,
    "torch": others.try_torch,
}


def main(module: str, bundle: str | None = None) -> None:
    """Try one engine in this process and print its facts as the last line, one JSON object."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        facts = llama.try_llama(bundle) if module == "llama_cpp" else TRIALS[module]()
    except Exception as error:
        # Our own errors name a fix for every machine; the doctor knows this one's, and needs the cause.
        cause = error.__cause__ or error
        facts = {"problem": f"{type(cause).__name__}: {' '.join(str(cause).split())[:400]}".rstrip(": ")}
    print("\n" + json.dumps(facts, allow_nan=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
