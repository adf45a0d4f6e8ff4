"""Random VLMs of each family for tests: their models of transformers and their files, written once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from emo_edge.benchmarks.random_vlm.families import random_vlm
from emo_edge.benchmarks.random_vlm.files import RandomVlm, write_random_vlm


class Written(NamedTuple):
    """A random VLM and its files."""

    family: str
    vlm: RandomVlm
    model: Path
    """Float32."""
    half: Path
    """The same in float16."""
    mmproj: Path


def written_vlm(made_once: Callable[..., Path], family: str) -> Written:
    """Write a family's files, unless another test did."""
    vlm = random_vlm(family)

    def write(folder: Path) -> None:
        folder.mkdir()
        write_random_vlm(vlm, folder / "model.gguf", folder / "mmproj.gguf")
        write_random_vlm(vlm, folder / "half.gguf", folder / "mmproj.gguf", file_type="f16")

    folder = made_once(f"vlm-{family}", write)
    return Written(family, vlm, folder / "model.gguf", folder / "half.gguf", folder / "mmproj.gguf")
