"""The search for a mixture, with damages that are made up: candidates, changes, and files that are really written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emo_edge.calibration.language.mixed_types import BASE, matrices_of, measured_options
from emo_edge.calibration.language.mixture_search import Mixture, MixtureSearch
from emo_edge.errors import AccuracyGateError
from emo_edge.export.gguf.quantize import quantize_gguf

REFERENCE = np.full((4, 2), 0.5)
BITS = {"q2_k": 2, "q3_k": 3, "iq4_xs": 4.2, "q4_k": 4, "q5_k": 5, "q6_k": 6, "q8_0": 8, "f16": 16}


class RealFilesMadeUpDamage:
    """Files as llama.cpp makes them; what they cost is a sum over matrices, and a pair that hurts together."""

    def __init__(self, source: Path, together: tuple[str, str] | None = None) -> None:
        self.source, self.together = source, together
        self.types: dict[str, str] = {}

    def make(
        self, target: Path, file_type: str, importance: Path | None = None, types: Mapping[str, str] | None = None
    ) -> None:
        quantize_gguf(self.source, target, file_type, types=types, known_finite=True)
        self.types = dict(types or {})

    def probabilities(self, path: Path, file_type: str, samples: int | None = None) -> NDArray[np.float64]:
        lost = sum(2.0 ** -BITS[kind] for kind in self.types.values())
        if self.together and all(BITS[self.types[name]] < 6 for name in self.together):
            lost += 3
        return np.stack([np.full(4, 0.5 - 0.05 * lost), np.full(4, 0.5 + 0.05 * lost)], 1)

    def answer_log_prob(self, path: Path, file_type: str) -> float:
        return 0.0

    def descriptions(self, path: Path, file_type: str) -> list[str]:
        return []


@pytest.fixture(scope="module")
def source(tiny_bundle: Path) -> Path:
    return tiny_bundle / "language-f16.gguf"


@pytest.fixture(scope="module")
def damages(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measurements of each matrix in each type, made once: alone, none hurts together with another."""
    folder = tmp_path_factory.mktemp("damages")
    measured_options(RealFilesMadeUpDamage(source), REFERENCE, None, folder)
    return folder / "damages.json"


@pytest.fixture
def work(damages: Path, tmp_path: Path) -> Path:
    """A folder of a search that has measured each matrix."""
    shutil.copy(damages, tmp_path)
    return tmp_path


def stock_size(source: Path, file_type: str, folder: Path) -> int:
    quantize_gguf(source, folder / "stock.gguf", file_type)
    return (folder / "stock.gguf").stat().st_size


def searched(trials: RealFilesMadeUpDamage, size: int, work: Path) -> tuple[Mixture, list[Mixture]]:
    heard: list[Mixture] = []
    options = measured_options(trials, REFERENCE, None, work)
    return MixtureSearch(trials, REFERENCE, options, None, work).best(size, heard.append), heard


def test_it_is_never_worse_than_the_recipe_of_its_size_and_fits(source: Path, work: Path) -> None:
    size = stock_size(source, "q4_k_m", work)
    trials = RealFilesMadeUpDamage(source)
    found, heard = searched(trials, size, work)
    recipe = next(mixture for mixture in heard if mixture.origin == "the recipe of q4_k_m")
    assert set(recipe.types.values()) >= {"q4_k", "q6_k"}, "read off llama.cpp's own file"
    assert found.divergence <= recipe.divergence
    assert found.types.keys() == {matrix.name for matrix in matrices_of(source)}
    trials.make(work / "mixed.gguf", BASE, None, found.types)
    assert (work / "mixed.gguf").stat().st_size <= size
    assert not (work / "candidate.gguf").exists()


def test_damages_that_do_not_add_up_are_found_out(source: Path, work: Path) -> None:
    pair = ("blk.0.attn_q.weight", "blk.1.attn_q.weight")
    size = stock_size(source, "q4_k_m", work)
    found, heard = searched(RealFilesMadeUpDamage(source, together=pair), size, work)
    sums, recipe = (
        next(one for one in heard if one.origin == origin)
        for origin in ("the sum of measured damages", "the recipe of q4_k_m")
    )
    assert found.divergence <= min(sums.divergence, recipe.divergence)


def test_a_search_that_goes_on_measures_nothing_twice(source: Path, tmp_path: Path) -> None:
    size = stock_size(source, "q3_k_m", tmp_path)
    found, _ = searched(RealFilesMadeUpDamage(source), size, tmp_path)
    again = RealFilesMadeUpDamage(source)
    again.probabilities = None  # type: ignore[assignment, method-assign]
    assert searched(again, size, tmp_path)[0] == found


def test_a_size_below_every_recipe_leaves_the_sum_alone(source: Path, work: Path) -> None:
    smallest = sum(matrix.size("q2_k") for matrix in matrices_of(source))
    found, heard = searched(RealFilesMadeUpDamage(source), smallest + 60_000, work)
    assert {one.origin for one in heard} == {"the sum of measured damages"}
    assert found.importance is None
    with pytest.raises(AccuracyGateError, match="no mixture of these types fits"):
        searched(RealFilesMadeUpDamage(source), 500_000, work)


def test_the_smallest_mixture_of_a_quality_is_found(source: Path, work: Path) -> None:
    trials = RealFilesMadeUpDamage(source)
    options = measured_options(trials, REFERENCE, None, work)
    searching = MixtureSearch(trials, REFERENCE, options, None, work)
    every = {kind: dict.fromkeys((matrix.name for matrix in matrices_of(source)), kind) for kind in ("q6_k", "q8_0")}
    wanted = searching.best(searching.size(every["q6_k"])).divergence
    found = searching.smallest(wanted)
    assert found.divergence <= wanted
    assert searching.size(found.types) <= 1.02 * searching.size(every["q6_k"]) < searching.size(every["q8_0"])
    with pytest.raises(AccuracyGateError, match=r"mean KL of 1e-12: everything in q8_0, \d"):
        searching.smallest(1e-12)
