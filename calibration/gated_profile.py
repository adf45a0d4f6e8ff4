"""Which language variant a profile takes: its own if that holds the gate, else the next larger one that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emo_edge.calibration.gates import Gate
from emo_edge.errors import AccuracyGateError
from emo_edge.manifest import Profile, Variant


def gated_profile(
    name: str,
    profile: Profile,
    variants: Mapping[str, Variant],
    gate: Gate,
    measure: Callable[[Profile], dict[str, float]],
    *,
    strict: bool,
    report: Callable[[str], None],
) -> Profile:
    """Measure a profile's whole chain, language variant by language variant, until the gate holds.

    Args:
        name: of the profile.
        profile: as it is.
        variants: of the language component, by name.
        gate: what must hold.
        measure: gives the evidence of the whole chain of a profile.
        strict: whether the first miss ends it.
        report: told of every try.

    Returns:
        The profile with the variant that holds the gate, and its evidence.

    Raises AccuracyGateError if nothing does, or at the first miss if ``strict``.
    """
    sizes = {variant: sum(file.size for file in one.files) for variant, one in variants.items()}
    own = sizes[str(profile.language)]
    larger = [other for other in sorted(sizes, key=sizes.__getitem__) if sizes[other] > own]
    failures: list[str] = []
    for language in (profile.language, *larger):
        tried = profile.model_copy(update={"language": language})
        evidence = measure(tried)
        failures = gate.failures(evidence)
        said = f"agreement {evidence['label_agreement']:.4f}, mean KL {evidence['kl_mean']:.2e}"
        report(
            f"profile {name}, {language}: {said}" + (f"; misses its gate ({'; '.join(failures)})" if failures else "")
        )
        if not failures:
            return tried.model_copy(update={"evidence": evidence})
        if strict:
            raise AccuracyGateError(f"profile {name}, {language} misses its gate: {'; '.join(failures)}")
    raise AccuracyGateError(
        f"profile {name}: no language variant holds {gate}; the last one tried: {'; '.join(failures)}. "
        "Ask for less, or export more precise variants"
    )
