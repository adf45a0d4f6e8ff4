"""What the collector counts, against sums taken by hand; a stopped collection goes on to the same result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.imatrix_file import Imatrix
from emo_edge.calibration.language.imatrix import ImportanceCollector, collected_in_parts
from emo_edge.errors import InputError
from emo_edge.export.reference.answers import answered_prompts
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["rafdb7"]


def read_by(language: Any, module: str, row: Tensor) -> Tensor:
    """What one module reads of one unpadded row [P, E]: [P, columns]."""
    seen: list[Tensor] = []
    hook = language.get_submodule(module).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        language.model(inputs_embeds=row[None])
    finally:
        hook.remove()
    return seen[0][0]


@pytest.fixture
def rows(toy_model: Any) -> Iterator[tuple[list[Tensor], list[list[int]]]]:
    with torch.inference_mode():
        asked = answered_prompts(toy_model, packaged_samples(2), LABELS)
        yield asked.prompts, asked.answers


def test_sums_are_those_of_each_row_alone(toy_model: Any, rows: tuple[list[Tensor], list[list[int]]]) -> None:
    prompts, answers = rows
    assert len({len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)}) > 1, "padding"
    collector, language = ImportanceCollector(toy_model.language), toy_model.language
    collector.add(prompts, answers)
    found = collector.imatrix("two drawings")
    embed = language.get_input_embeddings()
    whole = [torch.cat([prompt, embed(torch.tensor(answer))]) for prompt, answer in zip(prompts, answers, strict=True)]
    for module, name in (
        ("model.layers.0.self_attn.q_proj", "blk.0.attn_q.weight"),
        ("model.layers.1.self_attn.o_proj", "blk.1.attn_output.weight"),
        ("model.layers.1.mlp.down_proj", "blk.1.ffn_down.weight"),
    ):
        expected = sum(read_by(language, module, row).square().sum(0) for row in whole)
        np.testing.assert_allclose(found.sums[name], expected, rtol=1e-4)
        assert found.counts[name] == sum(len(row) for row in whole)
    assert (found.prompts, found.datasets) == (4, ("two drawings",))


def test_every_matrix_of_the_layers_is_counted(toy_model: Any, rows: tuple[list[Tensor], list[list[int]]]) -> None:
    collector = ImportanceCollector(toy_model.language)
    collector.add(*rows)
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    layers = toy_model.config.language.num_hidden_layers
    expected = {f"blk.{layer}.{part}.weight" for layer in range(layers) for part in parts}
    assert collector.imatrix("x").sums.keys() == expected


def test_a_forward_pass_of_somebody_else_is_not_counted(
    toy_model: Any, rows: tuple[list[Tensor], list[list[int]]]
) -> None:
    collector = ImportanceCollector(toy_model.language)
    collector.add(*rows)
    before = dict(collector.imatrix("x").counts)
    toy_model.language.model(inputs_embeds=rows[0][0][None])
    assert collector.imatrix("x").counts == before


def test_frames_change_the_statistics(toy_model: Any) -> None:
    found = []
    for visual in (True, False):
        collector = ImportanceCollector(toy_model.language)
        asked = answered_prompts(toy_model, packaged_samples(2), LABELS, visual=visual)
        collector.add(asked.prompts, asked.answers)
        found.append(collector.imatrix("x"))
    name, visual = "blk.0.attn_q.weight", toy_model.config.visual_tokens_per_frame
    frames = visual + toy_model.config.face_tokens_per_frame
    assert found[0].counts[name] - found[1].counts[name] == 4 * frames, "two questions about two pictures"


def test_inputs_that_are_not_finite_are_named(toy_model: Any, rows: tuple[list[Tensor], list[list[int]]]) -> None:
    prompts, answers = rows
    broken = [prompt.clone() for prompt in prompts]
    broken[0][3, 5] = torch.inf
    with pytest.raises(InputError, match=r"what blk.0.attn_q.weight reads is not finite"):
        ImportanceCollector(toy_model.language).add(broken, answers)
    assert not toy_model.language.model.layers[0].self_attn.q_proj._forward_pre_hooks, "no hook is left behind"


def test_nothing_collected_is_an_error(toy_model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one sample"):
        ImportanceCollector(toy_model.language).imatrix("x")
    with pytest.raises(InputError, match="at least one"):
        collected_in_parts([], tmp_path, lambda part: pytest.fail(part))


def test_a_stopped_collection_goes_on_to_the_same_result(tmp_path: Path) -> None:
    def collect(part: str) -> Imatrix:
        asked.append(part)
        if len(asked) == stop:
            raise KeyboardInterrupt
        row = np.random.default_rng(int(part)).random(8, np.float32)
        return Imatrix({"blk.0.attn_q.weight": row}, {"blk.0.attn_q.weight": 7}, 1, (part,))

    parts, asked, stop = ["0", "1", "2", "3"], list[str](), 3
    with pytest.raises(KeyboardInterrupt):
        collected_in_parts(parts, tmp_path / "stopped", collect)
    stop = 0
    resumed = collected_in_parts(parts, tmp_path / "stopped", collect)
    assert asked == ["0", "1", "2", "2", "3"]
    at_once = collected_in_parts(parts, tmp_path / "at-once", collect)
    np.testing.assert_array_equal(resumed.sums["blk.0.attn_q.weight"], at_once.sums["blk.0.attn_q.weight"])
    assert (resumed.counts, resumed.prompts, resumed.datasets) == ({"blk.0.attn_q.weight": 28}, 4, tuple(parts))
