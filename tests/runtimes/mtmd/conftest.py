"""Random VLMs of each family, written once, and their models of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from emo_edge.benchmarks.random_vlm.families import FAMILIES, random_vlm
from emo_edge.benchmarks.random_vlm.files import RandomVlm, write_random_vlm


class Written(NamedTuple):
    """A random VLM and its files."""

    family: str
    vlm: RandomVlm
    model: Path
    mmproj: Path


def written_vlm(made_once: Callable[..., Path], family: str) -> Written:
    vlm = random_vlm(family)

    def write(folder: Path) -> None:
        folder.mkdir()
        write_random_vlm(vlm, folder / "model.gguf", folder / "mmproj.gguf")

    folder = made_once(f"vlm-{family}", write)
    return Written(family, vlm, folder / "model.gguf", folder / "mmproj.gguf")


@pytest.fixture(scope="session", params=list(FAMILIES))
def written(request: pytest.FixtureRequest, made_once: Callable[..., Path]) -> Written:
    return written_vlm(made_once, request.param)


@pytest.fixture(scope="session")
def written_llava(made_once: Callable[..., Path]) -> Written:
    return written_vlm(made_once, "llava")
