"""The table of what calibration measured, cell by cell."""

from __future__ import annotations

from pathlib import Path

from emo_edge.bundle.reader import read_manifest
from emo_edge.rendering.evidence_table import evidence_table

LABELS = {
    "label_agreement": 0.992,
    "label_agreement_low": 0.979,
    "label_agreement_high": 0.997,
    "kl_mean": 0.00123,
    "kl_p95": 0.0045,
    **{
        f"{figure}_delta{end}": value
        for figure in ("war", "uar", "macro_f1")
        for end, value in (("", -0.002), ("_low", -0.006), ("_high", 0.001))
    },
    "mcnemar_p": 0.5,
}


def test_a_bundle_that_was_never_calibrated_has_none(tiny_bundle: Path) -> None:
    assert evidence_table(read_manifest(tiny_bundle)) == []


def test_every_figure_has_its_column_and_empty_columns_are_left_out(tiny_bundle: Path) -> None:
    manifest = read_manifest(tiny_bundle)
    speed = {"ratio": 0.71, "ratio_p10": 0.66, "ratio_p90": 0.8}
    evidence = {"features": {"cosine": 0.99912}, "labels": LABELS, "speed": speed}
    vision = manifest.components.vision
    assert vision is not None
    int8 = vision.variants["fp16"].model_copy(update={"evidence": evidence})
    parts = {"vision": vision.model_copy(update={"variants": {**vision.variants, "int8": int8}})}
    profiles = {"small": manifest.profiles["small"].model_copy(update={"evidence": {**LABELS, "cue_f1": 0.95}})}
    calibrated = manifest.model_copy(
        update={"components": manifest.components.model_copy(update=parts), "profiles": profiles}
    )
    empty, head, graph, profile = evidence_table(calibrated)
    assert empty == ""
    assert head.split("  ")[0] == "calibrated" and "perplexity" not in head
    assert " ".join(graph.split()) == (
        "vision int8 0.99912 0.9920 (0.9790-0.9970) 1.2e-03, 4.5e-03 -0.20 (-0.60 to +0.10) -0.20 (-0.60 to +0.10) "
        "-0.20 (-0.60 to +0.10) 0.500 0.71 (0.66-0.80)"
    )
    assert profile.startswith("profile small ") and profile.endswith("0.500      0.950")
    assert head.index("agreement") == graph.index("0.9920") == profile.index("0.9920")
