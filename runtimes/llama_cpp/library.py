"""Open llama.cpp safely: silent, with its errors kept, and without the AMX path where that path crashes.

Some compilers build llama.cpp's AMX kernels so that a quantized matrix product of several tokens ends the process with
a signal, or does not, by what the stack held: see `emo_edge.machine.compilers`. A build of theirs never uses
these kernels. For any other build a child process takes that step first, once per build and kind of file; run as a
module, this file is that child.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from emo_edge.bundle.checks.gguf import check_gguf
from emo_edge.bundle.gguf_header import read_gguf_structure
from emo_edge.console.children import module_command
from emo_edge.errors import CheckpointError, DeviceError
from emo_edge.machine.compilers import may_lose_tile_stores
from emo_edge.machine.waiting_threads import limited_spinning
from emo_edge.runtimes.llama_cpp.admitted import is_admitted
from emo_edge.utils.cache import read_cached, write_cached
from emo_edge.utils.extras import unloadable
from emo_edge.utils.memory import WORDS as MEMORY_WORDS

ANSWERS_NAME = "llama-fast-path.json"
PROBE_SECONDS = 600
PROBE_TOKENS = 64
"""More than one, each with logits: llama.cpp computes a single row without the tiles that crash."""

logger = logging.getLogger(__name__)
_errors: deque[str] = deque(maxlen=20)
_ERROR, _CONTINUED = 4, 5


@functools.cache
def library() -> Any:
    """Import llama.cpp's C functions, silenced; raise MissingExtraError naming the install command."""
    try:
        llama_cpp = import_llama_cpp()
    except (ImportError, OSError, RuntimeError) as error:
        raise unloadable("llama_cpp", error) from error
    llama_cpp.llama_log_set(log_callback(llama_cpp), None)
    llama_cpp.llama_backend_init()
    return llama_cpp


def import_llama_cpp() -> Any:
    """Import llama.cpp's C functions; its threads spin for a moment only, unless the user chose otherwise."""
    with limited_spinning():
        from llama_cpp import llama_cpp
    return llama_cpp


def import_mtmd() -> Any:
    """Import libmtmd's C functions, which need llama.cpp's; raises ImportError where a build has none."""
    library()
    from llama_cpp import mtmd_cpp

    return mtmd_cpp


def native_errors() -> str:
    """Return the errors that llama.cpp logged since the last call, on one line."""
    text = " ".join("".join(_errors).split())
    _errors.clear()
    return text or "it gave no reason"


def load_model(path: Path, *, gpu_layers: int = 0, extra_buffers: bool = True, vocabulary_only: bool = False) -> Any:
    """Load a GGUF file; the caller frees it.

    Raises CheckpointError for one that llama.cpp cannot read, or would end the process on; DeviceError when memory ran
    out.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if not is_admitted(path):
        check_gguf(path)
    native = library()
    parameters = native.llama_model_default_params()
    parameters.n_gpu_layers = gpu_layers
    parameters.use_extra_bufts = extra_buffers
    parameters.vocab_only = vocabulary_only
    if not gpu_layers:
        # A build for GPUs opens each of them otherwise, and takes memory there.
        no_devices = (ctypes.c_void_p * 1)(None)
        parameters.devices = ctypes.cast(no_devices, ctypes.c_void_p)
    _errors.clear()
    model = native.llama_model_load_from_file(os.fsencode(path), parameters)
    if model:
        return model
    reason = native_errors()
    if any(words in reason.lower() for words in MEMORY_WORDS):
        raise DeviceError(f"{path}: not enough memory for the model: {reason}")
    raise CheckpointError(f"{path}: llama.cpp cannot read it (truncated, corrupt or not a GGUF model): {reason}")


def fast_path_is_safe(path: Path, *, information: str | None = None, command: Sequence[str] | None = None) -> bool:
    """Return True if llama.cpp may repack this model's weights for the CPU's matrix units; warn, once, if it may not.

    ``information`` replaces llama.cpp's description of this machine and of the build, ``command`` the child that tries
    the file.
    """
    is_this_build = information is None
    information = information or library().llama_print_system_info().decode()
    if "AMX_INT8 = 1" not in information:
        return True
    # Not the file's own type: calibration tries files of one type with tensors of others.
    try:
        types = read_gguf_structure(path).quantized_types
    except (OSError, ValueError):
        return False  # whoever loads the file says what is wrong with it
    if not types:
        return True
    child = command or module_command("emo_edge.runtimes.llama_cpp.library", str(path))
    names = ",".join(map(str, sorted(types)))
    safe = not (is_this_build and _may_lose_tile_stores()) and _proved(
        f"{build_key(information)} | tensor types {names}", child
    )
    if not safe:
        _warn_of_amx()
    return safe


def uses_amx(native: Any) -> bool:
    """Return whether this build of llama.cpp computes repacked weights on the AMX units of this CPU."""
    return b"AMX_INT8 = 1" in native.llama_print_system_info()


@functools.cache
def _warn_of_amx() -> None:
    """Log, once a process: an export opens llama.cpp six times, a server as often as it is asked to."""
    logger.warning(
        "this build of llama.cpp is not safe on this CPU's AMX units, so they stay unused and prompts take longer; "
        'to fix it: CXXFLAGS="-fno-tree-dse -fno-dse -frecord-gcc-switches" pip install --force-reinstall '
        "--no-binary llama-cpp-python llama-cpp-python"
    )


def main(path: Path) -> None:
    """Compute a prompt of several tokens with a quantized model, as the process this one protects is about to."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    native = library()
    model = load_model(path)
    parameters = native.llama_context_default_params()
    parameters.n_ctx = PROBE_TOKENS
    parameters.n_outputs_max_per_seq = 0
    context = native.llama_init_from_model(model, parameters)
    if not context or native.llama_decode(context, probe_batch(native, PROBE_TOKENS, outputs=PROBE_TOKENS)):
        raise DeviceError(f"{path}: llama.cpp cannot compute it: {native_errors()}")


