"""The fit of live labels: filters, threshold, moments of a drawn clip, and the document that shows the kept figures."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.live import labels
from emo_edge.benchmarks.live.clips import CLEAR, LABELS, Stretch, changing_face
from emo_edge.benchmarks.live.label_scores import added_delay, event_errors, filtered, raw, scores
from emo_edge.benchmarks.live.labels import fitted_threshold, live_labels, write_settings
from emo_edge.benchmarks.live.readings import THRESHOLDS, ReadClip, Reuse, clip_dict, clip_from_dict
from emo_edge.benchmarks.synthetic.expression import sample_action_units
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.sections import LabelFilter, LiveLabels
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.inference.live import api
from emo_edge.inference.live.events import ExpressionEvent
from emo_edge.media.live.capture import LiveCapture

DOCS = Path(__file__).parents[3] / "docs" / "results"
HAPPINESS, NEUTRAL = LABELS.index("happiness"), LABELS.index("neutral")


def clip(index: int, wrong: float = 0.25) -> ReadClip:
    """Return readings of a face that smiles from 2 s to 4 s; some of them are wrong."""
    rng, times = np.random.default_rng(index), np.arange(60) / 10
    truth = np.where((times >= 2) & (times < 4), HAPPINESS, NEUTRAL)
    shown = np.where(rng.random(60) < wrong, rng.integers(0, len(LABELS), 60), truth)
    probabilities = np.full((60, len(LABELS)), 0.02)
    probabilities[np.arange(60), shown] = 1 - 0.02 * (len(LABELS) - 1)
    reuse = {threshold: Reuse(60, 30, int(threshold >= 2), 0.3 * threshold) for threshold in THRESHOLDS}
    return ReadClip(index, times, probabilities, truth, ((2.0, HAPPINESS), (4.0, NEUTRAL)), reuse)


def test_noisy_readings_are_better_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "TAUS", np.array([0.3, 1.2, 4.8]))
    monkeypatch.setattr(labels, "ALPHAS", np.array([0.25, 0.5, 1.0]))
    settings, rows, other = live_labels([clip(index) for index in range(6)], [clip(index) for index in range(20, 28)])
    assert settings.smoothing is not None and settings.smoothing.method != other.method
    raw_row, smoothed = rows[0], min(rows[1:], key=lambda row: row.nll)
    assert smoothed.nll < raw_row.nll and smoothed.ece < raw_row.ece and sum(smoothed.flips) < sum(raw_row.flips)
    assert added_delay(smoothed, raw_row) == pytest.approx(0.25, abs=0.25)
    assert settings.evidence["nll_smoothed"] == pytest.approx(smoothed.nll, abs=1e-4)
    assert settings.unchanged == 1.75, "one more flip a clip is over 1 %"


def test_scores_of_perfect_readings() -> None:
    row = scores("raw", [clip(1, wrong=0.0)], raw)
    assert row.accuracy == 1 and row.flips == row.true_changes == [2] and row.delays_s == [0.0, 0.0]
    settings = LabelFilter(method="hidden_markov", tau_s=1.0, alpha=1.0)
    events = event_errors([clip(1, wrong=0.0)], filtered(settings))
    assert {change: (one["named"], one["other_events"]) for change, one in events.items()} == {
        "onset": (1, 0),
        "apex": (1, 0),
        "offset": (1, 0),
    }
    assert all(abs(one["mean_error_s"]) <= 0.2 for one in events.values())


def test_no_threshold_holds_where_readings_differ_by_chance() -> None:
    bad = clip(0)
    for counts in bad.reuse.values():
        counts.flips = 30
    assert fitted_threshold([bad, bad]) is None


def test_a_clip_is_kept_as_json() -> None:
    one = clip(3)
    again = clip_from_dict(json.loads(json.dumps(clip_dict(one))))
    np.testing.assert_allclose(again.probabilities, one.probabilities, atol=1e-6)
    assert again.reuse == one.reuse and again.changes == one.changes and (again.truth == one.truth).all()


def test_settings_go_into_a_config_and_nothing_else_changes(tmp_path: Path) -> None:
    before = (packaged_checkpoint() / "config.json").read_text(encoding="utf-8")
    config = tmp_path / "config.json"
    config.write_text(before, encoding="utf-8")
    settings = EmoLlamaConfig.from_pretrained(tmp_path).live
    assert settings is not None and settings.smoothing is not None
    write_settings(config, settings)
    assert config.read_text(encoding="utf-8") == before
    write_settings(config, LiveLabels(unchanged=1.25))
    assert EmoLlamaConfig.from_pretrained(tmp_path).live == LiveLabels(unchanged=1.25)


def test_the_document_shows_the_kept_figures_which_are_emo_tinys() -> None:
    document = json.loads((DOCS / "live-labels.json").read_text(encoding="utf-8"))
    page = (DOCS / "live.md").read_text(encoding="utf-8")
    for name, text in document["tables"].items():
        assert f"<!-- {name} -->\n{text}\n<!-- /{name} -->" in page
    settings = EmoLlamaConfig.from_pretrained(packaged_checkpoint()).live
    assert settings is not None and settings.model_dump() == document["live"]
    assert settings.evidence["clips"] >= 200
    assert settings.evidence["unchanged_flips"] <= labels.MOST_FLIPS
    assert settings.evidence["unchanged_kl"] <= labels.MOST_KL


def test_the_command_reads_draws_and_fits(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emo_edge.benchmarks.live.readings.SECONDS", 1.5)
    monkeypatch.setattr(labels, "TAUS", np.array([0.3, 1.2]))
    monkeypatch.setattr(labels, "ALPHAS", np.array([0.25, 0.5]))
    target = tmp_path / "labels.json"
    words = ["--fit", "1", "--held-out", "1", "--workers", "1", "--readings", str(tmp_path / "kept")]
    done = CliRunner().invoke(labels.main, [str(tiny_bundle), *words, "--json", str(target)])
    assert done.exit_code in (0, 7), done.output
    assert Bundle.open(tiny_bundle).manifest.live == EmoLlamaConfig.from_pretrained(packaged_checkpoint()).live
    assert "| hidden Markov |" in done.stdout and len(list((tmp_path / "kept").iterdir())) == 2
    assert json.loads(target.read_text(encoding="utf-8"))["live"]["smoothing"]["step_s"] == 0.1


class _DrawnFrame:
    duration = 0.1

    def __init__(self, face: Any, stamp: float) -> None:
        self.stamp, self._image = stamp, face.frame(stamp).image

    def keep(self) -> None:
        """Do nothing."""

    def pixels(self) -> Any:
        return self._image


def test_the_moments_of_a_drawn_expression_are_named(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = changing_face(5200, 0)
    units = {
        label: sample_action_units(np.random.default_rng(1), label, CLEAR)[0] for label in ("neutral", "happiness")
    }
    times = (("neutral", 0.0, 1.0), ("happiness", 1.0, 2.0), ("neutral", 2.0, 3.0))
    face = replace(face, stretches=tuple(Stretch(label, start, end, units[label], 0) for label, start, end in times))

    class Drawn:
        step_s, frame_count, duration_s, damaged = 0.1, 0, 0.0, 0

        def frames(self) -> Any:
            return (_DrawnFrame(face, number / 10) for number in range(27))

        def close(self) -> None:
            """Do nothing."""

    @contextmanager
    def opener(source: str, kind: str) -> Any:
        yield Drawn()

    monkeypatch.setattr(api, "LiveCapture", lambda source, settings: LiveCapture(source, settings, opener=opener))
    with emo_edge.EmotionPipeline.open(tiny_bundle, device="cpu", threads=1) as pipeline:
        (tmp_path / "drawn.mp4").touch()
        given = emo_edge.live(pipeline, tmp_path / "drawn.mp4")
        events = [event for event in given if isinstance(event, ExpressionEvent)]
    assert [(event.change, event.label) for event in events] == [
        ("onset", "happiness"),
        ("apex", "happiness"),
        ("offset", "happiness"),
    ]
    onset, apex, offset = (event.time_s for event in events)
    assert onset == pytest.approx(1.0, abs=0.25) and apex == pytest.approx(1.5, abs=0.3)
    assert offset == pytest.approx(2.0, abs=0.25)
