"""Random VLMs of each family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emo_edge.benchmarks.random_vlm.families import FAMILIES
from tests.random_vlms import Written, written_vlm


@pytest.fixture(scope="session", params=list(FAMILIES))
def written(request: pytest.FixtureRequest, made_once: Callable[..., Path]) -> Written:
    return written_vlm(made_once, request.param)


@pytest.fixture(scope="session")
def written_llava(made_once: Callable[..., Path]) -> Written:
    return written_vlm(made_once, "llava")
