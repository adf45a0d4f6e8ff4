"""The study of the image tower in INT8, on a small checkpoint: its bundle reads, its table says what was done."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
from emo_edge.benchmarks.peers import int8_tower
from emo_edge.bundle.reader import Bundle
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline


def _asked(bundle: Path, out: Path, *more: str) -> Result:
    work = out.with_name("work")
    arguments = [str(packaged_checkpoint("emo-tiny")), str(bundle), "--out", str(out), "--work", str(work), *more]
    return CliRunner().invoke(int8_tower.main, arguments)


def test_the_bundle_has_a_profile_of_the_tower_in_int8(tiny_bundle: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "int8.bundle", tmp_path / "int8.json"
    done = _asked(tiny_bundle, out, "--measured", "2", "--json", str(kept))
    assert done.exit_code == 0, done.output
    figures = json.loads(kept.read_text())
    assert figures["bytes_after"] < 0.5 * figures["bytes_before"]
    assert figures["methods"][0]["centred_cosine"] > 0.99 and len(figures["blocks"]) == 7
    assert "| ranges | smallest cosine |" in done.output and "GB in INT8" in done.output
    written, old = Bundle.open(out).manifest, Bundle.open(tiny_bundle).manifest
    default = old.profiles[old.default_profile]
    assert written.profiles["int8"].vision == "int8" and written.profiles["int8"].language == default.language
    assert written.provenance["int8"] == "no gate was held: written to measure time"
    with EmotionPipeline.open(out, profile="int8", detector=WholeImage()) as pipeline:
        assert pipeline.read(packaged_samples(1)[0].image)[0].label


def test_a_bundle_that_is_there_is_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    done = _asked(tiny_bundle, out)
    assert done.exit_code != 0 and "already there" in done.output
    assert (out / "thesis.txt").read_text() == "mine"
