"""Rates of a roofline: the faster type counts, and a hopeless one is not measured at full size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from emo_edge.benchmarks.measure import roofline


@pytest.mark.parametrize(("bfloat16_ms", "dtype", "measured"), [(400.0, "float32", False), (0.5, "bfloat16", True)])
def test_a_type_that_is_much_slower_is_tried_once(
    monkeypatch: pytest.MonkeyPatch, bfloat16_ms: float, dtype: str, measured: bool
) -> None:
    sides: list[int] = []

    def timed(call: Any) -> float:
        if call.func is not torch.mm or call.args[0].dtype != torch.bfloat16:
            return 1.0
        sides.append(call.args[0].shape[0])
        return bfloat16_ms

    monkeypatch.setattr(roofline, "SIDE", 64)
    monkeypatch.setattr(roofline, "TRIED_SIDE", 16)
    monkeypatch.setattr(roofline, "COPIED", 1 << 10)
    monkeypatch.setattr(roofline, "timed_ms", timed)
    found = roofline.measure_roofline(1)
    assert (found.dtype, 64 in sides) == (dtype, measured)
    assert found.matmul_flops_per_s == pytest.approx(1000 * 2 * 64**3 / min(bfloat16_ms, 1.0))


def test_real_rates_are_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "COPIED", 1 << 20)
    monkeypatch.setattr(roofline, "SIDE", 128)
    found = roofline.measure_roofline(1)
    assert found.copy_bytes_per_s > 0 and found.matmul_flops_per_s > 0
