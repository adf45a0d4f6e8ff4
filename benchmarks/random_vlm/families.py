"""Families of VLMs at toy size, each in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from emo_edge.benchmarks.random_vlm.files import RandomVlm
from emo_edge.benchmarks.random_vlm.gemma3 import gemma3
from emo_edge.benchmarks.random_vlm.internvl import internvl
from emo_edge.benchmarks.random_vlm.llava import llava
from emo_edge.benchmarks.random_vlm.qwen2_vl import qwen2_vl
from emo_edge.benchmarks.random_vlm.smolvlm import smolvlm

FAMILIES: Mapping[str, Callable[[int], RandomVlm]] = {
    "llava": llava,
    "qwen2-vl": qwen2_vl,
    "smolvlm": smolvlm,
    "internvl": internvl,
    "gemma3": gemma3,
}
"""By name."""


def random_vlm(family: str, seed: int = 0) -> RandomVlm:
    """Return a random model of a family of `FAMILIES`, the same for every seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[family](seed)
