"""``emo-edge inspect`` prints the contents of a bundle, ``emo-edge verify`` checks its files."""

from __future__ import annotations

import math
from pathlib import Path

import click

from emo_edge.bundle.checks.engine_files import check_engine_files
from emo_edge.bundle.manifest import (
    MANIFEST_NAME,
    PARTS,
    REFERENCE_KEY,
    AffectiveTask,
    Manifest,
    Profile,
    Variant,
)
from emo_edge.bundle.reader import Bundle, read_manifest
from emo_edge.bundle.sections import ActionUnits, LiveLabels
from emo_edge.cli.completion import complete_bundle
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.inference.action_units import unit_name
from emo_edge.inference.tasks.asked import task_answers
from emo_edge.metrics.unit_agreement import AU_AGREEMENT, UNIT_EVIDENCE
from emo_edge.rendering.bundle_notes import LOST
from emo_edge.rendering.evidence_table import evidence_table

FRAMES = {"image": "a picture", "clip": "a clip", "onset-apex-offset": "onset, apex and offset"}
"""Of a task."""
PICTURES = {"one": "one picture in a prompt, so no clips", "several": "several pictures in a prompt"}


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest itself.")
def inspect(bundle: Path, as_json: bool) -> None:
    """Print the contents of BUNDLE and its measured accuracy.

    Reads the manifest alone; verify reads every file.
    """
    manifest = read_manifest(bundle_directory(bundle))
    echo(manifest.model_dump_json(indent=2) if as_json else described(manifest))


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
def verify(bundle: Path) -> None:
    """Check every file of BUNDLE against its manifest.

    Compares path, kind, size and sha256, and checks graphs and language models as they are checked before an engine
    loads them. Every file is read again, whatever was verified before.
    """
    bundle = bundle_directory(bundle)
    opened = Bundle.open(bundle, use_cache=False)
    check_engine_files(opened)
    files = opened.manifest.files()
    listed = {file.path for file in files} | {MANIFEST_NAME}
    present = sorted(
        path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file() or path.is_symlink()
    )
    for name in present:
        if name not in listed:
            echo(f"note: {name} is not part of the bundle; nothing opens it", err=True)
    echo(f"{bundle}: intact, {len(files)} files, {sum(file.size for file in files) / 1e6:.1f} MB")


def described(manifest: Manifest) -> str:
    """Write a manifest for people."""
    components = {part: manifest.components.get(part) for part in PARTS}
    lines = [
        f"{manifest.name}, bundle version {manifest.bundle_version}",
        "",
        f"{'component':<10} {'variant':<8} {'size':>9}  distance from the {_reference(manifest)}",
    ]
    for name, component in components.items():
        for variant_name, variant in component.variants.items() if component else ():
            size = sum(file.size for file in variant.files) / 1e6
            lines.append(f"{name:<10} {variant_name:<8} {size:>6.1f} MB  {_distance(variant)}")
    au = "" if manifest.components.au is None else f"{'au':<8} "
    lines += ["", f"{'profile':<10} {'vision':<8} {'face':<8} {au}{'language':<9} whole chain"]
    for name, profile in manifest.profiles.items():
        mark = " (default)" if name == manifest.default_profile else ""
        own = f"{profile.au or '-':<8} " if au else ""
        row = f"{name:<10} {profile.vision or '-':<8} {profile.face or '-':<8} {own}{profile.language or '-':<9} "
        measured = f"is the {_only_graph(manifest)} graph alone"
        if manifest.label_sets:
            measured = _labels(profile.evidence)
        elif AU_AGREEMENT in profile.evidence:
            measured = f"agreement on action units {profile.evidence[AU_AGREEMENT]:.4f}"
        lines.append(row + measured + _cached(profile) + mark)
    lines += [*evidence_table(manifest), *_scoring(manifest)]
    lines += ["", f"{_prompt(manifest)}; detector {manifest.detector}{_lost(manifest.detector)}"]
    lines += [*_budget(manifest), *_units(manifest.action_units), *_live(manifest.live)]
    lines += [f"value {one.name}: {one.low:g} to {one.high:g}" for one in manifest.face_labels.values]
    lines += [f"label set {name}: {', '.join(labels)}" for name, labels in manifest.label_sets.items()]
    lines += [f"task {name}: {_task(task)}" for name, task in (manifest.tasks or {}).items()]
    lines += ["", *(f"{name}: {value}" for name, value in manifest.provenance.items())]
    return "\n".join(lines)


def _only_graph(manifest: Manifest) -> str:
    """Name the graphs of a bundle without a language model."""
    return " and ".join(manifest.components.graphs())


