"""Times of a bundle and its peers: ratios with intervals, targets, and the floor of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emo_edge.benchmarks.measure.roofline import Roofline
from emo_edge.benchmarks.measure.versus import ratio_of
from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.bundle.model_shape import LanguageShape

OURS = "emo-edge"
UNCACHED = f"{OURS}, every position computed"
"""Ours without the question cache."""
LABEL = "frame to label"
FACES = 4
FOUR_FACES = f"frame to {FACES} labels, a face"
"""Sections of readings."""
PEERS = {
    "torch": "PyTorch eager bf16, generate",
    "kept": "PyTorch eager bf16, text in front of the face kept",
    "mtmd": "llama-mtmd-cli, LLaVA-1.5's image tower",
    "bench": "llama-bench",
    "openvino": "OpenVINO's own defaults",
    "openvino-own": "OpenVINO's own defaults, our int8 graph",
    "optimum": "optimum's ORTModelForCustomTasks",
}


@dataclass(frozen=True)
class Target:
    """A goal: their median over ours is at least ``least``."""

    section: str
    stage: str
    peer: str
    least: float


TARGETS = (
    Target(LABEL, "label", PEERS["torch"], 4.0),
    Target(LABEL, "label", PEERS["mtmd"], 12.0),
    Target(FOUR_FACES, "label", PEERS["torch"], 6.0),
    Target("language", "prefill", PEERS["bench"], 0.98),
    Target("language", "decode", PEERS["bench"], 0.98),
    *(Target("vision", "vision", peer, 1.0) for peer in ("PyTorch eager bf16", PEERS["openvino"], PEERS["optimum"])),
)
OUTSIDE = 0.05
"""Fraction of a reading's time that may pass outside the engines."""


