"""Profiles of an exported bundle: one a language variant, with the graphs that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emo_edge.bundle.gguf_types import EXACT
from emo_edge.bundle.manifest import GRAPHS, Profile, Variant
from emo_edge.export.onnx.export import PRECISIONS

PROFILE_OF = {"f32": "exact", "f16": "exact", "q8_0": "balanced", "q4_k_m": "small"}
"""Name of a profile by its language variant; others are called as the variant."""
NETWORK_PROFILE_OF = {"fp32": "exact", "fp16": "balanced"}
"""The same by precision, for one network alone."""


def language_profiles(variants: Mapping[str, Mapping[str, Variant]]) -> dict[str, Profile]:
    """Return a profile for each language variant.

    Unquantized ones take the most precise graphs, the others the smallest. Smallest graphs that none of
    these takes make the profile ``half``, so that every file can be chosen.
    """

    def graphs(order: Sequence[str]) -> dict[str, str | None]:
        return {
            part: next((precision for precision in order if precision in variants.get(part, {})), None)
            for part in GRAPHS
        }

    profiles: dict[str, Profile] = {}
    for language in variants["language"]:
        own = PROFILE_OF.get(language, language)
        order = PRECISIONS if language in EXACT else PRECISIONS[::-1]
        name = language if own in profiles else own
        profiles[name] = Profile.model_validate({**graphs(order), "language": language})
    small = graphs(PRECISIONS[::-1])
    if not any(profile.model_copy(update=small) == profile for profile in profiles.values()):
        first = next(iter(variants["language"]))
        profiles["half"] = Profile.model_validate({**small, "language": first})
    return profiles


def network_profiles(precisions: Sequence[str], part: str = "face") -> dict[str, Profile]:
    """Return a profile for each precision of one network alone, the component ``part``."""
    none = Profile(vision=None, connector=None, face=None, language=None)
    return {NETWORK_PROFILE_OF[name]: none.model_copy(update={part: name}) for name in precisions}
