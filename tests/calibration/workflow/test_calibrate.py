"""Refusals of `calibrate` that come before its slow work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emo_edge.assets.packaged import Sample, packaged_checkpoint
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.workflow.calibrate import calibrate
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.errors import BundleError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.metrics.gates import Gate


def test_files_that_are_not_the_bundles_are_kept_and_named(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError, match=r"not the bundle's: thesis\.txt"):
        calibrate(bundle, packaged_checkpoint(), lambda: pytest.fail("was drawn"), CalibrationConfig())
    assert (bundle / "thesis.txt").read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize(
    ("asked", "gate"),
    [
        ("agreement>=0.9", "agreement>=0.9,cosine>=0.99,au-agreement>=0.99"),
        ("au-agreement>=0.9,cosine>=0.5", "au-agreement>=0.9,cosine>=0.5"),
    ],
)
def test_graphs_with_action_units_have_a_gate_on_them(tiny_bundle: Path, asked: str, gate: str) -> None:
    config = CalibrationConfig(int8_gate=Gate.parse(asked))
    checked = config.checked(Bundle.open(tiny_bundle), EmoLlamaConfig.from_pretrained(packaged_checkpoint()))
    assert str(checked.int8_gate) == gate


class Drawn(Exception):
    """The samples are asked for: every refusal lies behind."""


def test_a_link_to_a_bundle_is_followed(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (tmp_path / "link").symlink_to(tmp_path / "bundle")

    def listed() -> list[Sample]:
        raise Drawn

    with pytest.raises(Drawn):
        calibrate(tmp_path / "link", packaged_checkpoint(), listed, CalibrationConfig())
    with pytest.raises(BundleError, match=r"no bundle, but a link to .*/bundle; give another name"):
        BundleWriter(tmp_path / "link", overwrite=True)
