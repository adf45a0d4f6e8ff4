"""Bundle, checkpoint and samples in; the same bundle with calibrated variants and profiles out.

The one place that joins export (full precision) with calibration (the variants made of it), stage by stage.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.checks.language import language_header
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.workflow.assemble import calibrated_manifest
from emo_edge.calibration.workflow.config import CalibrationConfig, language_of
from emo_edge.calibration.workflow.graphs import graph_variants
from emo_edge.calibration.workflow.label_network import LabelRun, label_run
from emo_edge.calibration.workflow.language import language_variants
from emo_edge.calibration.workflow.prepare import CalibrationRun, prepared_run, usable_samples
from emo_edge.calibration.workflow.report import NewVariants, calibration_report
from emo_edge.calibration.workflow.unit_network import UnitRun, unit_run
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import InputError
from emo_edge.export.bundles.origin import require_origin
from emo_edge.export.configs.checkpoint import AuNetworkConfig, EmoLlamaConfig, LabelNetworkConfig
from emo_edge.storage.output_files import OutputFile, claimed_file
from emo_edge.storage.output_paths import require_cache
from emo_edge.utils.files import write_json


@dataclass(frozen=True)
class ExtraFiles:
    """Files to write besides the bundle."""

    keep_imatrix: Path | None = None
    """Importance statistics."""
    report: Path | None = None
    """Everything measured, INT8 plans node by node among it, as JSON."""

    def require_no_imatrix(self) -> None:
        """Raise InputError for statistics of a language model that the bundle does not have."""
        if self.keep_imatrix:
            raise InputError("`keep_imatrix` are statistics of a language model, and this bundle has none")


def calibrate(
    bundle: Path,
    checkpoint: Path,
    listed: Callable[[], Sequence[Sample]],
    config: CalibrationConfig,
    *,
    extra: ExtraFiles = ExtraFiles(),
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Replace a bundle by one with variants made with its own prompts' statistics and its own frames' ranges.

    Args:
        bundle: the directory; it stays as it is until the new one is complete.
        checkpoint: the one that it was exported from.
        listed: gives the pictures to draw samples from; called when everything else is known to be possible.
        config: the variants to make.
        extra: files to write, too.
        threads: of the engines that are measured.
        reports: gets every step.

    Raises InputError for too few usable samples or a checkpoint of another bundle; BundleError, before anything is
    computed, for a folder with other files than the bundle's; AccuracyGateError, leaving the old
    bundle, if a profile fails its gate and nothing more precise holds it, or at the first failure if
    ``config.strict``.
    """
    old = Bundle.open(bundle)
    labels_alone = bool(old.manifest.face_labels.expression)
    units_alone = old.manifest.components.au is not None and old.manifest.components.face is None
    if not (labels_alone or units_alone):
        for variant in language_of(old).variants:
            language_header(old, variant)
    require_origin(old, checkpoint)
    if labels_alone:
        config = config.checked_labels(old, LabelNetworkConfig.from_pretrained(checkpoint))
        extra.require_no_imatrix()
    elif units_alone:
        config = config.checked_units(old, AuNetworkConfig.from_pretrained(checkpoint))
        extra.require_no_imatrix()
    else:
        config = config.checked(old, EmoLlamaConfig.from_pretrained(checkpoint))
    require_cache("calibration")
    with (
        claimed_file(extra.keep_imatrix, "keep_imatrix") as imatrix,
        claimed_file(extra.report, "report") as report,
    ):
        return _calibrated(old, checkpoint, listed, config, imatrix, report, threads, reports)


def _calibrated(
    old: Bundle,
    checkpoint: Path,
    listed: Callable[[], Sequence[Sample]],
    config: CalibrationConfig,
    imatrix: OutputFile | None,
    report: OutputFile | None,
    threads: int | None,
    reports: Reports,
) -> Bundle:
    labels_alone = bool(old.manifest.face_labels.expression)
    units_alone = old.manifest.components.au is not None and old.manifest.components.face is None
    writer = BundleWriter(old.directory.resolve(), replaces=old)
    drawn = usable_samples(old, listed, config, reports)
    run: CalibrationRun | LabelRun | UnitRun
    if units_alone:
        run = unit_run(old, checkpoint, drawn, config, threads, reports)
    elif labels_alone:
        run = label_run(old, checkpoint, drawn, config, threads, reports)
    else:
        run = prepared_run(old, checkpoint, drawn, config, threads, reports)
    with writer:
        language = language_variants(run, writer) if isinstance(run, CalibrationRun) else []
        variants = NewVariants(graph_variants(run, writer), language)
        if imatrix and isinstance(run, CalibrationRun):
            shutil.copyfile(run.importance, imatrix.partial)
            imatrix.finish()
        manifest = calibrated_manifest(run, writer, variants)
        calibrated = writer.finish(manifest)
    shutil.rmtree(run.work, ignore_errors=True)
    if report:
        write_json(report.partial, calibration_report(manifest, drawn.skipped, variants))
        report.finish()
    return calibrated
