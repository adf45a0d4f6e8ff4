"""Bounds of live results, each with the measured figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emo_edge.benchmarks.live.measure import Row, percentiles
from emo_edge.benchmarks.live.readings import Reuse
from emo_edge.benchmarks.live.soak import Soak
from emo_edge.benchmarks.live.tracking import SceneScores, mean_overlaps, whole_idf1

LEAST_FPS = {1: 30.0, 2: 20.0, 4: 10.0}
MOST_GROWTH = 5e6


@dataclass(frozen=True)
class Number:
    """One figure and its bound."""

    name: str
    wanted: str
    measured: str
    met: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"name": self.name, "wanted": self.wanted, "measured": self.measured, "met": self.met}


def rate_numbers(rows: Sequence[Row]) -> list[Number]:
    """Return rates and ages; ``rows`` are those of live results at full speed."""
    numbers = [
        # Rounded as it is printed: a source of 30 frames a second gives no more.
        Number(f"rate, {_faces(row.faces)}", f"≥ {least:g} fps", f"{row.fps:.1f} fps", round(row.fps, 1) >= least)
        for row in rows
        if (least := LEAST_FPS.get(row.faces)) is not None
    ]
    one = next((percentiles(row.age_ms) for row in rows if row.faces == 1), None)
    if one:
        for name, most in (("p50", 60), ("p99", 150)):
            numbers.append(Number(f"age {name}, one face", f"≤ {most} ms", f"{one[name]:.1f} ms", one[name] <= most))
    return numbers


def slow_number(row: Row, slow_ms: float) -> Number:
    """Return the age of a slowed reading."""
    values = percentiles(row.age_ms) or {"p50": 0.0, "p99": float("inf")}
    ratio = values["p99"] / max(values["p50"], 1e-6)
    name = f"age p99 / p50, reading + {slow_ms:g} ms, {row.seconds:.0f} s"
    return Number(name, "≤ 3", f"{ratio:.2f}", ratio <= 3)


def burner_number(quiet: Row, busy: Row, count: int) -> Number:
    """Return the rate with other processes, as a part of the quiet one."""
    part = busy.fps / max(quiet.fps, 1e-6)
    return Number(f"rate with {count} CPU burners / quiet", "≥ 1/3", f"{part:.2f} ({busy.fps:.1f} fps)", part >= 1 / 3)


def tracking_numbers(two_faces: Row | None, scenes: Sequence[SceneScores]) -> list[Number]:
    """Return time, overlap and identities of tracks."""
    numbers = []
    track = percentiles(two_faces.track_ms) if two_faces else None
    if track:
        numbers.append(Number("tracking p50, two faces", "≤ 5 ms", f"{track['p50']:.1f} ms", track["p50"] <= 5))
    tracked, searched = mean_overlaps(scenes)
    difference = f"{tracked:.3f} against {searched:.3f} of a search of every frame"
    numbers.append(Number("overlap with the true boxes", "within 0.01", difference, tracked >= searched - 0.01))
    idf1 = whole_idf1(scenes)
    return [*numbers, Number(f"IDF1, {len(scenes)} scenes", "≥ 0.95", f"{idf1:.3f}", idf1 >= 0.95)]


def reuse_numbers(counts: Reuse, threshold: float) -> list[Number]:
    """Return the effect of reused readings."""
    flips, kl = counts.flips / max(counts.frames, 1), counts.kl / max(counts.frames, 1)
    name = f"reuse at {threshold:g} ({counts.reused / max(counts.frames, 1):.0%} of the faces' frames)"
    return [
        Number(f"{name}: flips", "≤ 1 %", f"{flips:.2%}", flips <= 0.01),
        Number(f"{name}: mean KL", "≤ 0.02", f"{kl:.4f}", kl <= 0.02),
    ]


def soak_numbers(soak: Soak) -> list[Number]:
    """Return what grew over many frames."""
    name = f"over {soak.frames:,} frames"
    growth = f"{soak.growth_bytes / 1e6:+.1f} MB"
    return [
        Number(f"memory {name}", "< 5 MB more", growth, soak.growth_bytes < MOST_GROWTH),
        Number(f"threads {name}", "none more", f"{soak.threads:+d}", soak.threads <= 0),
        Number(f"descriptors {name}", "none more", f"{soak.descriptors:+d}", soak.descriptors <= 0),
    ]


def number_table(numbers: Sequence[Number]) -> str:
    """Return the figures in Markdown."""
    lines = ["| number | wanted | measured | met |", "|---|---|---|---|"]
    lines += [f"| {one.name} | {one.wanted} | {one.measured} | {'yes' if one.met else 'no'} |" for one in numbers]
    return "\n".join(lines)


def _faces(count: int) -> str:
    return "one face" if count == 1 else f"{count} faces"
