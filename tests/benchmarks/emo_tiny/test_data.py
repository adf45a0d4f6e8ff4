"""What emo-tiny is fed: exact targets in the crop's coordinates, resumable, split by seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.emo_tiny import data
from emo_edge.benchmarks.emo_tiny.config import TINY
from emo_edge.benchmarks.emo_tiny.data import Split, prepare, sample_row, visible_cues
from emo_edge.benchmarks.emo_tiny.stages import batch_rows, examples_at
from emo_edge.benchmarks.emo_tiny.write_samples import SAMPLE_SEED
from emo_edge.benchmarks.synthetic import generator
from emo_edge.benchmarks.synthetic.generator import FaceSample, render_face
from emo_edge.cli.demo import DEMO_SEED
from emo_edge.media.crops import Crop
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS, PARSING_CLASSES

SMALL = Split("small", seed=77, count=3)


def ignore(_: int) -> None:
    """No progress bar in tests."""


@pytest.fixture(scope="module")
def sample() -> FaceSample:
    return render_face(77, 0)


def test_targets_lie_where_the_crop_shows_them(sample: FaceSample) -> None:
    row = sample_row(sample, np.random.default_rng(0))
    crop = Crop(row["face"], row["region"])
    assert np.allclose(crop.to_frame(row["landmarks"]), sample.landmarks, atol=1e-3)
    assert row["parsing"].shape == row["face"].shape[:2] == (TINY.face.image_size,) * 2  # type: ignore[union-attr]
    assert row["vision"].shape == (TINY.vision.image_size,) * 2 + (3,)


def test_the_same_split_is_the_same_bytes_and_jitter_moves_the_crop(sample: FaceSample, tmp_path: Path) -> None:
    first = prepare(SMALL, tmp_path / "a", workers=1, progress=ignore)
    again = prepare(SMALL, tmp_path / "b", workers=1, progress=ignore)
    for name, array in first.items():
        assert np.array_equal(array, again[name]), name
    assert not np.array_equal(first["face"][0], sample_row(sample)["face"])


def test_a_killed_rendering_continues_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CHUNK", 2)
    added: list[int] = []
    whole = prepare(SMALL, tmp_path, workers=1, progress=added.append)
    expected = {name: np.array(array) for name, array in whole.items()}
    (folder,) = tmp_path.iterdir()
    (folder / "done-000000").unlink()
    np.load(folder / "face.npy", mmap_mode="r+")[:] = 0
    continued = prepare(SMALL, tmp_path, workers=1, progress=added.append)
    assert sorted(added[:2]) == [1, 2] and added[2:] == [2]
    assert np.array_equal(continued["face"][:2], expected["face"][:2])
    assert not np.array(continued["face"][2]).any()


def test_a_changed_drawing_does_not_meet_what_was_drawn_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepare(SMALL, tmp_path, workers=1, progress=ignore)
    np.load(next(tmp_path.glob("*/face.npy")), mmap_mode="r+")[:] = 0
    monkeypatch.setattr(data, "drawing_digest", lambda: "otherwise")
    after = prepare(SMALL, tmp_path, workers=1, progress=ignore)
    assert len(list(tmp_path.iterdir())) == 2
    assert after["face"].any() and not before["face"].any()


def test_a_covered_mouth_shows_no_mouth_cue(sample: FaceSample) -> None:
    units = np.ones(len(ACTION_UNITS), np.float32)
    clear = np.full_like(sample.parsing, PARSING_CLASSES.index("skin"))
    assert visible_cues(replace(sample, action_units=units, parsing=clear)).all()
    masked = clear.copy()
    masked[int(sample.landmarks[48:, 1].min()) - 2 :] = PARSING_CLASSES.index("background")
    seen = visible_cues(replace(sample, action_units=units, parsing=masked))
    shown = {unit for unit, visible in zip(ACTION_UNITS, seen, strict=True) if visible}
    assert shown == {1, 2, 4, 5, 6, 7, 9}


def test_a_weak_unit_is_no_cue(sample: FaceSample) -> None:
    clear = np.full_like(sample.parsing, PARSING_CLASSES.index("skin"))
    units = np.full(len(ACTION_UNITS), data.CUE_THRESHOLD - 0.01, np.float32)
    assert not visible_cues(replace(sample, action_units=units, parsing=clear)).any()


def test_no_split_shares_a_seed() -> None:
    splits = (data.TRAIN_IMAGES, data.TRAIN_CLIPS, data.TEST_IMAGES, data.TEST_CLIPS)
    seeds = [DEMO_SEED, SAMPLE_SEED, *(split.seed for split in splits)]
    assert len(set(seeds)) == len(seeds)


def test_an_epoch_visits_no_row_twice_and_the_next_one_is_shuffled_anew() -> None:
    first = np.concatenate([batch_rows(1, step, 12, 4) for step in range(3)])
    assert sorted(first) == list(range(12))
    second = [batch_rows(1, step, 12, 4).tolist() for step in range(3, 6)]
    assert second != [batch_rows(1, step, 12, 4).tolist() for step in range(3)]
    assert batch_rows(1, 2, 12, 4).tolist() == batch_rows(1, 2, 12, 4).tolist()


def test_a_clip_has_the_cues_of_all_its_frames() -> None:
    cues = np.zeros((4, len(ACTION_UNITS)), np.uint8)
    cues[2, 0], cues[3, 8] = 1, 1
    units = np.zeros(cues.shape, np.float32)
    arrays = {"cues": cues, "expression": np.array([1, 1, 3, 3], np.uint8), "action_units": units}
    first, second = examples_at(arrays, [0, 1], frames=2)
    assert (first.expression, first.cues) == (EXPRESSIONS[1], ())
    assert (second.expression, second.cues) == (EXPRESSIONS[3], (ACTION_UNITS[0], ACTION_UNITS[8]))
    assert second.clip and second.rows.tolist() == [2, 3]


def test_the_digest_covers_every_module_that_draws() -> None:
    folder = Path(generator.__file__).parent
    drawing = {f"emo_edge.benchmarks.synthetic.{path.stem}" for path in folder.glob("*.py")}
    assert drawing - set(data.DRAWING) == {
        "emo_edge.benchmarks.synthetic.__init__",
        "emo_edge.benchmarks.synthetic.contact_sheet",
    }


def test_a_digest_of_a_missing_module_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DRAWING", ("emo_edge.benchmarks.synthetic.renamed",))
    with pytest.raises(ImportError, match="draws the splits"):
        data.drawing_digest.__wrapped__()


def test_a_digest_of_no_module_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DRAWING", ())
    with pytest.raises(ImportError, match="no module"):
        data.drawing_digest.__wrapped__()
