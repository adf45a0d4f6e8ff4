"""Work of a fresh process of a benchmark: import, open, first reading; then more, for its peak of memory.

``python -m emo_edge.benchmarks.measure.cold_start_worker SPEC`` prints one JSON object a line: times of the
first reading when it is there, and memory at the end. The parent is `emo_edge.benchmarks.measure.cold_start`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from emo_edge.runtimes.base.device_names import GPU_DEVICES
from emo_edge.utils.processes import TOOL_SECONDS, read_text, run_bounded


def main(spec: dict[str, Any]) -> None:
    """Open and read as ``spec`` says, which `cold_start.cold_starts` writes."""
    started = time.perf_counter()
    from emo_edge.benchmarks.workload.images import LatencyImage
    from emo_edge.benchmarks.workload.open import TargetOptions, open_target, with_uncached
    from emo_edge.bundle.reader import Bundle

    images = [LatencyImage(Path(path), tuple(box) if box else None) for path, box in spec["images"]]
    imported = time.perf_counter()
    bundle = with_uncached(Bundle.open(spec["bundle"]))
    target = open_target(bundle, spec["name"], TargetOptions.from_json(spec["opened_with"]))
    opened = time.perf_counter()
    target.read([images[0].frame()], clip=False)
    read = time.perf_counter()
    _print({"import_ms": imported - started, "open_ms": opened - imported, "read_ms": read - opened}, 1000)
    for image in images[1:]:
        target.read([image.frame()], clip=False)
    if spec["writes"]:
        target.write([images[0].frame()], None, clip=False)
    _print({"peak_rss": peak_rss(), "device": device_memory() if target.device in GPU_DEVICES else None})
    target.close()


def peak_rss() -> int | None:
    """Largest resident memory of this process in bytes; None where the system does not report it."""
    lines = read_text(Path("/proc/self/status")).splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def device_memory() -> int | None:
    """Bytes of the card that this process holds, from nvidia-smi; None where it does not report them."""
    command = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    rows = [line.split(",") for line in run_bounded(command, TOOL_SECONDS).output.splitlines()]
    own = [row[1].strip() for row in rows if len(row) == 2 and row[0].strip() == str(os.getpid())]
    return int(own[0]) << 20 if own and own[0].isdecimal() else None


def _print(values: dict[str, Any], factor: float = 1) -> None:
    print(
        json.dumps(
            {name: value if value is None else value * factor for name, value in values.items()}, allow_nan=False
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
