"""Drawn clips with a pulse: their truth, their nuisances, their bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.synthetic.pulse import write_clip
from emo_edge.benchmarks.synthetic.pulse.clips import draw_moving_face, filmed, render_pulse_clip
from emo_edge.benchmarks.synthetic.pulse.heartbeat import CHANNELS, Heartbeat, sample_heartbeat
from emo_edge.benchmarks.synthetic.pulse.nuisances import (
    CLEAN,
    HARD,
    frame_times,
    head_motion,
    light_gains,
    mouth_opening,
)
from emo_edge.benchmarks.synthetic.pulse.recompression import decoded
from emo_edge.errors import InputError
from emo_edge.inference.signals.traces import skin_trace

SHORT = replace(HARD, crf=None)


def test_the_mean_rate_is_that_of_the_waves() -> None:
    beat = Heartbeat(75.0, 0.01, overtone=0.0, breath_hz=0.25, arrhythmia=0.02)
    times = np.arange(0, 60, 0.001)
    rises = np.flatnonzero(np.diff(np.signbit(beat.wave(times)).astype(int)) == -1)
    counted = (len(rises) - 1) / (times[rises[-1]] - times[rises[0]]) * 60
    assert counted == pytest.approx(beat.mean_bpm(times[rises[0]], times[rises[-1]]), abs=0.01)
    assert beat.mean_bpm(0, 60) == pytest.approx(75, abs=0.01)


def test_blood_darkens_green_most() -> None:
    gains = Heartbeat(60.0, 0.01, overtone=0.0).gains(np.array([0.25, 0.75]))
    np.testing.assert_allclose(gains, [1 - 0.01 * CHANNELS, 1 + 0.01 * CHANNELS])
    assert CHANNELS.argmax() == 1 and CHANNELS[1] == 1
    np.testing.assert_array_equal(Heartbeat(60.0, 0.0).gains(np.arange(3.0)), 1)
    drawn = [sample_heartbeat(np.random.default_rng(row)) for row in range(50)]
    assert all(48 <= one.bpm <= 150 and 0.004 <= one.strength <= 0.01 for one in drawn)


def test_nuisances_keep_their_sizes() -> None:
    rng, times = np.random.default_rng(1), np.arange(300) / 30
    light = light_gains(rng, times, HARD)
    assert 0 < np.abs(light - 1).max() < 0.03 + 3 * 0.03 + 0.03
    opening = mouth_opening(rng, times, HARD)
    assert opening.min() == 0 and 0.2 < opening.max() <= 1
    turning, path = head_motion(rng, times, HARD)
    assert np.abs(turning).max() <= 1.3 * HARD.sway and np.abs(path).max() <= HARD.shift
    stamps = frame_times(rng, 300, 30.0, HARD)
    assert len(stamps) < 300 and (np.diff(stamps) > 0).all() and np.diff(stamps).max() < 0.08
    for still in (
        light_gains(rng, times, CLEAN) - 1,
        mouth_opening(rng, times, CLEAN),
        *head_motion(rng, times, CLEAN),
    ):
        assert not still.any()


def test_same_arguments_same_bytes() -> None:
    first, second = (render_pulse_clip(1, 4, size=48, seconds=1) for _ in range(2))
    assert len(first.frames) == len(first.times) == len(first.boxes) == len(first.landmarks)
    for one, other in zip(first.frames, second.frames, strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.bpm == second.bpm and first.frames[0].dtype == np.uint8 and first.frames[0].shape == (48, 48, 3)
    without = render_pulse_clip(1, 4, size=48, seconds=1, pulse=False)
    assert without.bpm is None and not np.array_equal(without.frames[0], first.frames[0])


def test_the_skin_beats_and_the_background_does_not() -> None:
    quiet = replace(CLEAN, noise=0.3)
    face = draw_moving_face(2, 0, nuisances=quiet, size=64, seconds=2)
    clip, still = filmed(face), filmed(face, pulse=False)
    greens = [skin_trace(one.frames, one.times, landmarks=list(one.landmarks)).colours[:, 1] for one in (clip, still)]
    assert greens[0].std() > 3 * greens[1].std()
    corner = np.array([frame[:6, :6, 1].mean() for frame in clip.frames])
    assert corner.std() < 0.2


def test_a_clip_is_written_as_a_video(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    words = [str(target), "--size", "48", "--seconds", "1"]
    done = CliRunner().invoke(write_clip.main, words, catch_exceptions=False)
    assert done.exit_code == 0 and done.output.endswith(" BPM, synthetic\n")
    assert len(decoded(target.read_bytes())) == 30


@pytest.mark.parametrize("arguments", [{"size": 63}, {"size": 30}, {"seconds": 0.5}])
def test_unusable_sizes_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match="size is even and at least 32"):
        draw_moving_face(0, 0, nuisances=SHORT, **arguments)  # type: ignore[arg-type]
