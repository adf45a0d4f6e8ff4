"""Profiles and their gates, with evidence that is made up: the choice is under test, not the measuring."""

from __future__ import annotations

import pytest

from emo_edge.bundle.manifest import BundleFile, Profile, Variant
from emo_edge.calibration.workflow.gated_profile import gated_profile, rungs, with_int8
from emo_edge.errors import AccuracyGateError
from emo_edge.metrics.gates import Gate

KL = {"f16": 0.0, "q8_0": 0.001, "q4_k_m": 0.03, "q2_k": 0.2}
SIZES = {"f16": 1600, "q8_0": 850, "q4_k_m": 480, "q2_k": 300}
VARIANTS = {
    name: Variant(files=(BundleFile(path=f"{name}.gguf", size=size, sha256="0" * 64),)) for name, size in SIZES.items()
}
SMALL = Profile(vision="fp16", connector="fp16", face="fp16", language="q4_k_m")


def taken(gate: str, *, strict: bool = False, profile: Profile = SMALL) -> tuple[Profile, list[str]]:
    said: list[str] = []

    def measure(profile: Profile) -> dict[str, float]:
        lost = 0.04 if profile.vision == "int8" else 0.0
        return {"label_agreement": 0.99, "kl_mean": KL[str(profile.language)] + lost}

    ladder = rungs(profile, SMALL, VARIANTS)
    found = gated_profile("small", ladder, Gate.parse(gate), measure, strict=strict, report=said.append)
    return found, said


def test_a_profile_inside_its_gate_keeps_its_variant() -> None:
    found, said = taken("kl<=0.05")
    assert found == SMALL.model_copy(update={"evidence": {"label_agreement": 0.99, "kl_mean": 0.03}})
    assert said == ["profile small, q4_k_m: agreement 0.9900, mean KL 3.00e-02"]


def test_a_miss_takes_the_next_larger_variant_and_says_so() -> None:
    found, said = taken("kl<=0.01")
    assert (found.language, found.evidence["kl_mean"]) == ("q8_0", 0.001)
    assert said[0].endswith("fails its gate (kl_mean 0.03, the gate is kl<=0.01)") and len(said) == 2


def test_a_gate_nobody_can_meet_is_an_error_that_names_the_next_step() -> None:
    with pytest.raises(AccuracyGateError, match=r"no variant holds kl<=-1; .*kl_mean 0, .*Ask for less"):
        taken("kl<=-1")


def test_strict_ends_at_the_first_miss() -> None:
    with pytest.raises(AccuracyGateError, match="profile small, q4_k_m fails its gate: kl_mean"):
        taken("kl<=0.01", strict=True)


def test_graphs_in_int8_give_way_before_the_language_model_grows() -> None:
    both = with_int8(SMALL, ["vision", "face"])
    assert (both.vision, both.connector, both.face) == ("int8", "fp16", "int8")
    assert taken("kl<=0.08", profile=both)[0].vision == "int8"
    found, said = taken("kl<=0.05", profile=both)
    assert (found.vision, found.face, found.language) == ("fp16", "fp16", "q4_k_m")
    assert said[0].startswith("profile small, q4_k_m with int8 vision, face: agreement 0.9900, mean KL 7.00e-02; fails")
    assert taken("kl<=0.002", profile=both)[0].language == "q8_0"
