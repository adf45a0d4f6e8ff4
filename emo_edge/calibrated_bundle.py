"""Bundle, checkpoint and samples in; the same bundle with calibrated language variants out.

The command line's own layer: the one place that joins export (what PyTorch says) with calibration (what is made of it).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emo_edge import __version__
from emo_edge.bundle import Bundle, BundleWriter, sha256_of
from emo_edge.calibration.calibrated_language import (
    UNWEIGHTED,
    LanguageVariant,
    Truth,
    calibrated_type,
    mixed_variant,
)
from emo_edge.calibration.drawn_samples import FEWEST, DrawnSamples, draw_samples
from emo_edge.calibration.gated_profile import gated_profile
from emo_edge.calibration.gates import GATES, Gate
from emo_edge.calibration.importance import ImportanceCollector, collected_in_parts
from emo_edge.calibration.label_evidence import label_evidence
from emo_edge.calibration.mixed_types import BASE
from emo_edge.errors import InputError
from emo_edge.export.answered_prompts import answered_prompts
from emo_edge.export.bundle_export import PROFILE_OF
from emo_edge.export.chain_probabilities import chain_probabilities
from emo_edge.export.checkpoint import weight_files
from emo_edge.export.config import EmoLlamaConfig
from emo_edge.export.file_types import FILE_TYPES, available_file_types
from emo_edge.export.gguf_file import lossless_type
from emo_edge.export.language_trials import LanguageTrials, unrounded_gguf
from emo_edge.export.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference import Reference, reference_on
from emo_edge.export.reports import QUIET, Reports
from emo_edge.export.room import export_bytes, require_room
from emo_edge.faces import open_detector
from emo_edge.imatrix import Imatrix, write_imatrix
from emo_edge.manifest import LanguageComponent, Manifest, Profile, Variant
from emo_edge.samples import Sample
from emo_edge.user_cache import cache_directory

PART = 16
"""Samples whose prompts are read at once; a stopped run goes on after the last whole part."""
ANSWERED = 64
"""Samples whose answers are scored token by token."""
OTHERS_GATE = "small"
"""Whose gate a profile has that no gate is named after."""


@dataclass(frozen=True)
class CalibrationPlan:
    """What to make, and on what."""

    collect: int = 128
    """Samples for statistics and for the search of a mixture."""
    measure: int = 500
    """Other samples, on which everything is measured."""
    seed: int = 0
    labels: str = "rafdb7"
    types: tuple[str, ...] = ()
    """GGUF types; none means the bundle's own quantized ones."""
    target_size: int | None = None
    """Bytes of a searched mixture; None searches none."""
    gate: Gate | None = None
    """For every profile; None gives each its own."""
    strict: bool = False


