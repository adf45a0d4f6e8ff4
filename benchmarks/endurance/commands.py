"""Commands that are killed: how each starts, and what it must leave behind, as digests that two runs share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge.benchmarks.endurance.cached_engines import engines_digest
from emo_edge.bundle.reader import Bundle
from emo_edge.console.children import code_command, module_command
from emo_edge.utils.files import sha256_of

OUT = "out"
"""Name of each command's output in its folder."""
MEASURED_TIMES = frozenset({"speed", "seconds", "started", "calibrated"})
"""Keys of a manifest whose values no two runs share."""
TIMED = "; compared with "
"""Beginning of the times of an INT8 graph in its line of the provenance."""

Digest = dict[str, str]
"""Hash, or value, by name."""
Words = Callable[[Path, Path], list[str]]
"""Returns a command's words from the folder of made inputs and the folder it runs in."""


@dataclass(frozen=True)
class KilledCommand:
    """A command of the program and its output."""

    words: Words
    digest: Callable[[Path], Digest]
    """Of a whole output; raises EmoEdgeError for half of one."""
    replaces: str | None = None
    """Name of the made input that the command replaces: its folder begins with a copy."""
    grows: bool = False
    """True where the output holds each part as soon as it is finished: a kill may leave some of them."""


def command_line(words: list[str]) -> list[str]:
    """Return the words that start ``emo-edge`` with this Python, without waiting for a quiet machine.

    ``engines`` is the building of `cached_engines` alone: without a GPU the command itself keeps none.
    """
    if words[0] == "engines":
        return module_command("emo_edge.benchmarks.endurance.cached_engines", *words[1:])
    start = (
        "from emo_edge.benchmarks.measure.reference_workload import Waiting\n" * (words[0] == "bench")
        + "from emo_edge.cli.app import main\n"
        + f"main({words!r}"
        + (", obj=Waiting(0, 0)" if words[0] == "bench" else "")
        + ")"
    )
    return code_command(start)


def folder_digest(folder: Path) -> Digest:
    """Hash every file of a checkpoint."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def bundle_digest(folder: Path) -> Digest:
    """Open a bundle, which verifies it; return its files and its manifest without times.

    Which profile takes an INT8 graph follows from its speed, so profiles are left out where there is one.
    """
    manifest = json.loads(Bundle.open(folder, use_cache=False).manifest.model_dump_json())
    plain = _without_times(manifest)
    plain["provenance"] = {name: text.partition(TIMED)[0] for name, text in manifest["provenance"].items()}
    if any("int8" in part["variants"] for part in manifest["components"].values() if part):
        plain = {name: value for name, value in plain.items() if name not in ("profiles", "default_profile")}
    return {**_hashes(manifest), "manifest": json.dumps(plain, sort_keys=True, allow_nan=False)}


def bench_digest(folder: Path) -> Digest:
    """Return the accuracy of each row of a finished report, and every sample's prediction."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rows = {
        f"row {row['name']}": json.dumps(row["accuracy"], sort_keys=True, allow_nan=False) for row in report["rows"]
    }
    return {**rows, "half written": str(sorted(path.name for path in folder.rglob("*.part")))}


def _hashes(manifest: Mapping[str, Any]) -> Digest:
    parts = [part for part in manifest["components"].values() if part]
    files = [file for part in parts for one in part["variants"].values() for file in one["files"]]
    return {file["path"]: file["sha256"] for file in files}


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(one) for name, one in value.items() if name not in MEASURED_TIMES}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def _export(made: Path, folder: Path) -> list[str]:
    small = ["--limit", "7", "--vision", "fp32", "--language", "f16,q4_k_m"]
    return ["export", str(made / "checkpoint"), "--out", str(folder / OUT), *small, "--threads", "1"]


def _calibrate(made: Path, folder: Path) -> list[str]:
    sizes = ["--collect", "16", "--measure", "22", "--sensitivity", "2", "--gate", "agreement>=0.5"]
    words = [
        "calibrate",
        str(folder / OUT),
        "--checkpoint",
        str(made / "checkpoint"),
        "--samples",
        str(made / "drawings.jsonl"),
    ]
    return [*words, *sizes, "--types", "q4_k_m", "--int8", "connector", "--threads", "1"]


def _bench(made: Path, folder: Path) -> list[str]:
    words = [
        "bench",
        str(made / "bundle"),
        "--checkpoint",
        str(made / "checkpoint"),
        "--dataset",
        str(made / "drawings.jsonl"),
    ]
    small = ["--profile", "exact", "--samples", "14", "--latency-rounds", "1", "--cold", "0", "--batch", "1"]
    return [*words, *small, "--no-generate", "--threads", "1", "--out", str(folder / OUT)]


def _import(made: Path, folder: Path) -> list[str]:
    return ["import", "facexformer", str(made / "face.pt"), "--out", str(folder / OUT)]


def _engines(made: Path, folder: Path) -> list[str]:
    return ["engines", str(made / "bundle"), str(folder / OUT)]


COMMANDS: Mapping[str, KilledCommand] = {
    "import": KilledCommand(_import, folder_digest),
    "export": KilledCommand(_export, bundle_digest),
    "calibrate": KilledCommand(_calibrate, bundle_digest, replaces="bundle"),
    "bench": KilledCommand(_bench, bench_digest),
    "engines": KilledCommand(_engines, engines_digest, grows=True),
}