@dataclass(frozen=True)
class Row:
    """Times of one contender in one stage, call by call, or the reason why it was not measured."""

    section: str
    stage: str
    contender: str
    ms: tuple[float, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def as_json(
    rows: Sequence[Row], header: GgufHeader, roofline: Roofline, machine: Mapping[str, Any], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Put rows, ratios, targets and floors together.

    Args:
        rows: of every section.
        header: of the language model's file.
        roofline: of this machine.
        machine: as a benchmark's report has it.
        plan: settings of the measurement, ``prompt`` among them.
    """
    shown = [
        {
            "section": row.section,
            "stage": row.stage,
            "side": row.contender,
            "ms": [round(value, 3) for value in row.ms],
            "facts": dict(row.facts),
            "problem": row.problem,
            **_ratio(row, rows),
        }
        for row in rows
    ]
    return {
        "plan": dict(plan),
        "machine": dict(machine),
        "ceiling": {
            "copy_gb_per_s": round(roofline.copy_bytes_per_s / 1e9, 1),
            "matmul_gflop_per_s": round(roofline.matmul_flops_per_s / 1e9, 1),
            "dtype": roofline.dtype,
        },
        "floor_ms": _floors(header, roofline, int(plan["prompt"])),
        "rows": shown,
        "targets": [reached for target in TARGETS if (reached := _target_row(target, rows))],
    }


def table(content: Mapping[str, Any]) -> str:
    """Write the content that `as_json` returns as Markdown."""
    lines = [
        "| section | stage | side | ms, median (least–most) | calls | theirs / ours (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        if not row["problem"]:
            ms = row["ms"]
            spread = f"{np.median(ms):.1f} ({min(ms):.1f}–{max(ms):.1f})"
            stage = f"| {row['section']} | {row['stage']} | {row['side']} | {spread} | {len(ms)} "
            lines.append(f"{stage}| {_interval(row.get('ratio'))} |")
    lines += ["", "Targets:", "", *(f"- {_target_text(target)}" for target in content["targets"])]
    lines += [f"- outside the engines at most {OUTSIDE:.0%} of a reading: {_outside(content['rows'])}"]
    roofline, floor, prompt = content["ceiling"], content["floor_ms"], content["plan"]["prompt"]
    lines += [
        "",
        f"The roofline's floor: copies reach {roofline['copy_gb_per_s']} GB/s and {roofline['dtype']} products "
        f"{roofline['matmul_gflop_per_s']} GFLOP/s through PyTorch. At these rates {prompt} tokens of a prompt take "
        f"{floor['prefill']:.0f} ms and a token of an answer {floor['decode']:.1f} ms; llama.cpp multiplies integers, "
        "and reading without writing is faster than copying, so that it can be below.",
    ]
    lines += [
        f"- {row['side']} ({row['section']}): not measured: {row['problem']}"
        for row in content["rows"]
        if row["problem"]
    ]
    lines += _stage_lines(content.get("stages", {}))
    plan, machine = content["plan"], content["machine"]
    asked = ", ".join(f"{name} {_shown(value)}" for name, value in plan.items())
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    busy = f"; BUSY: {machine['busy_reason']}" if machine["busy"] else ""
    return "\n".join([*lines, "", f"{asked}.", "", f"{machine['cpu']}, {machine['cores']} cores, {versions}{busy}"])


def _shown(value: Any) -> str:
    """Write a setting as text; several numbers are a tuple before they are kept as JSON, and a list afterwards."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _stage_lines(stages: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Write the stages of our label of one face as a table."""
    if not stages:
        return []
    rows = [
        f"| {name} | {stage['ms']:.1f} | {stage['bytes'] / 1e6:.1f} | {stage['flops'] / 1e9:.2f} "
        f"| {stage['floor_ms']:.1f} | {stage['share']:.0%} |"
        for name, stage in stages.items()
    ]
    head = "| stage of our label, one face | ms, median | MB read and written | GFLOP | floor, ms | floor / time |"
    return ["", head, "|---|---|---|---|---|---|", *rows]


def _ours(rows: Sequence[Row], section: str, stage: str) -> Row | None:
    """Return the fastest of our rows of a stage."""
    own = [row for row in rows if (row.section, row.stage) == (section, stage) and row.contender.startswith(OURS)]
    return min((row for row in own if row.ms), key=lambda row: float(np.median(row.ms)), default=None)


def _ratio(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    ours = _ours(rows, row.section, row.stage)
    if ours is None or not row.ms or row.contender.startswith(OURS):
        return {}
    return {"ratio": ratio_of(row.ms, ours.ms)}


def _target_row(target: Target, rows: Sequence[Row]) -> dict[str, Any] | None:
    peer = next(
        (
            row
            for row in rows
            if (row.section, row.stage, row.contender) == (target.section, target.stage, target.peer) and row.ms
        ),
        None,
    )
    compared = _ratio(peer, rows) if peer else {}
    if not compared:
        return None
    ratio = compared["ratio"]
    return {
        "section": target.section,
        "stage": target.stage,
        "peer": target.peer,
        "least": target.least,
        "ratio": ratio,
        "reached": ratio["value"] >= target.least,
    }


def _floors(header: GgufHeader, roofline: Roofline, prompt: int) -> dict[str, float]:
    """Milliseconds that the language model's products and bytes take at this machine's rates."""
    shape: LanguageShape = header.shape()
    layers = shape.layers * shape.layer_parameters
    flops = 2.0 * (prompt * layers + shape.output_parameters)
    read = header.layer_bytes * shape.layers + header.output_bytes
    return {
        "prefill": 1000 * max(flops / roofline.matmul_flops_per_s, read / roofline.copy_bytes_per_s),
        "decode": 1000 * read / roofline.copy_bytes_per_s,
    }


def _interval(ratio: Mapping[str, float] | None) -> str:
    return f"{ratio['value']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" if ratio else ""


def _target_text(target: Mapping[str, Any]) -> str:
    goal = f"{target['section']}, {target['stage']} beside {target['peer']}, at least {target['least']}"
    return f"{goal}: {_interval(target['ratio'])}, {'reached' if target['reached'] else 'NOT reached'}"


def _outside(rows: Sequence[Mapping[str, Any]]) -> str:
    fractions = [row["facts"]["outside"] for row in rows if "outside" in row["facts"]]
    if not fractions:
        return "not measured"
    return f"{fractions[0]:.2%}, {'reached' if fractions[0] <= OUTSIDE else 'NOT reached'}"
