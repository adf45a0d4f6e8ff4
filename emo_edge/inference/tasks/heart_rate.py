"""The step of the task heart-rate: it measures, its sentence goes into the prompt, and the answer begins with it.

Nothing that a model writes is run, and no number of the model's own gets into an answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emo_edge.errors import TaskError
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.signals.heart_rate import NOTICE, HeartRate, PulseWindow
from emo_edge.inference.signals.videos import pulse
from emo_edge.media.sources import classify_source, without_password
from emo_edge.utils.text import utf8_text

LEAST_RELIABLE = 0.5
"""Part of a video's windows that must have a reliable pulse: of many windows without one, chance lets some pass."""
DIGITS = 4
SENTENCES = re.compile(r"[^.!?]*[.!?]+|[^.!?]+$")
NUMBERS = re.compile(
    r"\d|\bbpm\b|\b(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred)\b", re.I
)
"""Digits, and words that may be a number or its unit."""


@dataclass(frozen=True)
class ToolCall:
    """One step that a program of this package did for an answer: it is fixed, and no model chose or wrote it."""

    name: str
    arguments: dict[str, Any]
    result: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"name": self.name, "arguments": dict(self.arguments), "result": dict(self.result)}


def measured_heart_rate(
    source: str | Path, detector: FaceDetector, progress: Callable[[float], None] = lambda seconds: None
) -> HeartRate:
    """Return the heart rate of the one face in a video file, or the reason why there is none.

    That is the middle one, by its rate, of the windows with a reliable pulse. Raises TaskError for a picture, and
    InputError for what cannot be read.
    """
    kind = classify_source(str(source))
    if kind != "video":
        name = without_password(str(source))
        raise TaskError(f"{name}: the task heart-rate measures in a video file, and this is a source of kind {kind}")
    return summarized(list(pulse(source, detector, faces="all", progress=progress)))


def summarized(windows: Sequence[PulseWindow]) -> HeartRate:
    """Return one heart rate for the windows of a video; they are one or more."""
    faces = len({window.face for window in windows})
    rates = [window.heart_rate for window in windows]
    reliable = sorted((rate for rate in rates if rate.reliable), key=lambda rate: rate.bpm or 0.0)
    if faces > 1:
        reason = f"{faces} faces are in the video, and an answer is about one: emo-edge pulse --faces all has each"
    elif len(reliable) >= LEAST_RELIABLE * len(rates):
        return reliable[len(reliable) // 2]
    else:
        reason = _usual_reason(rates, len(reliable))
    return replace(rates[0], bpm=None, bin_bpm=None, reliable=False, reason=reason)


def _usual_reason(rates: Sequence[HeartRate], reliable: int) -> str:
    refused = [rate.reason for rate in rates if rate.reason]
    usual = Counter(refused).most_common(1)[0][0]
    return usual if len(rates) == 1 else f"{len(rates) - reliable} of {len(rates)} windows have none; {usual}"


def measurement_sentence(rate: HeartRate | None) -> str:
    """Return the sentence about a measured heart rate that goes into the prompt; nothing without a reliable one."""
    return f"The measured heart rate is {rate.bpm:.2f} BPM." if rate and rate.bpm is not None else ""


def answer_sentence(rate: HeartRate) -> str:
    """Return the sentence that the answer is, or begins with: the number with its notice, or the reason for none."""
    if rate.bpm is None:
        return f"no reliable pulse: {rate.reason}"
    return f"The heart rate is {rate.bpm:.2f} BPM. {NOTICE}"


def without_numbers(text: str) -> str:
    """Return what a model wrote behind the sentence, up to its first sentence with a number of its own."""
    kept = []
    for sentence in SENTENCES.findall(text):
        if NUMBERS.search(sentence):
            break
        kept.append(sentence)
    return "".join(kept).strip()


def tool_call(rate: HeartRate) -> ToolCall:
    """Return the record of a measurement."""
    values = {
        name: round(value, DIGITS) if isinstance(value, float) else value for name, value in rate.as_dict().items()
    }
    values["reason"] = None if rate.reason is None else utf8_text(rate.reason)
    return ToolCall("heart_rate", {"method": rate.method}, {**values, "notice": NOTICE})