def _units(units: ActionUnits | None) -> list[str]:
    """Name the action units, with the probability from which each counts as active."""
    if units is None:
        return []
    pairs = zip(units.units, units.thresholds, strict=True)
    listed = ", ".join(f"{unit_name(unit)} from {threshold:g}" for unit, threshold in pairs)
    return [f"action units by {units.network}: {listed}"]


def _live(live: LiveLabels | None) -> list[str]:
    """Describe the settings of live labels."""
    if live is None:
        return []
    filtered = live.smoothing
    smoothed = f"{filtered.method.replace('_', ' ')}, tau {filtered.tau_s:g} s" if filtered else "not smoothed"
    unchanged = f"; a face that changes by less than {live.unchanged:g} is not read again" if live.unchanged else ""
    return [f"live labels: {smoothed}{unchanged}"]


def _task(task: AffectiveTask) -> str:
    """Describe a task: whether it is answered, how, from which frames, and how well on held-out samples."""
    figures = [
        f"{kind} {', '.join(f'{name} {value:g}' for name, value in values.items())}"
        for kind, values in task.evidence.items()
    ]
    way = f", judgement by {task.judgement_by}" if task.judgement_by else ""
    answered = f"{', '.join(task_answers(task))} about {FRAMES[task.frames]}{way}"
    return "; ".join([f"{task.status}, {'not answered' if task.status == 'untrained' else answered}", *figures])


def _cached(profile: Profile) -> str:
    cache, evidence = profile.question_cache, profile.evidence
    if cache is None:
        return ""
    without = f", mean KL {evidence['uncached_kl_mean']:.1e} without" if "uncached_kl_mean" in evidence else ""
    return f"; question cached but for {cache.head} + {cache.tail} positions{without}"


def _lost(detector: str) -> str:
    return f", which {LOST[detector]}" if detector in LOST else ""


def _scoring(manifest: Manifest) -> list[str]:
    """Describe a fitted scoring, where there is one."""
    fitted = [(name, one.evidence) for name, one in manifest.profiles.items() if "nll_after" in one.evidence]
    scoring, corrected = manifest.scoring, "on" if manifest.scoring.prior_correction else "off"
    return [
        f"scoring fitted on {evidence['fit_samples']:.0f} samples with {name}: temperature {scoring.temperature:g}, "
        f"prior correction {corrected}; held out: log loss {evidence['nll_before']:.3f} to "
        f"{evidence['nll_after']:.3f}, calibration error {evidence['ece_before']:.3f} to {evidence['ece_after']:.3f}"
        for name, evidence in fitted
    ]


def _reference(manifest: Manifest) -> str:
    if manifest.components.mmproj:
        return "unquantized language model"
    return manifest.provenance.get(REFERENCE_KEY, "PyTorch reference")


def _prompt(manifest: Manifest) -> str:
    language = manifest.components.language
    if manifest.face_labels.expression:
        return "a network of labels: probabilities, no language model"
    if language is None:
        return f"{manifest.network_alone}: {manifest.network_tells}, no labels"
    groups = ", ".join(f"{group.count} {group.name}" for group in manifest.frames_segment.groups)
    mmproj = manifest.components.mmproj
    pictures = f"; {PICTURES[mmproj.pictures]}" if mmproj else ""
    sentence = "; age, gender and race in the prompt" if manifest.prompt.use_demographics else ""
    return f"tokens a frame: {groups}; context {language.context_size}{pictures}{sentence}"


def _budget(manifest: Manifest) -> list[str]:
    """Describe a budget of visual tokens, and what it costs."""
    budget = manifest.visual_tokens
    if budget is None:
        return []
    measured = _labels(budget.evidence) if budget.evidence else "as the checkpoint was trained"
    return [f"visual tokens {budget.kept} instead of {budget.patches} a frame: {measured}"]


def _distance(variant: Variant) -> str:
    rows = [row for row in variant.evidence.values() if "cosine" in row]
    texts = []
    if rows:
        error = max(row.get("relative_error", math.nan) for row in rows)
        cosine = min(row.get("cosine", math.nan) for row in rows)
        texts.append(f"relative error {error:.1e}, cosine {cosine:.7f}")
    if AU_AGREEMENT in (units := variant.evidence.get(UNIT_EVIDENCE, {})):
        texts.append(f"agreement on action units {units[AU_AGREEMENT]:.4f}")
    if "labels" in variant.evidence or not rows:
        texts.append(_labels(variant.evidence.get("labels", {})))
    return "; ".join(texts)


def _labels(evidence: dict[str, float]) -> str:
    if "label_agreement" not in evidence:
        return "not measured"
    agreement, divergence, samples = (
        evidence.get(name, math.nan) for name in ("label_agreement", "kl_mean", "samples")
    )
    return f"label agreement {agreement:.4f}, mean KL {divergence:.1e} on {samples:.0f} pictures"
