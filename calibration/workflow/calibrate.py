"""Bundle, checkpoint and samples in; the same bundle with calibrated variants and profiles out.

The command line's own layer: the one place that joins export (what PyTorch says) with calibration (what is made of it).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import Any

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.bundle.imatrix import Imatrix, write_imatrix
from emo_edge.bundle.manifest import GRAPHS, PARTS, Manifest, Profile, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.language.imatrix import ImportanceCollector, collected_in_parts
from emo_edge.calibration.language.mixed_types import BASE, require_reachable
from emo_edge.calibration.language.variants import GroundTruth, LanguageVariant, calibrated_type, mixed_variant
from emo_edge.calibration.samples.draw import FEWEST, DrawnSamples, draw_samples
from emo_edge.calibration.workflow.config import CalibrationConfig, language_of
from emo_edge.calibration.workflow.gated_profile import INT8, gated_profile, rungs
from emo_edge.calibration.workflow.graphs import GraphCalibration, GraphSamples, Int8Variant
from emo_edge.calibration.workflow.profiles import calibrated_profiles, with_floats
from emo_edge.calibration.workflow.report import calibration_provenance, calibration_report
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.export.bundles.origin import require_origin
from emo_edge.export.bundles.size_estimate import export_bytes
from emo_edge.export.gguf.file_types import FILE_TYPES
from emo_edge.export.gguf.trials import LanguageTrials, unrounded_gguf
from emo_edge.export.gguf.writer import lossless_type
from emo_edge.export.models.config import EmoLlamaConfig
from emo_edge.export.reference.answers import answered_prompts
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.outputs import Reference, reference_on
from emo_edge.export.reference.weights import weight_files
from emo_edge.faces.detectors import open_detector
from emo_edge.machine.versions import tool_versions
from emo_edge.metrics.gates import CENTRED, profile_gate
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import require_disk_space, sha256_of, write_json
from emo_edge.utils.progress import QUIET, Reports

PART = 16
"""Samples whose prompts are read at once; a stopped run goes on after the last whole part."""
ANSWERED = 64
"""Samples whose answers are scored token by token, and that are described."""
SEARCHED = 128
"""Collected samples that types and plans are chosen on; ranges and statistics use all."""


def calibrate(
    bundle: Path,
    checkpoint: Path,
    listed: Callable[[], Sequence[Sample]],
    plan: CalibrationConfig,
    *,
    keep_imatrix: Path | None = None,
    report: Path | None = None,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Replace a bundle by one with variants made with its own prompts' statistics and its own frames' ranges.

    Args:
        bundle: the directory; it stays as it is until the new one is complete.
        checkpoint: what it was exported from.
        listed: gives the pictures to draw samples from; asked for when everything else is known to be possible.
        plan: what to make.
        keep_imatrix: where to write the statistics, too.
        report: where to write everything measured, INT8 plans node by node among it, as JSON.
        threads: of the engines that are measured.
        reports: told of every step.

    Raises InputError for too few usable samples or a checkpoint of another bundle; AccuracyGateError, leaving the old
    bundle, if a profile misses its gate and nothing more precise holds it, or at the first miss if ``plan.strict``.
    """
    old = Bundle.open(bundle)
    language_of(old)
    require_origin(old, checkpoint)
    plan = plan.checked(old, EmoLlamaConfig.from_pretrained(checkpoint))
    for option, path in (("--keep-imatrix", keep_imatrix), ("--report", report)):
        if path and (path.exists() or not path.parent.is_dir()):
            raise InputError(f"{option} {path}: already there, or its folder is not; give another name")
    detector = open_detector(old.manifest.detector)
    drawn = draw_samples(listed(), plan.collect + plan.measure, plan.seed, detector, reports.of("draw samples"))
    for reason in drawn.skipped:
        reports.line(f"skipped {reason}")
    if drawn.skipped:
        reports.line(f"{len(drawn.skipped)} pictures skipped, {len(drawn.samples)} used")
    if len(drawn.samples) < plan.collect + FEWEST:
        raise InputError(
            f"{len(drawn.samples)} usable samples: --collect {plan.collect} leaves fewer than {FEWEST} to measure on"
        )
    run = _Calibration(old, checkpoint, drawn, plan, threads, reports)
    with BundleWriter(bundle, overwrite=True) as writer:
        language, graphs = run.variants(writer), run.graphs(writer)
        if keep_imatrix:
            shutil.copyfile(run.importance, keep_imatrix)
        manifest = run.manifest(writer, graphs, language)
        if report:
            write_json(report, calibration_report(manifest, drawn.skipped, graphs, language))
        found = writer.finish(manifest)
    shutil.rmtree(run.work, ignore_errors=True)
    return found


