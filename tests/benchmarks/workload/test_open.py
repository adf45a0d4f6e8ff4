"""A profile with a question cache and its twin without, in this process and in a fresh one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emo_edge.assets.packaged import SAMPLES, packaged_samples
from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.measure.cold_start import cold_starts
from emo_edge.benchmarks.workload.images import LatencyImage
from emo_edge.benchmarks.workload.open import UNCACHED, TargetOptions, open_target, with_uncached
from emo_edge.bundle.manifest import MANIFEST_NAME
from emo_edge.bundle.reader import Bundle

OPTIONS = TargetOptions("emo-tiny", ("fear", "anger"), device="cpu", threads=1)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A bundle on the disk whose profile ``small`` has a question cache."""
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    path = tmp_path / "bundle" / MANIFEST_NAME
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["profiles"]["small"]["question_cache"] = {"head": 0, "tail": 1}
    path.write_text(json.dumps(manifest, allow_nan=False), encoding="utf-8")
    return Bundle.open(tmp_path / "bundle")


def test_the_twin_computes_what_a_profile_without_a_cache_does(bundle: Bundle, tiny_bundle: Path) -> None:
    both = with_uncached(bundle)
    assert both.manifest.profiles.keys() - bundle.manifest.profiles.keys() == {f"small{UNCACHED}"}
    sample = packaged_samples(1)[0]
    frames = [Frame(sample.image, sample.box)]
    read = []
    for opened, name in ((both, "small"), (both, f"small{UNCACHED}"), (Bundle.open(tiny_bundle), "small")):
        target = open_target(opened, name, OPTIONS)
        read.append(target.read(frames, clip=False).probabilities)
        target.close()
    assert read[0] != read[1] == read[2]


def test_a_fresh_process_opens_the_twin(bundle: Bundle) -> None:
    images = [LatencyImage(SAMPLES / packaged_samples(1)[0].name, None)]
    start, memory = cold_starts(bundle.directory, f"small{UNCACHED}", OPTIONS, images, 1, writes=False)
    assert start["raw"][0] > 0 and memory["peak_rss"] > 50e6
