"""Second stage of a calibration: GGUF types with importance statistics, and the searched mixture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.language.mixed_types import BASE, require_reachable
from emo_edge.calibration.language.variants import LanguageSearch, LanguageVariant, calibrated_type, mixed_variant
from emo_edge.calibration.workflow.config import language_of
from emo_edge.calibration.workflow.prepare import CalibrationRun
from emo_edge.export.bundles.size_estimate import export_bytes
from emo_edge.export.gguf.file_types import FILE_TYPES
from emo_edge.export.gguf.trials import LanguageTrials, unrounded_gguf
from emo_edge.export.gguf.writer import lossless_type
from emo_edge.utils.files import require_disk_space


def language_variants(run: CalibrationRun, writer: BundleWriter) -> list[LanguageVariant]:
    """Write and measure every requested GGUF type, and the mixture."""
    types, target = run.config.types or (), run.config.target
    if not types and target is None:
        return []
    search = _search(run, writer, types)
    variants = []
    for name in types:
        needs_statistics = name not in FILE_TYPES
        variants.append(calibrated_type(search, name, writer.path, needs_statistics=needs_statistics))
        _report(run, variants[-1])
    if target is not None:
        folder = run.work / "search"
        folder.mkdir(exist_ok=True)
        variants.append(mixed_variant(search, target, writer.path, folder, run.reports.of("search types")))
        _report(run, variants[-1])
    return variants


def _search(run: CalibrationRun, writer: BundleWriter, types: Sequence[str]) -> LanguageSearch:
    """Write the unrounded file and join it with the samples; raise before anything slow if the target is too small."""
    source, config, target = _unrounded(run, writer, types), run.source.model.config.language, run.config.target
    measured, searched = (
        LanguageTrials(source, config, reference, run.answered, run.threads)
        for reference in (run.reference, run.searched)
    )
    if target is not None:
        require_reachable(source, target)
        require_disk_space(run.work, source.stat().st_size)
    return LanguageSearch(searched, measured, run.searched.probabilities, run.importance, run.truth)


def _unrounded(run: CalibrationRun, writer: BundleWriter, types: Sequence[str]) -> Path:
    """Return the bundle's own unrounded variant, or write one that is gone when the bundle is finished."""
    bundle, checkpoint, config = run.source.bundle, run.source.checkpoint, run.source.model.config
    file_type = lossless_type(checkpoint)
    own = language_of(bundle).variants.get(file_type)
    mixture = [BASE] if run.config.target is not None else []
    written = export_bytes(config, {}, [*types, *mixture], file_type)
    require_disk_space(writer.partial, written - (sum(file.size for file in own.files) if own else 0))
    return bundle.files(own)[0] if own else unrounded_gguf(checkpoint, config.language, writer.partial)


def _report(run: CalibrationRun, variant: LanguageVariant) -> None:
    evidence = variant.evidence
    run.reports.line(
        f"language {variant.name}: {variant.path.stat().st_size / 1e6:.1f} MB, label agreement "
        f"{evidence['label_agreement']:.4f}, mean KL {evidence['kl_mean']:.2e}, {variant.origin}"
    )
