"""Readings as text for people."""

from __future__ import annotations

from emo_edge.inference.results import EmotionResult, SourceResult
from emo_edge.media.sources import without_password

BAR = 20


def reading_text(reading: EmotionResult, number: int, count: int) -> str:
    """Write one reading: label, distribution, face facts, answers, times."""
    x0, y0, x1, y1 = (round(value) for value in reading.box)
    what = f"clip of {reading.frames} frames" if reading.frames > 1 else f"face {number} of {count}"
    found = f": {reading.label} {reading.probabilities[reading.label]:.0%}" if reading.label else ""
    head = f"  {what} at {x0},{y0} {x1 - x0}x{y1 - y0}{found}"
    lines = [head, *(_bar(label, share) for label, share in _ranked(reading.probabilities))]
    if reading.face:
        lines += _facts(reading)
    for question, answer in reading.answers.items():
        lines += [f"    {question}", f"      {answer}"]
    total = sum(reading.stage_ms.values())
    stages = ", ".join(f"{name} {value:.0f}" for name, value in reading.stage_ms.items())
    return "\n".join([*lines, f"    {total:.0f} ms on {reading.settings.device} ({stages})"])


def _ranked(shares: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])


def _bar(label: str, share: float) -> str:
    return f"    {label:<22} {share:6.1%} {'█' * round(BAR * share)}".rstrip()


def _facts(reading: EmotionResult) -> list[str]:
    facts = reading.face
    assert facts is not None
    pose = ", ".join(f"{name} {value:+.0f}°" for name, value in facts.pose_degrees.items())
    held = [name.replace("_", " ") for name, share in facts.attributes.items() if share >= 0.5]
    hidden = int((facts.hidden_points >= 0.5).sum())
    lines = [f"    pose: {pose}; {hidden} of {len(facts.hidden_points)} points hidden"]
    lines.append(f"    attributes: {', '.join(held) or 'none'}")
    if facts.demographics:
        best = [
            f"{name} {_ranked(shares)[0][0]} {_ranked(shares)[0][1]:.0%}" for name, shares in facts.demographics.items()
        ]
        lines.append(f"    {', '.join(best)}")
    return lines


def result_text(result: SourceResult) -> str:
    """Write one image's or clip's readings; no face is said plainly."""
    source = without_password(result.source).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    when = f", {result.seconds[0]:.1f}–{result.seconds[1]:.1f} s" if result.seconds else ""
    count = len(result.faces)
    if not count:
        return f"{source}{when}: no face found; --whole-image reads the whole picture"
    texts = [reading_text(reading, number, count) for number, reading in enumerate(result.faces, 1)]
    return "\n".join([f"{source}{when}", *texts])
