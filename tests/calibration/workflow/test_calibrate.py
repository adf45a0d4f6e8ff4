"""Refusals of `calibrate` that come before its slow work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emo_edge.assets.packaged import Sample, packaged_checkpoint
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.workflow.calibrate import calibrate
from emo_edge.calibration.workflow.config import CalibrationConfig
from emo_edge.errors import BundleError


def test_files_that_are_not_the_bundles_are_kept_and_named(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError, match=r"not the bundle's: thesis\.txt"):
        calibrate(bundle, packaged_checkpoint(), lambda: pytest.fail("was drawn"), CalibrationConfig())
    assert (bundle / "thesis.txt").read_text(encoding="utf-8") == "years of work"


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
