"""A language model and its mmproj, opened by a child process before this one opens them.

What llama.cpp and libmtmd assert about a file of any architecture cannot be read off its header: a file that they end
the process on ends the child. Run as a module, this file is that child.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.bundle.checks.any_gguf import check_language_gguf, check_mmproj_gguf
from emo_edge.bundle.reader import Bundle
from emo_edge.console.children import module_command
from emo_edge.errors import BundleError, DeviceError, EmoEdgeError
from emo_edge.runtimes.base.sessions import Chunk
from emo_edge.runtimes.llama_cpp.admitted import admit, file_signature
from emo_edge.runtimes.llama_cpp.library import build_key, library
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.mtmd.encoder import MtmdEncoder
from emo_edge.tensors import Tensor
from emo_edge.utils.cache import read_cached, write_cached

ANSWERS_NAME = "mtmd-pairs.json"
MOST_ANSWERS = 64
SECONDS = 600
CHILD_BYTES = 24 << 30
"""Memory that the child may take besides the files themselves."""
LARGEST_PICTURE = 4096
"""Positions of the context that a picture may fill."""
FIRST_CONTEXT, BEHIND, BRANCHES = 1024, 4, 2
"""Positions that are tried first; those behind the picture; continuations at once."""


@dataclass(frozen=True)
class Pair:
    """Sizes that a child measured of a pair of files, for pictures of one size."""

    positions: int
    """Cells of the context that a picture fills, the tokens around it included."""
    embedding_size: int
    context: int
    """Positions that the model was trained with."""


def proven_pair(model: Path, mmproj: Path, side: int) -> Pair:
    """Have a child open both files and read a picture of ``side`` pixels, once for these files and this build.

    Afterwards this process may open them. Raises BundleError for files that a header alone rules out, that do not
    belong together, or that the child did not survive.
    """
    check_language_gguf(model)
    check_mmproj_gguf(mmproj)
    key = json.dumps([*file_signature(model), *file_signature(mmproj), side, _build()], allow_nan=False)
    answers = read_cached(ANSWERS_NAME)
    pair = _pair(answers.get(key)) or _asked(model, mmproj, side)
    kept = dict(list(answers.items())[-MOST_ANSWERS:])
    if answers.get(key) != asdict(pair):
        write_cached(ANSWERS_NAME, {**kept, key: asdict(pair)})
    admit(model)
    admit(mmproj)
    return pair


def prove_bundle(bundle: Bundle, language: str | None = None, vision: str | None = None) -> None:
    """Prove a bundle's mmproj beside a variant of its language model, by default the first; nothing without one.

    Raises what `proven_pair` raises.
    """
    parts, crop = bundle.manifest.components, bundle.manifest.preprocessing.vision
    if parts.mmproj is None or parts.language is None or crop is None:
        return
    model = parts.language.variants[language or next(iter(parts.language.variants))]
    mmproj = parts.mmproj.variants[vision or next(iter(parts.mmproj.variants))]
    proven_pair(bundle.files(model)[0], bundle.files(mmproj)[0], crop.size)


def _build() -> str:
    return build_key(library().llama_print_system_info().decode())


def _pair(values: Any) -> Pair | None:
    with suppress(TypeError):
        pair = Pair(**values)
        if all(type(value) is int and value > 0 for value in asdict(pair).values()):
            return pair
    return None


def _asked(model: Path, mmproj: Path, side: int) -> Pair:
    command = module_command("emo_edge.runtimes.mtmd.proof", str(model), str(mmproj), str(side))
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{model} with {mmproj}: reading one picture took more than {SECONDS} s; not used") from error
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    values = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    pair = _pair(values)
    if pair and done.returncode == 0:
        return pair
    if "error" in values:
        text = str(values["error"])
        named = text if str(model) in text or str(mmproj) in text else f"{model} with {mmproj}: {text}"
        raise (DeviceError if values.get("device") else BundleError)(named)
    reason = f"ended it with signal {-done.returncode}" if done.returncode < 0 else f"failed (exit {done.returncode})"
    raise BundleError(
        f"{model} with {mmproj}: llama.cpp {reason} in a child process: the files are damaged, hostile or newer than "
        "this llama-cpp-python. Download them again, or update llama-cpp-python"
    )


def measured_pair(model: Path, mmproj: Path, side: int) -> Pair:
    """Open both files in this process, and read a grey picture of ``side`` pixels and a label behind it.

    The positions are counted before any is computed: a file may cut a picture into thousands of tiles. The context is
    no larger than the picture needs: a device may have no memory for more.
    """
    admit(model)
    admit(mmproj)
    trained = _trained(model)
    with LlamaSession(model, context_size=min(trained, FIRST_CONTEXT), max_branches=BRANCHES) as language:
        with MtmdEncoder(mmproj, language) as encoder:
            _require_few_positions(encoder, side, trained)
            chunks = encoder.encode(_grey(side))
        pair = Pair(sum(len(chunk) for chunk in chunks), language.embedding_size, trained)
        needed = pair.positions + BEHIND
        if needed <= language.context_size:
            _read(language, chunks)
            return pair
    with LlamaSession(model, context_size=needed, max_branches=BRANCHES) as language:
        _read(language, chunks)
    return pair


def _grey(side: int) -> Tensor:
    return np.full((side, side, 3), 127, np.uint8)


def _require_few_positions(encoder: MtmdEncoder, side: int, trained: int) -> None:
    """Raise BundleError for a picture that fills more of the context than there is, or than emo-edge reads."""
    positions = encoder.positions(_grey(side))
    if positions + BEHIND <= min(trained, LARGEST_PICTURE):
        return
    shrinks = encoder.positions(_grey(max(side // 2, 1))) < positions
    advice = (
        "choose a smaller `picture_size`"
        if shrinks
        else "it enlarges every picture, so `picture_size` changes nothing: take a model of a longer context, or of "
        "fewer tiles"
    )
    raise BundleError(
        f"a picture of {side} pixels fills {positions} positions, the model was trained for {trained} and "
        f"emo-edge reads {LARGEST_PICTURE} of one at most: {advice}"
    )


def _read(language: LlamaSession, chunks: Sequence[Chunk]) -> None:
    language.prefill([*chunks, [0]])
    language.score([[0, 0]])


def _trained(model: Path) -> int:
    return check_language_gguf(model).shape().context


def main(model: str, mmproj: str, side: str) -> None:
    """Print what was measured as JSON, or the error."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (CHILD_BYTES, CHILD_BYTES))
    try:
        print(json.dumps(asdict(measured_pair(Path(model), Path(mmproj), int(side))), allow_nan=False))
    except EmoEdgeError as error:
        print(json.dumps({"error": str(error), "device": isinstance(error, DeviceError)}, allow_nan=False))
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
