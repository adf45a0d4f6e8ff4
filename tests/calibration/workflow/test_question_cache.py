"""The choice of a question cache, with distributions that are made up: the choice is under test, not the measuring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from emo_edge.bundle.manifest import Profile, QuestionCache
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.calibration.workflow.question_cache import CANDIDATES, takes_question_cache, with_question_cache
from emo_edge.export.bundles.evaluate_question_cache import CachedRuns
from emo_edge.metrics.gates import Gate
from emo_edge.metrics.label_agreement import label_evidence

REFERENCE = np.tile([0.6, 0.3, 0.1], (20, 1))
PROFILE = Profile(
    vision="fp16",
    connector="fp16",
    face=None,
    language="q4_k_m",
    evidence={"label_agreement": 1.0, "kl_mean": 0.001, "cue_f1": 0.9},
)


def shifted(by: float) -> np.ndarray:
    return REFERENCE + np.array([-by, by, 0.0])


def chosen(
    shifts: Sequence[float], measured: float = 0.0, unused: Sequence[int] = ()
) -> tuple[Profile, list[str], list[QuestionCache]]:
    said: list[str] = []
    asked: list[QuestionCache] = []

    def searched(caches: Sequence[QuestionCache]) -> CachedRuns:
        places = [CANDIDATES.index(cache) for cache in caches]
        rows = [shifted(shifts[min(place, len(shifts) - 1)]) for place in places]
        return CachedRuns(np.stack(rows), np.array([place not in unused for place in places]))

    def on_others(cache: QuestionCache) -> dict[str, float]:
        asked.append(cache)
        return label_evidence(REFERENCE, shifted(measured))

    found = with_question_cache("small", PROFILE, Gate.parse("kl<=0.01"), REFERENCE, searched, on_others, said.append)
    return found, said, asked


def test_the_first_candidate_inside_the_gate_is_taken_with_its_own_evidence() -> None:
    found, said, asked = chosen([0.2, 0.2, 0.01], measured=0.02)
    assert found.question_cache == CANDIDATES[2] and asked == [CANDIDATES[2]]
    kl = label_evidence(REFERENCE, shifted(0.02))["kl_mean"]
    assert found.evidence["kl_mean"] == kl
    assert (found.evidence["uncached_kl_mean"], found.evidence["cue_f1"]) == (0.001, 0.9)
    assert said[-1].startswith("profile small with its question cached but for 16 positions at the head and 1 at the")


def test_a_cache_that_the_questions_are_too_short_for_is_not_taken() -> None:
    assert chosen([0.0], unused=[0, 1])[0].question_cache == CANDIDATES[2]
    assert chosen([0.0], unused=range(len(CANDIDATES)))[0] == PROFILE


def test_no_cache_inside_the_gate_leaves_the_profile_as_it_is() -> None:
    found, said, asked = chosen([0.2])
    assert found == PROFILE and not asked
    assert said == ["profile small: no question cache holds kl<=0.01 on 20 samples; every position is computed"]


def test_a_cache_that_fails_on_other_samples_is_not_taken() -> None:
    found, said, asked = chosen([0.0], measured=0.2)
    assert found == PROFILE and len(asked) == 1
    assert "fails its gate (kl_mean" in said[-1] and said[-1].endswith("every position is computed")


@pytest.mark.parametrize(
    ("name", "language", "asked", "takes"),
    [
        ("small", "q4_k_m", True, True),
        ("small", "q4_k_m", False, False),
        ("small", "f16", True, False),
        ("exact", "q8_0", True, False),
    ],
)
def test_exact_profiles_take_none(name: str, language: str, asked: bool, takes: bool) -> None:
    profile = PROFILE.model_copy(update={"language": language})
    assert takes_question_cache(CalibrationConfig(question_cache=asked), name, profile) is takes
