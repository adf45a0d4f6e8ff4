"""Read the packaged drawings on one device, in a process of its own: the child of ``emo-edge selftest``.

An engine that ends its process, or takes all memory, is a line of the report then.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from emo_edge.assets.packaged import packaged_samples
from emo_edge.console.commands import with_common_flags
from emo_edge.errors import EmoEdgeError
from emo_edge.runtimes.loading.device_choice import usable_devices
from emo_edge.utils.extras import failed_import

WARM_UP = 3


def read_drawings(bundle: Path, device: str, profile: str | None, samples: int, rounds: int) -> dict[str, Any]:
    """Open the bundle on ``device`` and read ``samples`` drawings, then ``rounds`` of them again for their times.

    Returns the label probabilities and poses by drawing, the milliseconds of each stage and round, the variants that
    ran, seconds to open, and the peak of resident memory in bytes.
    """
    from emo_edge.inference.pipeline import EmotionPipeline
    from emo_edge.inference.results import Request

    started = time.perf_counter()
    with EmotionPipeline.open(bundle, device=device, profile=profile) as pipeline:
        opened = time.perf_counter() - started
        sets = pipeline.manifest.label_sets
        request = Request(labels=next(iter(sets))) if sets else Request()
        drawings = [(one.name, one.image, one.box) for one in packaged_samples(samples)]

        def read(number: int) -> Any:
            name, image, box = drawings[number % len(drawings)]
            assert box is not None
            return name, pipeline.read(image, request, boxes=[box])[0]

        results = dict(read(number) for number in range(len(drawings)))
        for number in range(WARM_UP):
            read(number)
        times = [read(number)[1].stage_ms for number in range(rounds)]
        return {
            "device": pipeline.engines.device,
            "profile": pipeline.engines.profile_name,
            "variants": pipeline.engines.variants(),
            "open_seconds": round(opened, 3),
            "probabilities": {name: result.probabilities for name, result in results.items()},
            "pose": {name: result.face.pose_degrees for name, result in results.items() if result.face},
            "stage_ms": times,
            "peak_memory_bytes": _peak_memory(),
        }


def run_order(order: dict[str, Any]) -> dict[str, Any]:
    """Run what the parent ordered; whatever fails is ``problem`` of the answer."""
    try:
        usable_devices(order["device"], language=order["language"])
    except (EmoEdgeError, ImportError) as error:
        problem = with_common_flags(str(_with_command(error)))
        return {"absent": problem, "problem": problem}
    try:
        bundle = Path(order["bundle"])
        return read_drawings(bundle, order["device"], order["profile"], order["samples"], order["rounds"])
    except EmoEdgeError as error:
        return {"problem": with_common_flags(str(error)), "exit_code": error.exit_code}
    except Exception as error:
        # The report matters most where something unforeseen breaks.
        return {"problem": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}


def _with_command(error: EmoEdgeError | ImportError) -> Exception:
    """Replace a failed import by the error that names the command which mends it."""
    if isinstance(error, ImportError):
        with suppress(ImportError):
            return failed_import(error)
    return error


def main() -> None:
    """Read the order on stdin, print the answer as the last line of stdout."""
    order = json.loads(sys.stdin.read())
    messages: list[str] = []
    handler = _Messages(messages)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    print("\n" + json.dumps(run_order(order) | {"log": messages}, allow_nan=False))


class _Messages(logging.Handler):
    """Collects log messages."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


def _peak_memory() -> int | None:
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


if __name__ == "__main__":
    main()
