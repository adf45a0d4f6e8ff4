"""Drawn micro-expressions: their frames and strengths, the same bytes again, faces at rest, a video of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.synthetic.expression import AU_INDEX, PROTOTYPES
from emo_edge.benchmarks.synthetic.micro.clips import DURATIONS_S, EXPRESSIONS, PEAKS, render_micro_clip
from emo_edge.benchmarks.synthetic.micro.write_clip import main
from emo_edge.errors import InputError
from emo_edge.media.videos import sampled_frames


def test_a_movement_is_brief_and_weak_and_its_frames_are_exact() -> None:
    for index in range(12):
        clip = render_micro_clip(5, index, size=32, fps=30)
        one = clip.movement
        assert one is not None and one.expression == EXPRESSIONS[index % 6] and len(clip.frames) == 60
        assert DURATIONS_S[0] * 30 - 1 <= one.offset - one.onset <= DURATIONS_S[1] * 30
        rest = clip.frames[0].action_units
        rises = np.array([frame.action_units - rest for frame in clip.frames])
        moving = np.flatnonzero(np.abs(rises).max(1) > 1e-6)
        assert (moving[0], moving[-1]) == (one.onset + 1, one.offset - 1)
        assert rises.max(1).argmax() == one.apex
        assert PEAKS[0] - 1e-6 <= one.peak <= PEAKS[1] and rises[one.apex].max() == pytest.approx(one.peak, abs=1e-6)
        core = [AU_INDEX[unit] for unit in PROTOTYPES[one.expression].core]
        assert rises[one.apex][core].max() > 0.5 * one.peak


def test_the_same_arguments_give_the_same_bytes() -> None:
    whole, part = render_micro_clip(5, 3, size=32), render_micro_clip(5, 3, size=32, frame_indices=[20, 31])
    assert np.array_equal(whole.frames[31].image, part.frames[1].image) and whole.movement is not None
    still = render_micro_clip(5, 3, size=32, moves=False)
    assert still.movement is None and np.array_equal(still.frames[0].image, whole.frames[0].image)
    levels = np.array([frame.action_units for frame in still.frames])
    assert np.ptp(levels, axis=0).max() == 0


def test_a_clip_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match="too few for a movement"):
        render_micro_clip(5, 0, size=32, seconds=0.7)


def test_a_video_of_one_holds_its_frames(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    done = CliRunner().invoke(main, [str(target), "--size", "64", "--index", "1"])
    one = render_micro_clip(0, 1, size=32).movement
    assert done.exit_code == 0 and one is not None, done.output
    assert f"sadness, onset {one.onset}, apex {one.apex}, offset {one.offset}, peak {one.peak:.2f}" in done.stdout
    assert sum(1 for _ in sampled_frames(target)) == 60
    done = CliRunner().invoke(main, [str(target), "--size", "64", "--still"])
    assert "no movement, synthetic" in done.stdout
