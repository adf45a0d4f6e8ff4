"""Profiles of a calibrated bundle, before their gates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from emo_edge.bundle.gguf_types import EXACT
from emo_edge.bundle.manifest import GRAPHS, Manifest, Profile
from emo_edge.calibration.workflow.gated_profile import INT8, with_int8
from emo_edge.export.bundles.profiles import PROFILE_OF
from emo_edge.metrics.gates import GATES, OTHERS_GATE, profile_gate


def takes_int8(name: str, profile: Profile) -> bool:
    """Return whether graphs in INT8 are chosen for a profile: a quantized one, with the widest gate."""
    return name == INT8 or (profile_gate(name) == GATES[OTHERS_GATE] and profile.language not in EXACT)


def calibrated_profiles(
    old: Manifest, new: Sequence[str], faster: Mapping[str, bool], only: str | None = None
) -> dict[str, Profile]:
    """Give each new language variant a profile, and quantized profiles the graphs in INT8 that are faster here.

    All graphs in INT8, fast or not, make the profile ``int8``: for machines that are not this one.

    Args:
        old: the bundle's manifest before.
        new: language variants of this calibration.
        faster: graphs of this calibration in INT8, and whether each is faster than every float form.
        only: the one profile that may change; None lets all.
    """
    profiles = dict(old.profiles)
    # An export lists its smallest graphs last: those that a quantized language model goes with.
    smallest = with_floats(old, list(profiles.values())[-1], GRAPHS)
    for name in new:
        if not any(profile.language == name for profile in profiles.values()):
            own = PROFILE_OF.get(name, name)
            profiles[own] = profiles.get(own, smallest).model_copy(update={"language": name})
    chosen = [part for part, is_faster in faster.items() if is_faster]
    for name, profile in profiles.items():
        if name != INT8 and takes_int8(name, profile):
            profiles[name] = with_int8(with_floats(old, profile, faster), chosen)
    in_int8 = [part for part in GRAPHS if part in faster or INT8 in _variants(old, part)]
    if in_int8:
        profiles[INT8] = with_int8(profiles.get(INT8, smallest), in_int8)
    if only is None:
        return profiles
    return {**old.profiles, only: profiles[only]}


def with_floats(old: Manifest, profile: Profile, parts: Collection[str]) -> Profile:
    """Return a profile with the smallest float graphs in place of those of ``parts`` in INT8."""
    update = {
        part: [name for name in _variants(old, part) if name != INT8][-1]
        for part in parts
        if profile.variant(part) == INT8
    }
    return profile.model_copy(update=update)


def _variants(manifest: Manifest, part: str) -> list[str]:
    component = manifest.components.get(part)
    return list(component.variants) if component else []
