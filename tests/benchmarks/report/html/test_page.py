"""The report as Markdown and as a page: what is shown is in report.json, and nothing in it can do harm."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from emo_edge.benchmarks.report.caveats import bottom_line, statements
from emo_edge.benchmarks.report.html import style
from emo_edge.benchmarks.report.html.bars import bars_of, enlarged
from emo_edge.benchmarks.report.html.label_placement import Box, place_labels
from emo_edge.benchmarks.report.html.page import html_from_report
from emo_edge.benchmarks.report.html.scatter import front, log_ticks, points_of, round_ticks
from emo_edge.benchmarks.report.markdown import escaped, markdown_from_report
from emo_edge.benchmarks.report.reader import checked_report
from emo_edge.errors import InputError

LABELS = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
STAGES = {"decode": 1.2, "detect": 9.0, "crop": 0.6, "vision": 6.0, "face": 5.0, "connector": 1.4, "score": 11.0}
HOSTILE = "<script>alert(1)</script>|`x`\n# **b** [l](javascript:1) \u202e\x1b[31m \udcff & \"' ${x}"


def interval(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": max(value - half, -1.0), "high": min(value + half, 1.0)}


def times(rng: np.random.Generator, middle: float, count: int = 40) -> dict[str, Any]:
    raw = (middle * np.exp(rng.normal(0, 0.05, count))).round(4)
    figures = dict(zip(("p50", "p90", "p99"), np.percentile(raw, (50, 90, 99)).tolist(), strict=True))
    return {**figures, "min": raw.min(), "mean": float(raw.mean()), "samples": count, "raw": raw.tolist()}


def accuracy(rng: np.random.Generator, hits: float) -> dict[str, Any]:
    counts = np.stack(
        [
            rng.multinomial(40, np.full(7, (1 - hits) / 6) + np.eye(7)[place] * (hits - (1 - hits) / 6))
            for place in range(7)
        ]
    )
    recall = np.diag(counts) / 40
    told = np.maximum(counts.sum(0), 1)
    rows = {
        label: {
            "recall": recall[place],
            "precision": counts[place, place] / told[place],
            "f1": 2 * counts[place, place] / (40 + told[place]),
            "support": 40,
        }
        for place, label in enumerate(LABELS)
    }
    war = float(recall.mean())
    groups = {
        "gender": {
            name: {"samples": number, "war": war, "war_low": war - 0.06, "war_high": war + 0.05, "uar": war - 0.01}
            for name, number in (("female", 150), ("male", 117), ("unsure", 13))
        }
    }
    figures = {name: interval(war - less, 0.041) for name, less in (("war", 0), ("uar", 0.002), ("f1", 0.01))}
    text = {
        "samples": 28,
        "war": war - 0.05,
        "uar": war - 0.06,
        "named": 0.97,
        "war_scored": war,
        "same_as_scored": 0.9,
    }
    shares = {"ece": 0.034, "brier": 0.21, "nll": 0.48}
    return {**figures, **shares, "per_class": rows, "confusion": counts.tolist(), "text": text, "groups": groups}


def row(name: str, speed: float, hits: float, size: int, seed: int) -> dict[str, Any]:
    rng, reference = np.random.default_rng(seed), name == "reference"
    stages = {
        stage: times(rng, ms / (speed if stage not in ("decode", "detect", "crop") else 1))
        for stage, ms in STAGES.items()
    }
    if not reference:
        score = stages.pop("score")
        stages |= {"prefill": times(rng, 12 / speed), "score": score}
    latency = {
        "stages": stages,
        "total": times(rng, sum(one["p50"] for one in stages.values()) + 0.4),
        "warmup_rounds": 16,
        "stable": True,
        "cold_start": {"p50": 640.0, "min": 612.5, "raw": [612.5, 640.0, 655.1]},
        "throughput": {
            "1": {"faces_per_s": 20.0 * speed, "raw": [50.0]},
            "2": {"faces_per_s": 31.5 * speed, "raw": [63.0]},
        },
        "prompt_sweep": [{"tokens": tokens, "prefill_ms": times(rng, tokens / 9, 5)} for tokens in (32, 128)],
        "clip": times(rng, 90 / speed, 10),
        "written": {"label": times(rng, 60 / speed, 10), "first_token": times(rng, 48, 10), "per_token": None},
    }
    against = {
        "agreement": interval(0.985, 0.01),
        "delta_uar": interval(-0.004, 0.009),
        "mcnemar": {"p": 0.6875, "only_reference": 4, "only_this": 2},
        "kl_mean": 3.1e-4,
        "kl_p95": 1.6e-3,
    }
    return {
        "name": name,
        "kind": "reference" if reference else "profile",
        "device": "cpu",
        "variants": {"vision": "fp32" if reference else "fp16", "language": "float32" if reference else "q4_k_m"},
        "size_bytes": size,
        "unavailable": None,
        "accuracy": accuracy(rng, hits),
        "against_reference": None if reference else against,
        "gate": None if reference else {"passed": hits > 0.8, "text": "uar>=-0.01,kl<=0.01"},
        "latency": latency,
        "memory": {"peak_rss": 160_000_000 + size, "device": None},
        "energy": {"joules_per_reading": None, "source": None, "reason": "no counter of energy here"},
        "roofline": None
        if reference
        else {"vision": {"bytes": 2.9e7, "flops": 2.28e8, "floor_ms": 2.45, "share": 0.67}},
        "notes": [],
    }


def made_report() -> dict[str, Any]:
    """A report of nothing that was ever measured: numbers of a seeded generator in every place of the schema."""
    absent = dict.fromkeys(("accuracy", "against_reference", "gate", "latency", "roofline"))
    gone = {
        "name": "cuda",
        "kind": "profile",
        "device": None,
        "variants": {},
        "size_bytes": 31_000_000,
        "unavailable": "no CUDA device here",
        **absent,
        "memory": {"peak_rss": None, "device": None},
        "energy": {"joules_per_reading": None, "source": None, "reason": "not measured"},
        "notes": [],
    }
    state = {"load": [0.12, 0.2, 0.18], "mhz": 2596.1, "temperatures": {"x86_pkg_temp": 51.5}}
    return {
        "schema": 1,
        "command": "emo-edge bench made-up.bundle --dataset synthetic:280 --out made-up",
        "started": "2001-02-03T04:05:06+00:00",
        "seconds": 321.5,
        "synthetic": True,
        "bundle": {
            "name": "made-up",
            "manifest_sha256": "ab" * 32,
            "purpose": "a test of the report; no such bundle is there",
        },
        "checkpoint": {"name": "made-up-checkpoint", "weights_sha256": "cd" * 32},
        "machine": {
            "description": "made-up processor, 2 cores",
            "cpu": "made-up processor",
            "cores": 2,
            "memory": 16_000_000_000,
            "gpu": None,
            "system": "Linux",
            "governor": None,
            "power_mode": None,
            "versions": {"emo-edge": "0.1.0", "numpy": "2.0.0", "torch": None},
            "threads": {"onnxruntime": 2, "llama.cpp": None},
            "git": {"revision": "0" * 40, "dirty": False},
            "before": state,
            "after": {**state, "temperatures": {"x86_pkg_temp": 63.0}},
            "throttled": False,
            "busy": False,
            "busy_reason": None,
        },
        "dataset": {
            "spec": "synthetic:280",
            "split": "test",
            "fold": None,
            "name": "synthetic",
            "source": "no drawings: made up",
            "labels": LABELS,
            "samples": 280,
            "per_label": dict.fromkeys(LABELS, 40),
            "skipped": [{"key": "a.png", "reason": "not an image"}],
            "notes": ["a note on the data"],
        },
        "rows": [
            row("reference", 1.0, 0.90, 29_700_000, 1),
            row("exact", 1.4, 0.90, 24_000_000, 2),
            row("balanced", 1.9, 0.89, 12_800_000, 3),
            row("small", 2.1, 0.88, 11_400_000, 4),
            row("tiny", 2.6, 0.72, 6_100_000, 5),
            gone,
        ],
        "ceiling": {"copy_bytes_per_s": 2.1e10, "matmul_flops_per_s": 1.39e11, "dtype": "bfloat16"},
        "vs": {
            "command": "other {files}",
            "raw_ms": [900.0, 910.0],
            "ours_raw_ms": [700.0, 720.0],
            "ratio": {"value": 0.78, "low": 0.74, "high": 0.83},
        },
        "notes": ["intervals are 95 %"],
    }


class Page(HTMLParser):
    """What a browser and a screen reader find in the page; fails on a tag that closes another."""

    VOID = ("meta", "br", "rect", "line", "circle", "path", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[tuple[str, str]] = []
        self.words = ""
        self._open: list[str] = []
        self._place: tuple[str, int] | None = None
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in self.VOID:
            self._open.append(tag)
        if found.get("data-json") and "missing" not in (found.get("class") or ""):
            self._place = (str(found["data-json"]), len(self._open))
            self.figures.append((str(found["data-json"]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if self._place and len(self._open) < self._place[1]:
            self._place = None

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._place:
            self.figures[-1] = (self._place[0], self.figures[-1][1] + data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    # As the file holds it: numbers of numpy become plain ones.
    return dict(json.loads(json.dumps(made_report(), default=float)))


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> Page:
    return Page(html_from_report(report))


def at(report: Any, place: str) -> Any:
    for part in place.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        report = report[int(part)] if isinstance(report, list) else report[part]
    return report


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers_in(inner)]
    if isinstance(value, list):
        return [len(value), *(number for inner in value for number in numbers_in(inner))]
    return [float(value)] if isinstance(value, int | float) else []


def rounds_to(value: float, text: str) -> bool:
    digits = len(text.partition("e")[0].partition(".")[2])
    exponent = int(text.partition("e")[2] or 0)
    half = 0.5001 * 10.0 ** (exponent - digits)
    return any(abs(value * scale - float(text)) <= half for scale in (1, 100, 1e-3, 1e-6, 1e-9))


def test_every_figure_of_the_page_is_in_the_report(report: dict[str, Any], page: Page) -> None:
    assert len(page.figures) > 500
    for place, text in page.figures:
        known = at(report, place)
        plain = text.replace("−", "-")
        for number in re.findall(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)", plain):
            in_words = isinstance(known, str) and number in known
            assert in_words or any(rounds_to(value, number) for value in numbers_in(known)), (place, text)


def test_a_wrong_figure_would_be_found() -> None:
    assert rounds_to(0.8616, "86.2") and not rounds_to(0.8616, "86.1")
    assert rounds_to(3.14e-4, "3.1e-4") and not rounds_to(3.14e-4, "3.2e-4")
    assert rounds_to(29_700_000, "29.7") and not rounds_to(29_700_000, "29.6")


def test_the_bottom_line_is_of_one_device_and_a_quiet_machine(report: dict[str, Any]) -> None:
    assert str(bottom_line(checked_report(report))).startswith("Fastest row that passes its gate: small, ")
    for spoil in ("busy", "throttled"):
        spoilt = {**report, "machine": {**report["machine"], spoil: True}}
        assert bottom_line(checked_report(spoilt)) is None
    other = copy.deepcopy(report)
    other["rows"][3]["device"] = "cuda"
    assert str(bottom_line(checked_report(other))).startswith("Fastest row that passes its gate: balanced, ")
    told = "Full precision ran on cpu, small on cuda: times of different devices cannot be compared."
    assert told in [one.text for one in statements(checked_report(other)) if one.warns]
    assert told not in [one.text for one in statements(checked_report(report))]
    other["rows"][3]["device"] = "openvino"
    assert "Full precision ran on" not in str(list(statements(checked_report(other)))), "an engine of the same chip"


def test_a_machine_that_changed_while_a_row_was_timed_is_told(report: dict[str, Any]) -> None:
    other = copy.deepcopy(report)
    other["rows"][3]["latency"]["machine"] = {"p50": 4.0, "raw": [4.0] * 18 + [5.6] * 6}
    other["rows"][2]["latency"]["machine"] = {"p50": 4.0, "raw": [4.0] * 23 + [5.6]}
    told = [one.text for one in statements(checked_report(other)) if one.warns]
    small = (
        "The machine was up to 40 % slower than at its best while small was timed: measure again before you quote it."
    )
    assert [line for line in told if line.startswith("The machine was up to")] == [small]


def test_rows_are_ranked_without_the_detector(report: dict[str, Any]) -> None:
    other = copy.deepcopy(report)
    for place, ms in enumerate((20.0, 5.0, 7.0, 9.0, 3.0)):
        other["rows"][place]["latency"]["reading"] = {"p50": ms}
    line = str(bottom_line(checked_report(other)))
    assert line.startswith("Fastest row that passes its gate: exact, ")
    assert "without the detector 5.00 ms, compared with 20.0 ms of full precision" in line
    assert "| without detector, p50 ms |" in markdown_from_report(other)
    assert "| 5.00 |" in next(row for row in markdown_from_report(other).splitlines() if row.startswith("| exact |"))


def test_markdown_shows_the_same_tables(report: dict[str, Any], page: Page) -> None:
    shown = markdown_from_report(report)
    lines = shown.splitlines()
    rows = [line for line in lines if line.startswith("|") and not line.startswith("| ---")]
    outside = 5 * (1 + len(LABELS))
    assert len(rows) == len([tag for tag, _ in page.tags if tag == "tr"]) - outside
    first = report["rows"][1]
    assert f"| {first['latency']['total']['p50']:.1f} |" in next(line for line in lines if line.startswith("| exact |"))
    assert "| tiny | FAILED |" in shown and "*no CUDA device here*" not in shown
    assert "- cuda was not run: no CUDA device here" in lines
    assert f"```sh\n{report['command']}\n```" in shown
    assert "**Warning.** Synthetic data" in shown and "| a.png | not an image |" in shown


def test_the_page_needs_nothing_but_itself(report: dict[str, Any], page: Page) -> None:
    text = html_from_report(report)
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert re.findall(r"https?:|url\(|@import|src=", text) == []
    policy = next(one for one in page.all("meta") if one.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert {link["href"] for link in page.all("a") if not str(link["href"]).startswith("#")} == {"report.json"}


def test_a_screen_reader_finds_its_way(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    named = [name for _, attributes in page.tags for name in str(attributes.get("aria-labelledby") or "").split()]
    targets = [str(link["href"])[1:] for link in page.all("a") if str(link["href"]).startswith("#")]
    assert set(named) | set(targets) <= set(ids) and named and targets
    assert len(page.all("table")) == len(page.all("caption")) and len(page.all("h1")) == 1
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert all(one.get("tabindex") == "0" and one.get("aria-label") for one in page.all("div") if one.get("role"))
    assert len(page.all("svg")) == 2 and all(one.get("role") == "img" for one in page.all("svg"))
    assert len([tag for tag, _ in page.tags if tag == "desc"]) == 2
    assert page.all("html")[0]["lang"] == "en" and [one for one in page.all("meta") if one.get("name") == "viewport"]


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance, WCAG 2.2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


@pytest.mark.parametrize("colours", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_text_is_told_from_its_ground(colours: dict[str, str]) -> None:
    for ink in ("ink", "soft", "link", "bad", "good"):
        for ground in ("paper", "panel"):
            assert contrast(rgb(colours[ink]), rgb(colours[ground])) >= 4.5, (ink, ground)
    assert contrast(rgb(colours["ink"]), rgb(colours["warn"])) >= 4.5
    for hue in style.HUES:
        assert contrast(rgb(style.HUE_INK), rgb(hue)) >= 4.5
    pairs = zip(rgb(colours["accent"]), rgb(colours["paper"]), strict=True)
    fullest = tuple(style.TINT * over + (1 - style.TINT) * under for over, under in pairs)
    assert contrast(rgb(colours["ink"]), fullest) >= 4.5
    for line in ("accent", "other", "warn-line"):
        assert contrast(rgb(colours[line]), rgb(colours["paper"])) >= 3


def poisoned(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    """Put hostile words into every text and key that names something; the kinds of rows stay."""
    if isinstance(value, dict):
        free = path and path[-1] in (
            "per_label",
            "per_class",
            "stages",
            "variants",
            "versions",
            "threads",
            "groups",
            "gender",
            "temperatures",
            "roofline",
        )
        return {key + HOSTILE if free else key: poisoned(inner, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, (*path, place)) for place, inner in enumerate(value)]
    return value + HOSTILE if isinstance(value, str) and path[-1] != "kind" else value


def test_hostile_words_stay_words(report: dict[str, Any], page: Page) -> None:
    bad = poisoned(report)
    text = html_from_report(bad)
    found = Page(text)
    # Lines lead to names that found no room beside their points, which long ones do not.
    shapes = [
        [(tag, sorted(set(names) - {"class"})) for tag, names in one.tags if tag != "line"] for one in (found, page)
    ]
    assert shapes[0] == shapes[1]
    assert "<script>alert(1)</script>" in found.words
    shown = markdown_from_report(bad)
    for written in (text, shown):
        written.encode("utf-8")
        assert not re.search("[\x00-\x08\x1b\u202e\udcff]", written)
    outside = re.sub(r"^```sh\n.*?\n```$", "", shown, flags=re.M | re.S)
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(|^# \*\*b", outside, re.M)
    assert len(outside.splitlines()) == len(
        re.sub(r"^```sh\n.*?\n```$", "", markdown_from_report(report), flags=re.M | re.S).splitlines()
    )


def test_a_code_block_cannot_be_closed_from_inside(report: dict[str, Any]) -> None:
    shown = markdown_from_report({**report, "command": "bench '````\n# not a heading'"})
    assert "`````sh\nbench '````\n# not a heading'\n`````" in shown


def test_markdown_is_escaped() -> None:
    assert escaped("q4_k_m") == "q4_k_m"
    assert escaped("a|b\n# c _d_ <e> [f](g)") == r"a\|b \# c \_d\_ \<e\> \[f\](g)"


def test_trouble_is_told_first(report: dict[str, Any]) -> None:
    machine = {
        **report["machine"],
        "busy": True,
        "busy_reason": "load 2.31 at the start",
        "throttled": True,
        "git": {"revision": "ab", "dirty": True},
    }
    rows = [report["rows"][0], {**report["rows"][1], "latency": {**report["rows"][1]["latency"], "stable": False}}]
    shown = markdown_from_report({**report, "machine": machine, "rows": rows})
    told = shown.partition("## ")[0]
    for words in (
        "busy with other work: load 2.31 at the start",
        "The processor throttled during the run",
        "changes that are not committed",
        "The times of exact had not settled",
    ):
        assert f"{words}" in told, words
    calm = markdown_from_report({**report, "synthetic": False, "rows": report["rows"][:2]}).partition("## ")[0]
    assert "Warning" not in calm


def test_a_report_of_almost_nothing_has_a_page() -> None:
    bare = {
        "schema": 1,
        "command": "emo-edge bench b",
        "synthetic": False,
        "bundle": {"name": "b"},
        "machine": {"description": "m"},
        "dataset": {"name": "d", "labels": ["joy"], "samples": 1},
        "rows": [{"name": "reference", "kind": "reference", "unavailable": "torch is not installed", "accuracy": None}],
    }
    words = Page(html_from_report(bare)).words
    assert "no row has both" in words and "No row was timed." in words and "torch is not installed" in words
    assert "nan" not in words.lower() and "None" not in markdown_from_report(bare)


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(InputError, match=r"not a report of emo-edge bench"):
        markdown_from_report({"rows": []})


def test_the_front_of_the_drawing(report: dict[str, Any]) -> None:
    points = points_of(checked_report(report))
    assert [point.name for point in points] == ["full precision", "exact", "balanced", "small", "tiny"]
    best = front(points)
    assert best[0].name == "tiny" and [one.p50 for one in best] == sorted(one.p50 for one in best)
    for point in points:
        beaten = any(other.p50 <= point.p50 and other.uar.value > point.uar.value for other in points)
        assert beaten != (point in best)


def test_ticks() -> None:
    assert round_ticks(0.71, 0.96) == [0.75, 0.8, 0.85, 0.9, 0.95]
    assert round_ticks(0, 34) == [0, 10, 20, 30]
    assert log_ticks(3, 120) == [5, 10, 20, 50, 100]
    assert log_ticks(0.01, 1e6) == [10.0**power for power in range(-2, 7)]


def test_names_find_room_of_their_own() -> None:
    """Five points at one place: no name covers another, none leaves the drawing."""
    room = Box(0, 0, 600, 400)
    boxes = place_labels([60.0] * 5, [(300.0, 200.0, 12.0)] * 5, room)
    assert all(box.outside(room) == 0 for box in boxes)
    assert sum(one.overlap(other) for place, one in enumerate(boxes) for other in boxes[:place]) == 0


def test_bars_too_short_to_read_are_drawn_again(report: dict[str, Any]) -> None:
    slow = json.loads(json.dumps(report))
    assert enlarged(bars_of(checked_report(slow))) == []
    for times_of_stage in slow["rows"][0]["latency"]["stages"].values():
        times_of_stage["p50"] *= 10
    assert [bar.name for bar in enlarged(bars_of(checked_report(slow)))] == ["exact", "balanced", "small", "tiny"]
    assert len(Page(html_from_report(slow)).all("svg")) == 3
