"""The variants that a profile takes: its own if they hold the gate, else the next more precise ones that do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emo_edge.bundle.manifest import GRAPHS, Profile, Variant
from emo_edge.errors import AccuracyGateError
from emo_edge.metrics.gates import Gate
from emo_edge.metrics.unit_agreement import AU_AGREEMENT

INT8 = "int8"


def with_int8(profile: Profile, parts: Sequence[str]) -> Profile:
    """Return the profile with the INT8 variants of these components."""
    return profile.model_copy(update=dict.fromkeys(parts, INT8))


def rungs(profile: Profile, floats: Profile, variants: Mapping[str, Variant]) -> list[Profile]:
    """List the fallbacks of a profile, itself first.

    Graphs in INT8 give way to those of ``floats``, then each larger one of the language model's ``variants`` is tried.
    """
    sizes = {name: sum(file.size for file in one.files) for name, one in variants.items()}
    graphs = {part: getattr(floats, part) for part in GRAPHS}
    ladder = [profile]
    if int8_parts(profile):
        profile = profile.model_copy(update=graphs)
        ladder.append(profile)
    larger = [name for name in sorted(sizes, key=sizes.__getitem__) if sizes[name] > sizes[str(profile.language)]]
    return [*ladder, *(profile.model_copy(update={"language": name}) for name in larger)]


def int8_parts(profile: Profile) -> list[str]:
    """Name the graphs of a profile that are in INT8."""
    return [part for part in GRAPHS if profile.variant(part) == INT8]


def gated_profile(
    name: str,
    ladder: Sequence[Profile],
    gate: Gate,
    measure: Callable[[Profile], dict[str, float]],
    *,
    strict: bool,
    report: Callable[[str], None],
) -> Profile:
    """Measure a profile's whole chain, rung by rung, until the gate holds.

    Args:
        name: of the profile.
        ladder: itself and its fallbacks: see `rungs`.
        gate: the one that must hold.
        measure: gives the evidence of the whole chain of a profile.
        strict: whether the first failure ends it.
        report: gets a line of every try.

    Returns:
        The rung that holds the gate, and its evidence.

    Raises AccuracyGateError if none does, or at the first failure if ``strict``.
    """
    failures: list[str] = []
    for tried in ladder:
        evidence = measure(tried)
        failures = gate.failures(evidence)
        failed = f"; fails its gate ({'; '.join(failures)})" if failures else ""
        report(f"{_described(name, tried)}: {_measured(evidence)}{failed}")
        if not failures:
            return tried.model_copy(update={"evidence": evidence})
        if strict:
            raise AccuracyGateError(f"{_described(name, tried)} fails its gate: {'; '.join(failures)}")
    raise AccuracyGateError(
        f"profile {name}: no variant holds {gate}; the last one tried: {'; '.join(failures)}. "
        "Ask for less, or export more precise variants"
    )


def _measured(evidence: Mapping[str, float]) -> str:
    if AU_AGREEMENT in evidence:
        return f"agreement on action units {evidence[AU_AGREEMENT]:.4f}"
    return f"agreement {evidence['label_agreement']:.4f}, mean KL {evidence['kl_mean']:.2e}"


def _described(name: str, profile: Profile) -> str:
    quantized = int8_parts(profile)
    return f"profile {name}, {profile.language or profile.face or profile.au}" + (
        f" with int8 {', '.join(quantized)}" if quantized else ""
    )
