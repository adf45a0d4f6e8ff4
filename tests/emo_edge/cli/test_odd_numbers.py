"""Numbers that are none, or too large or small for one: refused with one line, or harmless."""

from __future__ import annotations

import math
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.cli.app import main
from emo_edge.errors import InputError
from emo_edge.inference.results import ClipSampling
from emo_edge.metrics.gates import Gate
from emo_edge.planning.capacity_plan import PlanRequest
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.utils.byte_sizes import size_of

NINES = "9" * 400
ODD = (math.nan, math.inf, -math.inf, -1.0)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--max-latency-ms", "nan"], 4),
        (["--max-latency-ms", "inf"], 4),
        (["--max-latency-ms", "0"], 2),
        (["--max-memory", NINES], 4),
        (["--max-memory", f"{NINES}GB"], 4),
        (["--max-memory", "nan"], 4),
        (["--max-latency-ms", "1e-320"], 6),
    ],
)
def test_limits_of_a_plan(words: list[str], code: int) -> None:
    result = CliRunner().invoke(main, ["plan", "emo-tiny", "--device", "thor", "--json", *words])
    assert result.exit_code == code, result.output
    assert "NaN" not in result.stdout and "Infinity" not in result.stdout
    assert "Error: " in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(
    ("kind", "name"),
    [(Sampling, "temperature"), (Sampling, "top_p"), (ClipSampling, "fps"), (PlanRequest, "max_memory")],
)
def test_a_field_that_is_no_usable_number_is_refused(kind: Any, name: str, value: float) -> None:
    with pytest.raises(InputError):
        kind(**{name: value})


def test_a_gate_that_nothing_could_miss_is_refused() -> None:
    with pytest.raises(InputError, match="a gate reads like"):
        Gate.parse(f"kl<={NINES}")


@pytest.mark.parametrize(("text", "size"), [("4.5MB", 4_500_000), ("4611686018427387904", 1 << 62)])
def test_sizes_up_to_the_largest(text: str, size: int) -> None:
    assert size_of(text) == size
    with pytest.raises(InputError, match="a size reads like"):
        size_of(text + "0" * 20 + "GB")
