"""Which profiles a calibrated bundle has: what each may take, and what stays when something is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.bundle.manifest import Manifest, Profile
from emo_edge.bundle.reader import read_manifest
from emo_edge.calibration.workflow.profiles import calibrated_profiles, takes_int8

ALL = {"vision": True, "connector": False, "face": True}


@pytest.fixture
def manifest(tiny_bundle: Path) -> Manifest:
    """Profiles exact (f16, fp32) and small (q4_k_m, fp16)."""
    return read_manifest(tiny_bundle)


def calibrated(old: Manifest, parts: list[str]) -> Manifest:
    """The same with INT8 variants of some graphs, and the profiles that follow."""
    profiles = calibrated_profiles(old, [], dict.fromkeys(parts, True))
    components = {}
    for part in parts:
        component = old.components.graph(part)
        variants = {**component.variants, "int8": component.variants["fp16"]}
        components[part] = component.model_copy(update={"variants": variants})
    update = {"components": old.components.model_copy(update=components), "profiles": profiles}
    return old.model_copy(update=update)


def graphs(profile: Profile) -> tuple[str | None, str | None, str | None]:
    return profile.vision, profile.connector, profile.face


def test_the_faster_graphs_go_to_the_small_profile_and_all_to_int8(manifest: Manifest) -> None:
    found = calibrated_profiles(manifest, [], ALL)
    assert graphs(found["small"]) == ("int8", "fp16", "int8")
    assert graphs(found["int8"]) == ("int8", "int8", "int8")
    assert found["int8"].language == "q4_k_m"
    assert found["exact"] == manifest.profiles["exact"]
    assert not takes_int8("balanced", found["small"]), "its gate is another"


def test_without_graphs_in_int8_there_is_no_such_profile(manifest: Manifest) -> None:
    assert calibrated_profiles(manifest, [], {}).keys() == manifest.profiles.keys()


def test_a_new_language_variant_gets_a_profile(manifest: Manifest) -> None:
    found = calibrated_profiles(manifest, ["q4_k_m", "iq2_xs", "q8_0"], {"vision": False})
    assert (found["iq2_xs"].language, found["iq2_xs"].vision) == ("iq2_xs", "fp16")
    assert found["balanced"].language == "q8_0"
    assert [name for name, profile in found.items() if profile.language == "q4_k_m"] == ["small", "int8"]


def test_what_was_made_before_stays_where_it_is_left_out(manifest: Manifest) -> None:
    before = calibrated(manifest, ["vision", "connector"])
    found = calibrated_profiles(before, [], {"vision": False})
    assert graphs(found["small"]) == ("fp16", "int8", "fp16"), "vision is slower now, the connector was not asked"
    assert graphs(found["int8"]) == ("int8", "int8", "fp16")


def test_one_profile_alone_changes_no_other(manifest: Manifest) -> None:
    found = calibrated_profiles(manifest, ["iq2_xs"], ALL, only="small")
    assert found.keys() == manifest.profiles.keys()
    assert found["exact"] == manifest.profiles["exact"]
    assert found["small"].vision == "int8"
