"""What a bundle and its peers took, side by side: ratios with intervals, targets, and the floor of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emo_edge.benchmarks.measure.roofline import Ceiling
from emo_edge.benchmarks.measure.versus import ratio_of
from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.bundle.model_shape import LanguageShape

OURS = "emo-edge"
PEERS = {
    "torch": "PyTorch eager bf16, generate",
    "mtmd": "llama-mtmd-cli, LLaVA-1.5's image tower",
    "bench": "llama-bench",
    "openvino": "OpenVINO's own defaults",
    "optimum": "optimum's ORTModelForCustomTasks",
}


@dataclass(frozen=True)
class Target:
    """What we aim at: their median over ours is at least ``least``."""

    section: str
    stage: str
    peer: str
    least: float


TARGETS = (
    Target("frame to label", "label", PEERS["torch"], 3.0),
    Target("frame to label", "label", PEERS["mtmd"], 8.0),
    Target("language", "prefill", PEERS["bench"], 0.98),
    Target("language", "decode", PEERS["bench"], 0.98),
    *(Target("vision", "vision", peer, 1.0) for peer in ("PyTorch eager bf16", PEERS["openvino"], PEERS["optimum"])),
)
OUTSIDE = 0.05
"""Share of a reading that may pass outside the engines."""


@dataclass(frozen=True)
class Row:
    """What one side took in one stage, call by call, or why it was not measured."""

    section: str
    stage: str
    side: str
    ms: tuple[float, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def as_json(
    rows: Sequence[Row], header: GgufHeader, ceiling: Ceiling, machine: Mapping[str, Any], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Put rows, ratios, targets and floors together.

    Args:
        rows: of every section.
        header: of the language model's file.
        ceiling: of this machine.
        machine: as a benchmark's report has it.
        plan: what was asked, ``prompt`` among it.
    """
    shown = [
        {
            "section": row.section,
            "stage": row.stage,
            "side": row.side,
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
            "copy_gb_per_s": round(ceiling.copy_bytes_per_s / 1e9, 1),
            "matmul_gflop_per_s": round(ceiling.matmul_flops_per_s / 1e9, 1),
            "dtype": ceiling.dtype,
        },
        "floor_ms": _floors(header, ceiling, int(plan["prompt"])),
        "rows": shown,
        "targets": [judged for target in TARGETS if (judged := _judged(target, rows))],
    }


def table(found: Mapping[str, Any]) -> str:
    """Write what `as_json` returned as Markdown."""
    lines = [
        "| section | stage | side | ms, median (least–most) | calls | theirs / ours (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        if not row["problem"]:
            ms = row["ms"]
            spread = f"{np.median(ms):.1f} ({min(ms):.1f}–{max(ms):.1f})"
            stage = f"| {row['section']} | {row['stage']} | {row['side']} | {spread} | {len(ms)} "
            lines.append(f"{stage}| {_interval(row.get('ratio'))} |")
    lines += ["", "Targets:", "", *(f"- {_told(target)}" for target in found["targets"])]
    lines += [f"- outside the engines at most {OUTSIDE:.0%} of a reading: {_outside(found['rows'])}"]
    ceiling, floor, prompt = found["ceiling"], found["floor_ms"], found["plan"]["prompt"]
    lines += [
        "",
        f"The roofline's floor: copies reach {ceiling['copy_gb_per_s']} GB/s and {ceiling['dtype']} products "
        f"{ceiling['matmul_gflop_per_s']} GFLOP/s through PyTorch. At these rates {prompt} tokens of a prompt take "
        f"{floor['prefill']:.0f} ms and a token of an answer {floor['decode']:.1f} ms; llama.cpp multiplies integers, "
        "and reading without writing is faster than copying, so that it can be below.",
    ]
    lines += [
        f"- {row['side']} ({row['section']}): not measured: {row['problem']}" for row in found["rows"] if row["problem"]
    ]
    plan, machine = found["plan"], found["machine"]
    asked = ", ".join(f"{name} {value}" for name, value in plan.items())
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    busy = f"; BUSY: {machine['busy_reason']}" if machine["busy"] else ""
    return "\n".join([*lines, "", f"{asked}.", "", f"{machine['cpu']}, {machine['cores']} cores, {versions}{busy}"])


def _ours(rows: Sequence[Row], section: str, stage: str) -> Row | None:
    """Return the fastest of our rows of a stage."""
    own = [row for row in rows if (row.section, row.stage) == (section, stage) and row.side.startswith(OURS)]
    return min((row for row in own if row.ms), key=lambda row: float(np.median(row.ms)), default=None)


def _ratio(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    ours = _ours(rows, row.section, row.stage)
    if ours is None or not row.ms or row.side.startswith(OURS):
        return {}
    return {"ratio": ratio_of(row.ms, ours.ms)}


def _judged(target: Target, rows: Sequence[Row]) -> dict[str, Any] | None:
    peer = next(
        (
            row
            for row in rows
            if (row.section, row.stage, row.side) == (target.section, target.stage, target.peer) and row.ms
        ),
        None,
    )
    found = _ratio(peer, rows) if peer else {}
    if not found:
        return None
    ratio = found["ratio"]
    return {
        "stage": target.stage,
        "peer": target.peer,
        "least": target.least,
        "ratio": ratio,
        "reached": ratio["value"] >= target.least,
    }


def _floors(header: GgufHeader, ceiling: Ceiling, prompt: int) -> dict[str, float]:
    """Milliseconds that the language model's products and bytes take at this machine's rates."""
    shape: LanguageShape = header.shape()
    layers = shape.layers * shape.layer_parameters
    flops = 2.0 * (prompt * layers + shape.output_parameters)
    read = header.layer_bytes * shape.layers + header.output_bytes
    return {
        "prefill": 1000 * max(flops / ceiling.matmul_flops_per_s, read / ceiling.copy_bytes_per_s),
        "decode": 1000 * read / ceiling.copy_bytes_per_s,
    }


def _interval(ratio: Mapping[str, float] | None) -> str:
    return f"{ratio['value']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" if ratio else ""


def _told(target: Mapping[str, Any]) -> str:
    wanted = f"{target['stage']} beside {target['peer']}, at least {target['least']}"
    return f"{wanted}: {_interval(target['ratio'])}, {'reached' if target['reached'] else 'NOT reached'}"


def _outside(rows: Sequence[Mapping[str, Any]]) -> str:
    shares = [row["facts"]["outside"] for row in rows if "outside" in row["facts"]]
    if not shares:
        return "not measured"
    return f"{shares[0]:.2%}, {'reached' if shares[0] <= OUTSIDE else 'NOT reached'}"
