"""First stage of a calibration: samples drawn, full precision run on them, and a place for partial results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.bundle.imatrix_file import Imatrix, write_imatrix
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import classify_question
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.component import AT_ONCE
from emo_edge.calibration.language.imatrix import ImportanceCollector, collected_in_parts
from emo_edge.calibration.language.variants import GroundTruth
from emo_edge.calibration.samples.draw import FEWEST, DrawnSamples, draw_samples
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.calibration.workflow.runs import SplitSamples
from emo_edge.console.progress import Reports
from emo_edge.errors import InputError
from emo_edge.export.bundles.origin import weight_sources
from emo_edge.export.reference.answers import AnsweredPrompts, answered_prompts
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.export.reference.outputs import Reference, probabilities_with, reference_on
from emo_edge.inference.detectors import bundle_detector
from emo_edge.machine.versions import tool_versions
from emo_edge.metrics.gates import CENTRED
from emo_edge.metrics.unit_agreement import AU_AGREEMENT
from emo_edge.tensors import Tensor
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import sha256_of

PART = 16
"""Samples whose prompts are read at once; a stopped run goes on after the last whole part."""
ANSWERED = 64
"""Samples whose answers are scored token by token, and that are described."""
SEARCHED = 128
"""Collected samples that types and plans are chosen on; ranges and statistics use all."""


@dataclass(frozen=True)
class CalibrationSource:
    """The bundle that is calibrated, and the checkpoint that it was exported from."""

    bundle: Bundle
    checkpoint: Path
    model: EmoLlamaForConditionalGeneration


@dataclass(frozen=True)
class CalibrationRun(SplitSamples):
    """Everything that the stages of one calibration read."""

    source: CalibrationSource
    config: CalibrationConfig
    drawn: DrawnSamples
    reference: Reference
    """Full precision on the measured samples."""
    answered: AnsweredPrompts
    """Of the first measured samples."""
    truth: GroundTruth
    """Of the measured samples."""
    work: Path
    """Folder of partial results, for a run that goes on after a stop."""
    threads: int | None
    reports: Reports

    @property
    def bundle(self) -> Bundle:
        """Bundle that is calibrated."""
        return self.source.bundle

    @property
    def described(self) -> int:
        """Number of measured samples that are described, too."""
        return len(self.answered.descriptions)

    def probabilities_with(
        self, reference: Reference, component: str, outputs: Mapping[str, Tensor]
    ) -> NDArray[np.float64] | None:
        """Label distributions of a reference with one graph's outputs in place of its own."""
        return probabilities_with(self.source.model, reference, component, outputs)

    def images(self, component: str) -> Iterator[Tensor]:
        """Yield the collected samples' crops for the vision or the face network, uint8 [n, H, W, 3]."""
        samples, model = self.collected, self.source.model
        for start in range(0, len(samples), AT_ONCE):
            pairs = [model.crops(sample.image, sample.box) for sample in samples[start : start + AT_ONCE]]
            crops = [face if component == "face" else vision for vision, face in pairs]
            yield np.stack([crop.pixels for crop in crops if crop])

    def question(self, count: int) -> dict[str, Tensor]:
        """Return what the connector reads besides the features."""
        asked = classify_question(self.source.model.config.prompt, self.searched.labels)
        return {name: ids.cpu().numpy() for name, ids in self.source.model.question_inputs([asked] * count).items()}

    @cached_property
    def searched(self) -> Reference:
        """Full precision on the samples that types and plans are chosen on."""
        progress = self.reports.of("reference of the search")
        return reference_on(self.source.model, self.collected[:SEARCHED], self.reference.labels, progress)

    @cached_property
    def importance(self) -> Path:
        """File of the importance statistics, collected part by part."""
        starts = {f"part-{start:06d}": start for start in range(0, len(self.collected), PART)}
        progress = self.reports.of("collect statistics")

        def collect(part: str) -> Imatrix:
            collector = ImportanceCollector(self.source.model.language)
            samples = self.collected[starts[part] : starts[part] + PART]
            answered = answered_prompts(self.source.model, samples, self.reference.labels)
            collector.add(answered.prompts, answered.answers)
            progress(starts[part] + PART, len(self.collected))
            return collector.imatrix(f"{len(self.collected)} samples, sha256 {self.drawn.digest[:16]}")

        path = self.work / "imatrix.gguf"
        write_imatrix(collected_in_parts(list(starts), self.work / "parts", collect), path)
        return path