class _Calibration:
    """One calibration under way."""

    def __init__(
        self,
        old: Bundle,
        checkpoint: Path,
        drawn: DrawnSamples,
        plan: CalibrationConfig,
        threads: int | None,
        reports: Reports,
    ) -> None:
        self.old, self.language, self.drawn, self.plan = old, language_of(old), drawn, plan
        self.checkpoint, self.threads, self.reports = checkpoint, threads, reports
        self.model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, stream=True)
        self.config = self.model.config
        self.labels = self.config.label_sets[plan.labels]
        weights = [sha256_of(path) for path in weight_files(checkpoint)]
        # What an engine computes differs in its last bits by threads and version.
        whole = json.dumps([__version__, tool_versions(), threads, weights, drawn.digest, plan.collect, plan.labels])
        self.work = cache_directory() / "calibration" / hashlib.sha256(whole.encode()).hexdigest()[:16]
        self.work.mkdir(parents=True, exist_ok=True)
        self.collected, self.measured = drawn.split(plan.collect)
        labels = self._true_labels(self.measured)
        self.reference = self._reference(self.measured, "reference")
        self.answered = answered_prompts(self.model, self.measured[:ANSWERED], self.labels)
        cues = [sample.cues for sample in self.measured[:ANSWERED] if sample.cues is not None]
        known = cues if len(cues) == len(self.answered.descriptions) else None
        self.truth = GroundTruth(self.reference.probabilities, labels, self.answered.descriptions, known)
        # What a gate asks for and no sample can tell would pass unseen.
        told = {**self.truth.evidence(self.truth.probabilities, self.truth.descriptions), CENTRED: 1.0}
        for option, gate in (("--gate", plan.gate), ("--int8-gate", plan.int8_gate)):
            if gate and (untold := gate.missing(told)):
                raise InputError(
                    f"{option} {', '.join(untold)}: not known of these samples; label every one, or leave that out"
                )

    def graphs(self, writer: BundleWriter) -> list[Int8Variant]:
        """Make and measure the graphs in INT8 that were asked for and hold their gate."""
        if not self.plan.int8:
            return []
        samples = GraphSamples(self.collected, self.searched, self.reference, self.truth)
        calibration = GraphCalibration(self.old, self.model, samples, self.plan, self.work, self.threads, self.reports)
        require_disk_space(writer.partial, calibration.bytes_at_most())
        made = [calibration.variant(component, writer) for component in self.plan.int8]
        return [variant for variant in made if variant is not None]

    def variants(self, writer: BundleWriter) -> list[LanguageVariant]:
        """Make and measure every GGUF type that was asked for, and the mixture."""
        types = self.plan.types or ()
        if not types and self.plan.target is None:
            return []
        source, made = self._unrounded(writer, types), []
        trials, search = (
            LanguageTrials(source, self.config.language, reference, self.answered, self.threads)
            for reference in (self.reference, self.searched)
        )
        if self.plan.target is not None:
            require_reachable(source, self.plan.target)
            require_disk_space(self.work, source.stat().st_size)
        for name in types:
            needed = name not in FILE_TYPES
            made.append(
                calibrated_type(
                    search,
                    trials,
                    name,
                    self.importance,
                    self.searched.probabilities,
                    self.truth,
                    writer.path,
                    needs_statistics=needed,
                )
            )
            self._tell(made[-1])
        if self.plan.target is not None:
            folder = self.work / "search"
            folder.mkdir(exist_ok=True)
            made.append(
                mixed_variant(
                    search,
                    trials,
                    self.importance,
                    self.searched.probabilities,
                    self.truth,
                    self.plan.target,
                    writer.path,
                    folder,
                    self.reports.of("search types"),
                )
            )
            self._tell(made[-1])
        return made

    def manifest(
        self, writer: BundleWriter, graphs: Sequence[Int8Variant], language: Sequence[LanguageVariant]
    ) -> Manifest:
        """Describe the new bundle: old files, new variants, and every profile measured and inside its gate."""
        made = {
            one.name: Variant(files=(writer.entry(one.path),), evidence={"labels": one.evidence}) for one in language
        }
        parts: dict[str, Any] = {"language": _with_variants(self.language, made)}
        for one in graphs:
            parts[one.component] = _with_variants(
                self.old.manifest.components.graph(one.component), {INT8: one.variant}
            )
        faster = {one.component: one.speed.faster for one in graphs}
        counts = f"statistics from {len(self.collected)} samples, measured on {len(self.measured)} others"
        said = calibration_provenance(counts, self.drawn, self.plan.seed, graphs, language)
        wanted = calibrated_profiles(self.old.manifest, [one.name for one in language], faster, self.plan.profile)
        described = self.old.manifest.model_copy(
            update={
                "components": self.old.manifest.components.model_copy(update=parts),
                "profiles": wanted,
                "provenance": {**self.old.manifest.provenance, **said},
            }
        )
        for file in described.files():
            if not (writer.partial / file.path).exists():
                _linked(self.old.directory / file.path, writer.path(file.path))
        draft = Bundle(writer.partial, Manifest.model_validate(described.model_dump()))
        remade = {("language", one.name) for one in language} | {(one.component, INT8) for one in graphs}
        inside = {}
        for name, profile in wanted.items():
            found = self._inside_gate(draft, name, profile, remade)
            if found is not None:
                inside[name] = found
        default = draft.manifest.default_profile
        return Manifest.model_validate(
            {
                **draft.manifest.model_dump(),
                "profiles": inside,
                "default_profile": default if default in inside else next(iter(inside)),
            }
        )

    def _inside_gate(self, draft: Bundle, name: str, profile: Profile, remade: Set[tuple[str, str]]) -> Profile | None:
        """Measure a profile that changed, or all if all were asked for; None if it is ``int8`` and misses its gate."""
        changed = profile != self.old.manifest.profiles.get(name) or any(
            (part, profile.variant(part)) in remade for part in PARTS
        )
        if self.plan.profile not in (None, name) and not changed:
            return profile
        language = draft.manifest.components.language
        floats = with_floats(self.old.manifest, profile, GRAPHS)
        ladder = rungs(profile, floats, language.variants if language else {})
        try:
            return gated_profile(
                name,
                # Without INT8 it would not be the profile of that name.
                ladder if name != INT8 else [profile],
                self.plan.gate or profile_gate(name),
                lambda tried: self._chain_evidence(draft, name, tried),
                strict=self.plan.strict,
                report=self.reports.line,
            )
        except AccuracyGateError:
            if name != INT8 or self.plan.strict:
                raise
            self.reports.line(f"profile {INT8}: left out")
            return None

    def _chain_evidence(self, draft: Bundle, name: str, profile: Profile) -> dict[str, float]:
        manifest = draft.manifest.model_copy(update={"profiles": {**draft.manifest.profiles, name: profile}})
        run = chain_probabilities(
            Bundle(draft.directory, manifest),
            name,
            self.measured,
            self.plan.labels,
            threads=self.threads,
            described=len(self.answered.descriptions),
            progress=self.reports.of(f"profile {name}"),
        )
        return self.truth.evidence(run.probabilities, run.descriptions)

    @cached_property
    def importance(self) -> Path:
        """Collect the statistics, part by part, and write them."""
        starts = {f"part-{start:06d}": start for start in range(0, len(self.collected), PART)}
        heard = self.reports.of("collect statistics")

        def collect(part: str) -> Imatrix:
            collector = ImportanceCollector(self.model.language)
            asked = answered_prompts(self.model, self.collected[starts[part] : starts[part] + PART], self.labels)
            collector.add(asked.prompts, asked.answers)
            heard(starts[part] + PART, len(self.collected))
            return collector.imatrix(f"{len(self.collected)} samples, sha256 {self.drawn.digest[:16]}")

        path = self.work / "imatrix.gguf"
        write_imatrix(collected_in_parts(list(starts), self.work / "parts", collect), path)
        return path

    @cached_property
    def searched(self) -> Reference:
        """Run the reference on what types and plans are chosen on."""
        return self._reference(self.collected[:SEARCHED], "reference of the search")

    def _reference(self, samples: Sequence[Sample], step: str) -> Reference:
        return reference_on(self.model, samples, self.labels, self.reports.of(step))

    def _unrounded(self, writer: BundleWriter, types: Sequence[str]) -> Path:
        """Take the bundle's own unrounded variant, or write one that is gone when the bundle is finished."""
        own = self.language.variants.get(lossless_type(self.checkpoint))
        source = lossless_type(self.checkpoint)
        written = export_bytes(self.config, {}, [*types, *([BASE] if self.plan.target is not None else [])], source)
        spared = sum(file.size for file in own.files) if own else 0
        require_disk_space(writer.partial, written - spared)
        if own:
            return self.old.files(own)[0]
        return unrounded_gguf(self.checkpoint, self.config.language, writer.partial)

    def _true_labels(self, samples: Sequence[Sample]) -> list[int] | None:
        named = {sample.expression for sample in samples}
        if None in named:
            return None
        strangers = sorted(str(name) for name in named if name not in self.labels)
        if strangers:
            raise InputError(f"labels {', '.join(strangers)} are not in {self.plan.labels}: {', '.join(self.labels)}")
        return [self.labels.index(str(sample.expression)) for sample in samples]

    def _tell(self, variant: LanguageVariant) -> None:
        found = variant.evidence
        self.reports.line(
            f"language {variant.name}: {variant.path.stat().st_size / 1e6:.1f} MB, label agreement "
            f"{found['label_agreement']:.4f}, mean KL {found['kl_mean']:.2e}, {variant.made}"
        )


def _with_variants(component: Any, made: Mapping[str, Variant]) -> Any:
    return component.model_copy(update={"variants": {**component.variants, **made}})


def _linked(source: Path, target: Path) -> None:
    """Take over an unchanged file without copying it, where the disk can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
