"""The sections of a report that are not measured, and its readable forms."""

from __future__ import annotations

from collections import Counter
from typing import Any

from emo_edge.benchmarks.workload.checkpoint import Checkpoint
from emo_edge.benchmarks.workload.config import BenchConfig
from emo_edge.benchmarks.workload.journal import HTML_NAME, MARKDOWN_NAME
from emo_edge.benchmarks.workload.samples import BenchSamples
from emo_edge.bundle.manifest import MANIFEST_NAME
from emo_edge.bundle.reader import Bundle
from emo_edge.utils.files import sha256_of

SCHEMA = 1
SKIPPED = 100
"""Samples that were left out which a report names; the file of boxes has all."""


def bundle_section(bundle: Bundle) -> dict[str, Any]:
    """Return ``bundle``."""
    return {
        "name": bundle.manifest.name,
        "manifest_sha256": sha256_of(bundle.directory / MANIFEST_NAME),
        "purpose": bundle.manifest.provenance.get("purpose", ""),
    }


def checkpoint_section(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return ``checkpoint``."""
    return {"name": checkpoint.directory.name, "weights_sha256": checkpoint.sha256}


def dataset_section(plan: BenchConfig, samples: BenchSamples) -> dict[str, Any]:
    """Return ``dataset``."""
    counts, dataset = Counter(sample.truth for sample in samples.samples), samples.dataset
    return {
        "spec": plan.dataset,
        "split": plan.split,
        "fold": plan.fold,
        "name": dataset.name,
        "source": dataset.source,
        "clips": dataset.clips,
        "labels": list(samples.labels),
        "samples": len(samples.samples),
        "per_label": {label: counts[index] for index, label in enumerate(samples.labels)},
        "skipped": [{"key": key, "reason": reason} for key, reason in samples.skipped[:SKIPPED]],
        "skipped_samples": len(samples.skipped),
        "notes": [*(str(problem) for problem in dataset.problems), *dataset.notes, *samples.notes],
    }


def report_notes(plan: BenchConfig, samples: BenchSamples, files: str, clip: str | None) -> list[str]:
    """Write the notes that figures need besides their names."""
    written = min(plan.written, len(samples.samples))
    labels = ", ".join(samples.labels)
    face = "a detector's face, the data set's box or the whole picture, the same for every row"
    return [
        f"every row read the same {len(samples.samples)} samples, asked for one of: {labels}; {face}",
        *([f"free-text answers of {written} samples, greedy, scored by the first label they name"] if written else []),
        "intervals are 95 %: Wilson for WAR and agreement, 1,000 resamples with seed 0 for all others",
        f"latency: {len(samples.samples[:8])} pictures in rotation ({files}), file to label; the detector runs "
        "and is timed, every row reads the same box; without detector: all stages but decode and detect",
        "reference: one packed pass reads the prompt and all labels (stage score): faster than writing a label",
        *(
            [f"cold start: {plan.cold} fresh processes, first label; files lie in the system's cache"]
            if plan.cold
            else []
        ),
        *([clip] if clip else []),
        *_left_out(plan),
    ]


def _left_out(plan: BenchConfig) -> list[str]:
    """Name the parts that the options left out."""
    parts: dict[str, object] = {
        "free-text answers": plan.written,
        "several faces at once": plan.batches,
        "prompts of several lengths": plan.sweep,
    }
    absent = [name for name, requested in parts.items() if not requested]
    return [f"left out by the options: {', '.join(absent)}"] if absent else []


def readable_forms(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Write the report as Markdown and as HTML: file name and text."""
    from emo_edge.benchmarks.report.html.page import html_from_report
    from emo_edge.benchmarks.report.markdown import markdown_from_report

    return [(MARKDOWN_NAME, markdown_from_report(report)), (HTML_NAME, html_from_report(report))]