@functools.cache
def log_callback(llama_cpp: Any) -> Any:
    """Create the function that llama.cpp logs through; cached, because llama.cpp keeps the pointer only."""
    kind = 0

    def receive(level: int, text: bytes, _: Any) -> None:
        nonlocal kind
        kind = kind if level == _CONTINUED else level
        line = text.decode("utf-8", "replace")
        if kind == _ERROR:
            _errors.append(line)
        logger.debug("%s", line.rstrip())

    return llama_cpp.llama_log_callback(receive)


def build_key(information: str) -> str:
    """Name this build on this CPU: a home directory may serve several machines."""
    import llama_cpp

    files = [(file.name, file.stat()) for file in _cpu_libraries()]
    stamps = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in files]
    return " | ".join([llama_cpp.__version__, *stamps, information.strip()])


@functools.cache
def _may_lose_tile_stores() -> bool:
    return may_lose_tile_stores(_cpu_libraries())


def _cpu_libraries() -> list[Path]:
    """Return llama.cpp's kernels for the CPU, as they are installed."""
    import llama_cpp

    folder = Path(os.environ.get("LLAMA_CPP_LIB_PATH") or Path(llama_cpp.__file__).parent / "lib")
    return sorted(folder.glob("*ggml-cpu*"))


def _proved(key: str, command: Sequence[str]) -> bool:
    """Return True if ``command`` survives: from the user's cache if it holds ``key``, else by running it.

    Success and a crash are remembered. A child that failed otherwise or was killed from outside proves nothing: the
    answer is no, and the next call tries again.
    """
    answers = read_cached(ANSWERS_NAME)
    if isinstance(answers.get(key), bool):
        return bool(answers[key])
    outcome = _outcome(command)
    if outcome is not None:
        write_cached(ANSWERS_NAME, {**answers, key: outcome})
    return bool(outcome)


def probe_batch(native: Any, rows: int, *, outputs: int) -> Any:
    """Create a prompt of token 0, whose last ``outputs`` positions give logits; the caller frees it."""
    batch = native.llama_batch_init(rows, 0, 1)
    batch.n_tokens = rows
    for position in range(rows):
        batch.token[position], batch.pos[position], batch.logits[position] = 0, position, position >= rows - outputs
        batch.n_seq_id[position], batch.seq_id[position][0] = 1, 0
    return batch


def _outcome(command: Sequence[str]) -> bool | None:
    """Run the child: True if it lived, False if it crashed, None if it proved nothing."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.info("the AMX probe did not finish: %s", error)
        return None
    if done.returncode == 0:
        return True
    logger.info("the AMX probe ended with %s: %s", done.returncode, done.stderr.decode("utf-8", "replace").strip())
    crashes = [getattr(signal, name, None) for name in ("SIGSEGV", "SIGILL", "SIGBUS", "SIGABRT", "SIGFPE")]
    return False if -done.returncode in [crash for crash in crashes if crash] else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
