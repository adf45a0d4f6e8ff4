"""Last stage of a calibration: the new bundle's manifest, with every profile measured and inside its gate."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from emo_edge.bundle.manifest import GRAPHS, PARTS, Manifest, Profile, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.workflow.config import language_of
from emo_edge.calibration.workflow.gated_profile import INT8, gated_profile, rungs
from emo_edge.calibration.workflow.prepare import SEARCHED
from emo_edge.calibration.workflow.profiles import calibrated_profiles, with_floats
from emo_edge.calibration.workflow.question_cache import CacheSearch, takes_question_cache, with_profile
from emo_edge.calibration.workflow.report import NewVariants, calibration_provenance
from emo_edge.calibration.workflow.runs import GraphRun
from emo_edge.calibration.workflow.unit_network import UnitRun
from emo_edge.errors import AccuracyGateError
from emo_edge.export.bundles.detector import stored_detector, with_detector
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.metrics.gates import profile_gate, unit_profile_gate


def calibrated_manifest(run: GraphRun, writer: BundleWriter, variants: NewVariants) -> Manifest:
    """Describe the new bundle: old files, new variants, and every profile measured and inside its gate."""
    described = _described(run, writer, variants)
    if run.config.detector:
        described = with_detector(described, stored_detector(writer, run.config.detector))
    for file in described.files():
        if not (writer.partial / file.path).exists():
            link_file(run.bundle.directory / file.path, writer.path(file.path))
    draft = Bundle(writer.partial, Manifest.model_validate(described.model_dump()))
    gated = {name: _gated(run, draft, name, profile, variants.names()) for name, profile in described.profiles.items()}
    profiles = _without_twins(run, {name: profile for name, profile in gated.items() if profile is not None})
    default = draft.manifest.default_profile
    return Manifest.model_validate(
        {
            **_without_idle(run, draft.manifest, profiles, variants.names()).model_dump(),
            "profiles": profiles,
            "default_profile": default if default in profiles else next(iter(profiles)),
        }
    )


def _described(run: GraphRun, writer: BundleWriter, variants: NewVariants) -> Manifest:
    """Join the old manifest with the new variants, and with profiles that nothing has measured yet."""
    old = run.bundle.manifest
    files = {
        one.name: Variant(files=(writer.entry(one.path),), evidence={"labels": one.evidence})
        for one in variants.language
    }
    parts = {"language": _with_variants(language_of(run.bundle), files)} if files else {}
    for graph in variants.graphs:
        parts[graph.component] = _with_variants(old.components.graph(graph.component), {INT8: graph.variant})
    faster = {one.component: one.speed.faster for one in variants.graphs}
    names = [one.name for one in variants.language]
    counts = f"statistics from {len(run.collected)} samples, measured on {len(run.measured)} others"
    lines = calibration_provenance(counts, run.drawn, run.config.seed, variants)
    return old.model_copy(
        update={
            "components": old.components.model_copy(update=parts),
            "profiles": calibrated_profiles(old, names, faster, run.config.profile),
            "provenance": {**old.provenance, **lines},
        }
    )


def _gated(run: GraphRun, draft: Bundle, name: str, profile: Profile, new: Set[tuple[str, str]]) -> Profile | None:
    """Measure a profile that changed, or all if all are calibrated; None if it is ``int8`` and fails its gate."""
    old, config = run.bundle.manifest, run.config
    changed = profile != old.profiles.get(name) or any(
        (part, getattr(profile, part)) in new for part in (*GRAPHS, "language")
    )
    if config.profile not in (None, name) and not changed:
        return profile
    default = unit_profile_gate(name) if isinstance(run, UnitRun) else profile_gate(name)
    language, gate = draft.manifest.components.language, config.gate or default
    profile = profile.model_copy(update={"question_cache": None})
    ladder = rungs(profile, with_floats(old, profile, GRAPHS), language.variants if language else {})
    try:
        held = gated_profile(
            name,
            # Without INT8 it would not be the profile of that name.
            ladder if name != INT8 else [profile],
            gate,
            lambda tried: _chain_evidence(run, draft, name, tried),
            strict=config.strict,
            report=run.reports.line,
        )
        if not takes_question_cache(config, name, held):
            return held
        return _cache_search(run).cached(draft, name, held, gate)
    except AccuracyGateError:
        if name != INT8 or config.strict:
            raise
        run.reports.line(f"profile {INT8}: left out")
        return None


def _without_twins(run: GraphRun, profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """Leave out each new profile that fell back to what another one takes; ``int8`` is for other machines."""
    lasting = {*run.bundle.manifest.profiles, INT8}
    kept = {name: profile for name, profile in profiles.items() if name in lasting}
    for name, profile in profiles.items():
        twin = next((other for other, one in kept.items() if other != INT8 and _parts(one) == _parts(profile)), None)
        if twin is None or name in kept:
            kept[name] = profile
        else:
            run.reports.line(f"profile {name}: left out, for it would be {twin} under another name")
    return kept


def _parts(profile: Profile) -> list[str | None]:
    return [profile.variant(part) for part in PARTS]


def _without_idle(
    run: GraphRun, manifest: Manifest, profiles: Mapping[str, Profile], new: Set[tuple[str, str]]
) -> Manifest:
    """Leave out the new variants that no profile takes; their files go with them."""
    parts, provenance = {}, dict(manifest.provenance)
    for part in dict.fromkeys(part for part, _ in sorted(new)):
        component = manifest.components.get(part)
        assert component is not None
        taken = {profile.variant(part) for profile in profiles.values()}
        idle = [name for name in component.variants if (part, name) in new and name not in taken]
        for name in idle:
            run.reports.line(f"{part} {name}: left out, for no profile takes it")
            provenance.pop(f"{part} {name}", None)
        variants = {name: variant for name, variant in component.variants.items() if name not in idle}
        parts[part] = component.model_copy(update={"variants": variants})
    components = manifest.components.model_copy(update=parts)
    return manifest.model_copy(update={"components": components, "provenance": provenance})


def _cache_search(run: GraphRun) -> CacheSearch:
    return CacheSearch(
        run.collected[:SEARCHED],
        run.searched.probabilities,
        run.measured,
        run.truth,
        run.config.labels,
        run.threads,
        run.reports,
    )


def _chain_evidence(run: GraphRun, draft: Bundle, name: str, profile: Profile) -> dict[str, float]:
    """Compare the whole chain of a profile with full precision on the measured samples."""
    if isinstance(run, UnitRun):
        return run.chain_evidence(with_profile(draft, name, profile), name)
    chain = chain_probabilities(
        with_profile(draft, name, profile),
        name,
        run.measured,
        run.config.labels,
        threads=run.threads,
        described=run.described,
        progress=run.reports.of(f"profile {name}"),
    )
    return run.truth.evidence(chain.probabilities, chain.descriptions)


def _with_variants(component: Any, new: Mapping[str, Variant]) -> Any:
    return component.model_copy(update={"variants": {**component.variants, **new}})


def link_file(source: Path, target: Path) -> None:
    """Link an unchanged file, where the disk can, or copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
