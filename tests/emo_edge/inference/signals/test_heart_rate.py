"""Heart rates of signals that are known, what must not change them, and each reason to refuse one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_edge.errors import InputError
from emo_edge.inference.signals.heart_rate import NOTICE, heart_rate, heart_rates, pulse_peak
from emo_edge.inference.signals.projections import METHODS
from emo_edge.inference.signals.refusals import LEAST_SNR_DB
from emo_edge.inference.signals.spectrum import spectral_peak
from emo_edge.inference.signals.traces import SkinTrace

SKIN = np.array([150.0, 110.0, 90.0])
BLOOD = np.array([0.33, 0.77, 0.53])
RNG = np.random.default_rng(11)
NOISE = RNG.standard_normal((300, 3))


def colours(
    bpm: float, count: int = 300, fps: float = 30.0, *, strength: float = 0.01, noise: float = 0.0
) -> np.ndarray:
    beat = np.sin(2 * np.pi * bpm / 60 * np.arange(count) / fps + 0.4)
    return np.asarray(SKIN * (1 - strength * beat[:, None] * BLOOD) + noise * np.resize(NOISE, (count, 3)))


def trace(count: int = 300, bpm: float = 80.0, **changes: np.ndarray) -> SkinTrace:
    none = np.zeros(count, bool)
    return replace(SkinTrace(colours(bpm, count), np.arange(count) / 30, none, none), **changes)


def test_the_tenth_bin_of_256_samples_at_30_hz_is_70_beats() -> None:
    signal = 105 + 5 * np.sin(2 * np.pi * 10 * np.arange(256) / 256)
    for rate in (
        heart_rate(signal, 30.0, method="green"),
        heart_rate(signal, times=np.arange(256) / 30, method="green"),
    ):
        assert rate.bin_bpm == 70.3125 and f"{rate.bin_bpm:.2f}" == "70.31"
        assert rate.bpm == pytest.approx(70.3125, abs=0.05) and rate.reliable and rate.fps == 30.0
    assert str(rate).startswith("70.3") and str(rate).endswith(f" dB). {NOTICE}")


@pytest.mark.parametrize("method", METHODS)
def test_every_sine_of_45_to_180_is_within_a_third_of_a_beat(method: str) -> None:
    for bpm in np.arange(45, 180.5, 4.5):
        rate = heart_rate(colours(bpm, 256), 30.0, method=method)
        assert rate.bpm == pytest.approx(bpm, abs=0.3), bpm
        assert rate.bin_bpm == pytest.approx(bpm, abs=30 / 256 * 60)


def test_other_frame_rates_and_time_stamps_that_tremble() -> None:
    for fps in (15.0, 25.0, 59.94, 120.0):
        assert heart_rate(colours(72, round(10 * fps), fps), fps).bpm == pytest.approx(72, abs=0.1)
    times = np.arange(300) / 30 + np.random.default_rng(0).uniform(-0.01, 0.01, 300)
    beat = np.sin(2 * np.pi * 1.3 * times)[:, None]
    assert heart_rate(SKIN * (1 - 0.01 * beat * BLOOD), times=times).bpm == pytest.approx(78, abs=0.1)


def test_the_snr_is_the_power_around_the_rate_and_its_double() -> None:
    times = np.arange(600) / 30
    signal = np.sin(2 * np.pi * 1.0 * times) + np.sin(2 * np.pi * 2.0 * times) + np.sin(2 * np.pi * 3.5 * times)
    peak = spectral_peak(signal + 0.5 * np.sin(2 * np.pi * 1.0 * times), 30.0)
    assert peak.bpm == pytest.approx(60, abs=0.05)
    # Powers 2.25 and 1 against 1; about a twentieth of each peak's power lies outside 0.1 Hz.
    assert peak.snr_db == pytest.approx(10 * np.log10(3.25 * 0.99 / (1 + 3.25 * 0.01)), abs=0.2)


def test_extreme_spectra_stay_finite() -> None:
    assert spectral_peak(np.zeros(300), 30.0).snr_db == -60.0
    assert np.isfinite(spectral_peak(np.sin(2 * np.pi * np.arange(30000) / 30), 30.0).snr_db)
    below = np.sin(2 * np.pi * 0.5 * np.arange(300) / 30) + 0.01 * np.sin(2 * np.pi * 2 * np.arange(300) / 30)
    assert spectral_peak(below, 30.0).bpm > 42.5


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(METHODS),
    st.floats(1e-3, 1e3),
    st.tuples(*[st.floats(0.2, 5.0)] * 3),
    st.floats(-1e4, 1e4),
    st.floats(48, 160),
)
def test_units_gains_and_the_clock_change_nothing(
    method: str, scale: float, gains: tuple[float, ...], start: float, bpm: float
) -> None:
    plain = colours(bpm, 240, noise=0.3)
    first = heart_rate(plain, 30.0, method=method)
    for other in (
        heart_rate(plain * scale, 30.0, method=method),
        heart_rate(plain * gains, 30.0, method=method),
        heart_rate(plain, times=start + np.arange(240) / 30, method=method),
    ):
        assert other.reliable == first.reliable
        assert other.snr_db == pytest.approx(first.snr_db, abs=1e-3)
        assert first.bpm is None or other.bpm == pytest.approx(first.bpm, abs=1e-3)


def test_the_result_is_json_with_a_number_or_a_reason() -> None:
    for rate in (heart_rate(colours(80), 30.0), heart_rate(colours(80, 100), 30.0), heart_rate(np.zeros((0, 3)), 30.0)):
        document = json.loads(json.dumps(rate.as_dict(), allow_nan=False))
        assert list(document) == ["bpm", "bin_bpm", "snr_db", "reliable", "reason", "seconds", "fps", "method"]
        assert document["reliable"] == (document["bpm"] is not None) == (document["reason"] is None)
        assert str(rate).startswith("no reliable pulse: ") != document["reliable"]


def swapped(step: float) -> np.ndarray:
    values = colours(80)
    values[150:] *= (1, 1 - step, 1)
    return values


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (trace(239), "8.0 s are too short: at least 8 s are needed"),
        (trace(0), "0.0 s are too short"),
        (trace(times=np.arange(300) / 14.9), "14.9 frames a second are too few: at least 15 are needed"),
        (trace(times=np.arange(300) / 30 + 0.2 * (np.arange(300) > 90)), "0.23 s without a frame: at most 0.2 s"),
        (trace(times=np.sort(np.arange(300) // 2 / 15)), "the time stamps do not ascend"),
        (trace(times=np.full(300, np.nan)), "the time stamps do not ascend"),
        (trace(lost=np.arange(300) < 61), "the face is lost in 20% of the frames: at most 20% are allowed"),
        (trace(lost=np.ones(300, bool)), "the face is lost in 100% of the frames"),
        (trace(colours=colours(80) * np.where(np.arange(300) == 7, np.nan, 1)[:, None]), "a colour is not a finite"),
        (trace(unsure=np.arange(300) == 7), "another face came so near that the two may have changed places"),
        (trace(colours=np.full((300, 3), SKIN)), "the colour does not change at all"),
        (trace(colours=colours(80)[:, [1, 1, 1]]), "the pictures are grey: a pulse is a change of colour"),
        (trace(colours=colours(80) * (1, 0, 1)), "a colour is black: there is no light"),
        (trace(colours=swapped(0.08)), "the skin's colour jumps by 8%: another face, or a cut"),
        (trace(colours=SKIN + 0.5 * NOISE), "the spectrum has no clear peak: SNR -"),
    ],
)
def test_each_refusal_is_one_clear_reason(changed: SkinTrace, reason: str) -> None:
    rate = heart_rate(changed)
    assert not rate.reliable and rate.bpm is None and rate.bin_bpm is None
    assert rate.reason is not None and rate.reason.startswith(reason)
    json.dumps(rate.as_dict(), allow_nan=False)


def test_the_bounds_themselves_are_allowed() -> None:
    assert heart_rate(trace(240)).reliable
    assert heart_rate(colours(80, 150, 15.0), 15.0).reliable
    assert heart_rate(trace(times=np.arange(300) / 30 + (0.2 - 1 / 30) * (np.arange(300) > 150))).reason is None
    assert heart_rate(trace(lost=(np.arange(300) % 5 == 2))).bpm == pytest.approx(80, abs=0.3)


def test_one_channel_alone_is_refused_where_it_is_constant() -> None:
    assert heart_rate(np.full(300, 7.0), 30.0, method="green").reason == "the colour does not change at all"


def test_a_clear_pulse_has_a_higher_snr_than_noise() -> None:
    assert pulse_peak(trace()).snr_db > LEAST_SNR_DB > pulse_peak(trace(colours=SKIN + 0.5 * NOISE)).snr_db


def test_windows_are_ten_seconds_a_second_after_each_other() -> None:
    windows = list(heart_rates(trace(380, times=100 + np.arange(380) / 30), face=2))
    assert [round(window.start_s, 3) for window in windows] == [100, 101, 102]
    assert {window.heart_rate.seconds for window in windows} == {10.0} and {window.face for window in windows} == {2}
    assert all(window.heart_rate.bpm == pytest.approx(80, abs=0.1) for window in windows)
    assert windows[1].as_dict()["end_s"] == pytest.approx(111)


def test_a_trace_shorter_than_a_window_is_one() -> None:
    (window,) = heart_rates(trace(255))
    assert window.heart_rate.reliable and window.end_s == pytest.approx(8.5)
    (short,) = heart_rates(trace(30))
    assert short.heart_rate.reason == "1.0 s are too short: at least 8 s are needed"
    assert list(heart_rates(trace(0))) == []
    (still,) = heart_rates(trace(3, times=np.full(3, np.nan)))
    assert still.heart_rate.reason == "the time stamps do not ascend" and still.start_s == still.end_s == 0


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((colours(80),), {}, "and not both"),
        ((colours(80), 30.0), {"times": np.arange(300)}, "and not both"),
        ((colours(80), -1.0), {}, "positive number of samples"),
        ((colours(80),), {"times": np.arange(9)}, "300 samples need as many times"),
        ((colours(80)[:, 0], 30.0), {}, r"pos needs red, green and blue \[N, 3\], not \[300\]"),
        ((colours(80), 30.0), {"method": "ica"}, "choose from pos, chrom, green"),
    ],
)
def test_arguments_that_are_none_are_errors(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        heart_rate(*arguments, **options)