def calibrate(
    bundle: Path,
    checkpoint: Path,
    listed: Callable[[], Sequence[Sample]],
    plan: CalibrationPlan,
    *,
    keep_imatrix: Path | None = None,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Replace a bundle by one whose language variants were made with its own prompts' statistics.

    Args:
        bundle: the directory; it stays as it is until the new one is complete.
        checkpoint: what it was exported from.
        listed: gives the pictures to draw samples from; asked for when everything else is known to be possible.
        plan: what to make.
        keep_imatrix: where to write the statistics, too.
        threads: of the engines that are measured.
        reports: told of every step.

    Raises InputError for too few usable samples or a checkpoint of another bundle; AccuracyGateError, leaving the old
    bundle, if a profile misses its gate and nothing larger holds it, or at the first miss if ``plan.strict``.
    """
    old = Bundle.open(bundle)
    language = _language_of(old, checkpoint)
    plan = _checked(plan, EmoLlamaConfig.from_pretrained(checkpoint), language)
    if keep_imatrix and (keep_imatrix.exists() or not keep_imatrix.parent.is_dir()):
        raise InputError(f"--keep-imatrix {keep_imatrix}: already there, or its folder is not; give another name")
    detector = open_detector(old.manifest.detector)
    drawn = draw_samples(listed(), plan.collect + plan.measure, plan.seed, detector, reports.of("draw samples"))
    for reason in drawn.skipped:
        reports.line(f"skipped {reason}")
    if len(drawn.samples) < plan.collect + FEWEST:
        raise InputError(
            f"{len(drawn.samples)} usable samples: --collect {plan.collect} leaves fewer than {FEWEST} to measure on"
        )
    run = _Calibration(old, language, checkpoint, drawn, plan, threads, reports)
    with BundleWriter(bundle, overwrite=True) as writer:
        made = run.variants(writer)
        if keep_imatrix:
            shutil.copyfile(run.importance, keep_imatrix)
        manifest = run.manifest(writer, made)
        found = writer.finish(manifest)
    shutil.rmtree(run.work, ignore_errors=True)
    return found


class _Calibration:
    """One calibration under way."""

    def __init__(
        self,
        old: Bundle,
        language: LanguageComponent,
        checkpoint: Path,
        drawn: DrawnSamples,
        plan: CalibrationPlan,
        threads: int | None,
        reports: Reports,
    ) -> None:
        self.old, self.language, self.drawn, self.plan = old, language, drawn, plan
        self.checkpoint, self.threads, self.reports = checkpoint, threads, reports
        self.model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, stream=True)
        self.config = self.model.config
        self.labels = self.config.label_sets[plan.labels]
        weights = [sha256_of(path) for path in weight_files(checkpoint)]
        whole = json.dumps([__version__, weights, drawn.digest, plan.collect, plan.labels])
        self.work = cache_directory() / "calibration" / hashlib.sha256(whole.encode()).hexdigest()[:16]
        self.work.mkdir(parents=True, exist_ok=True)
        self.collected, self.measured = drawn.split(plan.collect)
        labels = self._true_labels(self.measured)
        self.importance = self._importance()
        self.reference = self._reference(self.measured, "reference")
        self.truth = Truth(self.reference.probabilities, labels)

    def variants(self, writer: BundleWriter) -> list[LanguageVariant]:
        """Make and measure every type that was asked for, and the mixture."""
        source, made = self._unrounded(writer), []
        answered = answered_prompts(self.model, self.measured[:ANSWERED], self.labels)
        trials = LanguageTrials(source, self.config.language, self.reference, answered, self.threads)
        for name in self.plan.types:
            variant = calibrated_type(
                trials,
                name,
                self.importance,
                self.truth,
                writer.path,
                needs_statistics=name not in FILE_TYPES,
            )
            made.append(variant)
            self._tell(variant)
        if self.plan.target_size:
            folder = self.work / "search"
            folder.mkdir(exist_ok=True)
            reference = self._reference(self.collected, "reference of the search")
            variant = mixed_variant(
                LanguageTrials(source, self.config.language, reference, answered, self.threads),
                trials,
                self.importance,
                reference.probabilities,
                self.truth,
                self.plan.target_size,
                writer.path,
                folder,
                self.reports.of("search types"),
            )
            made.append(variant)
            self._tell(variant)
        return made

    def manifest(self, writer: BundleWriter, made: Sequence[LanguageVariant]) -> Manifest:
        """Describe the new bundle: old files, new variants, and every profile measured and inside its gate."""
        taken = {one.name: Variant(files=(writer.entry(one.path),), evidence={"labels": one.evidence}) for one in made}
        variants = {**self.language.variants, **taken}
        profiles = dict(self.old.manifest.profiles)
        # An export lists its smallest graphs last: what a quantized language model goes with.
        smallest = list(profiles.values())[-1]
        for one in made:
            name = PROFILE_OF.get(one.name, one.name)
            if not any(profile.language == one.name for profile in profiles.values()):
                profiles[name] = profiles.get(name, smallest).model_copy(update={"language": one.name})
        components = self.old.manifest.components
        described = self.old.manifest.model_copy(
            update={
                "components": components.model_copy(
                    update={"language": self.language.model_copy(update={"variants": variants})}
                ),
                "profiles": profiles,
                "provenance": {**self.old.manifest.provenance, **self._provenance(made)},
            }
        )
        for file in described.files():
            if not (writer.partial / file.path).exists():
                _linked(self.old.directory / file.path, writer.path(file.path))
        draft = Bundle(writer.partial, Manifest.model_validate(described.model_dump()))
        inside = {name: self._inside_gate(draft, name, profile) for name, profile in profiles.items()}
        return Manifest.model_validate({**draft.manifest.model_dump(), "profiles": inside})

    def _inside_gate(self, draft: Bundle, name: str, profile: Profile) -> Profile:
        language = draft.manifest.components.language
        return gated_profile(
            name,
            profile,
            language.variants if language else {},
            self.plan.gate or GATES.get(name, GATES[OTHERS_GATE]),
            lambda tried: self._chain_evidence(draft, name, tried),
            strict=self.plan.strict,
            report=self.reports.line,
        )

    def _chain_evidence(self, draft: Bundle, name: str, profile: Profile) -> dict[str, float]:
        manifest = draft.manifest.model_copy(update={"profiles": {**draft.manifest.profiles, name: profile}})
        run = chain_probabilities(
            Bundle(draft.directory, manifest),
            name,
            self.measured,
            self.plan.labels,
            threads=self.threads,
            progress=self.reports.of(f"profile {name}"),
        )
        return label_evidence(self.truth.probabilities, run.probabilities, self.truth.labels)

    def _importance(self) -> Path:
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

    def _reference(self, samples: Sequence[Sample], step: str) -> Reference:
        return reference_on(self.model, samples, self.labels, self.reports.of(step))

    def _unrounded(self, writer: BundleWriter) -> Path:
        """Take the bundle's own unrounded variant, or write one that is gone when the bundle is finished."""
        own = self.language.variants.get(lossless_type(self.checkpoint))
        source = lossless_type(self.checkpoint)
        types = [*self.plan.types, *([BASE] if self.plan.target_size else [])]
        written = export_bytes(self.config, {}, types, source)
        spared = sum(file.size for file in own.files) if own else 0
        require_room(writer.partial, written - spared)
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

    def _provenance(self, made: Sequence[LanguageVariant]) -> dict[str, str]:
        counts = f"statistics from {len(self.collected)} samples, measured on {len(self.measured)} others"
        return {
            "calibration": f"{counts}, seed {self.plan.seed}, sha256 {self.drawn.digest}, emo-edge {__version__}",
            **{f"language {one.name}": one.made for one in made},
        }

    def _tell(self, variant: LanguageVariant) -> None:
        found = variant.evidence
        self.reports.line(
            f"language {variant.name}: {variant.path.stat().st_size / 1e6:.1f} MB, label agreement "
            f"{found['label_agreement']:.4f}, mean KL {found['kl_mean']:.2e}, {variant.made}"
        )


def _language_of(bundle: Bundle, checkpoint: Path) -> LanguageComponent:
    """Return the language component; the bundle must have been exported from this checkpoint."""
    language = bundle.manifest.components.language
    if language is None:
        raise InputError(f"{bundle.directory}: a face network alone; there is no language model to calibrate")
    known = bundle.manifest.provenance.get("checkpoint_sha256", "")
    found = ", ".join(sha256_of(path) for path in weight_files(checkpoint))
    if known != found:
        raise InputError(
            f"{bundle.directory} was not exported from {checkpoint}: its weights are others; name that one"
        )
    return language


def _checked(plan: CalibrationPlan, config: EmoLlamaConfig, language: LanguageComponent) -> CalibrationPlan:
    """Fill in the types; raise InputError for what this model has not."""
    known = available_file_types(config.language, importance=True)
    own = tuple(name for name in language.variants if name in known and name not in UNWEIGHTED)
    wanted = plan.types or own
    unknown = [name for name in wanted if name not in known]
    if unknown or not (wanted or plan.target_size):
        raise InputError(f"--types {', '.join(unknown) or 'names none'}: choose from {', '.join(known)}")
    if plan.labels not in config.label_sets:
        raise InputError(f"--labels {plan.labels}: choose from {', '.join(config.label_sets)}")
    return replace(plan, types=wanted)


def _linked(source: Path, target: Path) -> None:
    """Take over an unchanged file without copying it, where the disk can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
