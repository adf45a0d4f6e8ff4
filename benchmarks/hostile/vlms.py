"""Files of a VLM that others made: headers checked as before every opening, and pairs opened by a child process."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

from emo_edge.benchmarks.hostile.language_models import mutated_gguf
from emo_edge.benchmarks.hostile.trials import Kind
from emo_edge.bundle.checks.any_gguf import check_language_gguf, check_mmproj_gguf

LANGUAGE_KEY = re.compile(rb"(?:general|qwen2vl|tokenizer)\.[a-z_.]{3,40}|blk\.0\.[a-z_.]{3,40}")
MMPROJ_KEY = re.compile(rb"clip\.[a-z_.]{3,40}|v\.[a-z_0-9.]{3,40}|mm\.[a-z0-9.]{1,20}")


@lru_cache
def _files() -> tuple[Path, Path, int]:
    """Write a small random model; return its two files and the side of a picture."""
    from emo_edge.benchmarks.random_vlm.families import random_vlm
    from emo_edge.benchmarks.random_vlm.files import write_random_vlm

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    vlm = random_vlm("qwen2-vl")
    model, mmproj = folder / "model.gguf", folder / "mmproj.gguf"
    write_random_vlm(vlm, model, mmproj)
    return model, mmproj, vlm.side


def _models() -> Sequence[bytes]:
    return [_files()[0].read_bytes()]


def _mmprojs() -> Sequence[bytes]:
    return [_files()[1].read_bytes()]


def _mutated_model(rng: Random, content: bytes) -> bytes:
    return mutated_gguf(rng, content, LANGUAGE_KEY)


def _mutated_mmproj(rng: Random, content: bytes) -> bytes:
    return mutated_gguf(rng, content, MMPROJ_KEY)


def _open_pair(path: Path) -> None:
    from emo_edge.runtimes.mtmd.proof import proven_pair

    model, _, side = _files()
    proven_pair(model, path, side)


FOREIGN_GGUF = Kind("model.gguf", _models, _mutated_model, check_language_gguf)
MMPROJ = Kind("mmproj.gguf", _mmprojs, _mutated_mmproj, check_mmproj_gguf)
MMPROJ_ENGINE = Kind("mmproj.gguf", _mmprojs, _mutated_mmproj, _open_pair)