def usable_samples(
    bundle: Bundle, listed: Callable[[], Sequence[Sample]], config: CalibrationConfig, reports: Reports
) -> DrawnSamples:
    """Draw as `drawn_samples` does; raise InputError if too few are left to measure on."""
    drawn = drawn_samples(bundle, listed, config, reports)
    if len(drawn.samples) < config.collect + FEWEST:
        raise InputError(
            f"{len(drawn.samples)} usable samples: `collect` {config.collect} leaves fewer than {FEWEST} to measure on"
        )
    return drawn


def drawn_samples(
    bundle: Bundle, listed: Callable[[], Sequence[Sample]], config: CalibrationConfig, reports: Reports
) -> DrawnSamples:
    """Draw the samples, ``collect`` and ``measure`` together, and report what was skipped."""
    chosen, limits = config.detector, config.limits
    detector = chosen.open(limits) if chosen else bundle_detector(bundle, limits)
    drawn = draw_samples(listed(), config.collect + config.measure, config.seed, detector, reports.of("draw samples"))
    for reason in drawn.skipped:
        reports.line(f"skipped {reason}")
    if drawn.skipped:
        reports.line(f"{len(drawn.skipped)} pictures skipped, {len(drawn.samples)} used")
    return drawn


def prepared_run(
    bundle: Bundle,
    checkpoint: Path,
    drawn: DrawnSamples,
    config: CalibrationConfig,
    threads: int | None,
    reports: Reports,
) -> CalibrationRun:
    """Run full precision on the measured samples.

    Raises InputError for labels of another set, and for a gate on a figure that these samples cannot give.
    """
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, stream=True)
    if bundle.manifest.visual_tokens:
        model.keep_tokens(bundle.manifest.visual_tokens.kept)
    labels, measured = model.config.label_sets[config.labels], drawn.split(config.collect)[1]
    work = work_folder(checkpoint, drawn, config, threads, model.config.connector.kept_tokens)
    known_labels = true_labels(measured, config.labels, labels)
    reference = reference_on(model, measured, labels, reports.of("reference"))
    answered = answered_prompts(model, measured[:ANSWERED], labels)
    cues = [sample.cues for sample in measured[:ANSWERED] if sample.cues is not None]
    known = cues if len(cues) == len(answered.descriptions) else None
    truth = GroundTruth(reference.probabilities, known_labels, answered.descriptions, known)
    require_known_figures(config, truth, bundle.manifest)
    source = CalibrationSource(bundle, checkpoint, model)
    return CalibrationRun(source, config, drawn, reference, answered, truth, work, threads, reports)


def work_folder(
    checkpoint: Path,
    drawn: DrawnSamples,
    config: CalibrationConfig,
    threads: int | None,
    kept_tokens: int | None = None,
) -> Path:
    """Create the folder that a run of the same inputs goes on from."""
    weights = [sha256_of(path) for path in weight_sources(checkpoint)]
    # An engine's outputs differ in their last bits by threads and version.
    inputs = [__version__, tool_versions(), threads, weights, drawn.digest, config.collect, config.labels, kept_tokens]
    name = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    folder = cache_directory() / "calibration" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def true_labels(samples: Sequence[Sample], label_set: str, labels: Sequence[str]) -> list[int] | None:
    """Return the index of each sample's label; None where one has none. Raises InputError for a foreign label."""
    named = {sample.expression for sample in samples}
    if None in named:
        return None
    unknown = sorted(str(name) for name in named if name not in labels)
    if unknown:
        raise InputError(
            f"labels {', '.join(unknown)} are not in {label_set}: {', '.join(labels)}; say what each is with "
            f"`label_map` {quote(f'{unknown[0]}=LABEL')}, or leave its samples out with {quote(f'{unknown[0]}=')}"
        )
    return [labels.index(str(sample.expression)) for sample in samples]


def require_known_figures(config: CalibrationConfig, truth: GroundTruth, manifest: Manifest) -> None:
    """Raise InputError for a gate on a figure that samples or bundle cannot give: it would pass unmeasured."""
    units = {} if manifest.action_units is None else {AU_AGREEMENT: 1.0}
    known = {**truth.evidence(truth.probabilities, truth.descriptions), CENTRED: 1.0, **units}
    for field, gate in (("gate", config.gate), ("int8_gate", config.int8_gate)):
        if gate and (missing := gate.missing(known)):
            raise InputError(
                f"`{field}` {', '.join(missing)}: not known of these samples; label every one, or leave that out"
            )
