"""Statistics of matrices of experts: those of each expert, as transformers gives the tokens to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from emo_edge.bundle.imatrix_file import Imatrix, read_imatrix, write_imatrix
from emo_edge.errors import InputError
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.runtimes.llama_cpp.admitted import admit
from emo_edge.runtimes.llama_cpp.matmul_inputs import MatmulInputs
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from tests.random_experts import EXPERTS, USED, random_experts

PROMPTS = ([3, 17, 42, 5, 99, 120, 7], [8, 300, 11])
PARTS = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}
TOKENS = sum(map(len, PROMPTS))


@pytest.fixture(scope="module")
def model(made_once: Callable[..., Path]) -> tuple[Any, Path]:
    found: list[Any] = []

    def write(folder: Path) -> None:
        folder.mkdir()
        found.append(random_experts(folder / "model.gguf"))

    path = made_once("random-experts", write) / "model.gguf"
    return found[0] if found else random_experts(path.with_name("again.gguf")), path


@pytest.fixture(scope="module")
def observed(model: tuple[Any, Path]) -> MatmulInputs:
    observer = MatmulInputs()
    admit(model[1])
    with LlamaSession(model[1], context_size=64, exact_cache=True, threads=1, observer=observer) as language:
        observer.recording = True
        for prompt in PROMPTS:
            language.prefill([prompt])
    observer.require_sound()
    return observer


def test_sums_and_counts_of_each_expert_equal_transformers(model: tuple[Any, Path], observed: MatmulInputs) -> None:
    expected, counts = expert_inputs(model[0])
    for name, sums in expected.items():
        assert observed.counts[name] == tuple(counts[name])
        np.testing.assert_allclose(observed.sums[name], sums, rtol=2e-3, atol=1e-5)
    assert observed.counts["blk.0.attn_q.weight"] == observed.counts["blk.0.ffn_gate_inp.weight"] == TOKENS
    assert sum(counts["blk.0.ffn_up_exps.weight"]) == TOKENS * USED


def expert_inputs(model: Any) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """Sum up in NumPy what each expert's layers get."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, list[int]] = {}
    handles = []
    for index, layer in enumerate(model.model.layers):
        for expert, module in enumerate(layer.mlp.experts):
            for own, stored in PARTS.items():
                name, matrix = f"blk.{index}.{stored}.weight", module.get_submodule(own)
                sums.setdefault(name, np.zeros((EXPERTS, matrix.in_features)))
                counts.setdefault(name, [0] * EXPERTS)

                def hook(_: Any, inputs: Any, name: str = name, expert: int = expert) -> None:
                    rows = inputs[0].detach().double().numpy().reshape(-1, inputs[0].shape[-1])
                    sums[name][expert] += (rows**2).sum(0)
                    counts[name][expert] += len(rows)

                handles.append(matrix.register_forward_pre_hook(hook))
    with torch.no_grad():
        for prompt in PROMPTS:
            model(input_ids=torch.tensor([prompt]))
    for handle in handles:
        handle.remove()
    return sums, counts


@pytest.fixture(scope="module")
def statistics(observed: MatmulInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sums = {name: np.asarray(row, np.float32) for name, row in observed.sums.items()}
    path = tmp_path_factory.mktemp("experts") / "imatrix.gguf"
    write_imatrix(Imatrix(sums, observed.counts, len(PROMPTS), ("tokens",)), path)
    return path


def test_a_file_of_experts_has_llama_cpps_form_and_is_read_as_written(observed: MatmulInputs, statistics: Path) -> None:
    shapes = {tensor.name: tensor.shape.tolist() for tensor in gguf.GGUFReader(statistics).tensors}
    assert shapes["blk.1.ffn_down_exps.weight.in_sum2"] == [256, EXPERTS]
    assert shapes["blk.1.ffn_down_exps.weight.counts"] == [1, EXPERTS]
    found = read_imatrix(statistics)
    assert found.counts == observed.counts
    both = found.merged(found)
    assert both.counts["blk.0.ffn_up_exps.weight"] == tuple(
        2 * count for count in np.atleast_1d(observed.counts["blk.0.ffn_up_exps.weight"]).tolist()
    )


def test_an_expert_without_tokens_is_weighed_evenly() -> None:
    name, row = "blk.0.ffn_up_exps.weight", np.array([[8, 4], [0, 0]], np.float32)
    np.testing.assert_array_equal(Imatrix({name: row}, {name: (4, 0)}, 1, ()).means(name), [[2, 1], [1, 1]])


@pytest.mark.parametrize("counts", [(1, 2), (-1, 2, 3), (0, 0, 0)])
def test_counts_that_are_not_those_of_the_experts_are_refused(tmp_path: Path, counts: tuple[int, ...]) -> None:
    name, row = "blk.0.ffn_up_exps.weight", np.ones((3, 4), np.float32)
    write_imatrix(Imatrix({name: row}, {name: counts}, 1, ()), tmp_path / "a.gguf")
    with pytest.raises(InputError, match=r"more than matrices|of no tokens"):
        read_imatrix(tmp_path / "a.gguf")


@pytest.mark.parametrize("file_type", ["q4_k_m", pytest.param("iq3_xxs", marks=pytest.mark.slow)])
def test_experts_are_quantized_with_their_own_statistics(
    model: tuple[Any, Path], statistics: Path, tmp_path: Path, file_type: str
) -> None:
    made, even = tmp_path / "made.gguf", tmp_path / "even.gguf"
    found = read_imatrix(statistics)
    ones = {name: np.ones_like(row) for name, row in found.sums.items()}
    write_imatrix(Imatrix(ones, {name: 1 for name in ones}, 1, ()), tmp_path / "even.imatrix.gguf")
    quantize_gguf(model[1], made, file_type, importance=statistics)
    quantize_gguf(model[1], even, file_type, importance=tmp_path / "even.imatrix.gguf")
    assert weighted_error(model[1], made, found) < weighted_error(model[1], even, found)
    admit(made)
    with LlamaSession(made, context_size=64, threads=1) as language:
        language.prefill([PROMPTS[0]])
        assert np.isfinite(language.score([[5]])[0][0])


def weighted_error(source: Path, made: Path, statistics: Imatrix) -> float:
    full = {tensor.name: tensor for tensor in gguf.GGUFReader(source).tensors}
    total = 0.0
    for tensor in gguf.GGUFReader(made).tensors:
        if "_exps" in tensor.name:
            error = gguf.quants.dequantize(tensor.data, tensor.tensor_type) - full[tensor.name].data
            total += float((error**2 * statistics.means(tensor.name)[:, None]).sum())
    return total


def test_statistics_of_other_experts_are_refused(model: tuple[Any, Path], statistics: Path, tmp_path: Path) -> None:
    found, name = read_imatrix(statistics), "blk.0.ffn_up_exps.weight"
    fewer = {**found.sums, name: found.sums[name][:-1]}
    counts = {**found.counts, name: tuple(np.atleast_1d(found.counts[name]).tolist())[:-1]}
    write_imatrix(Imatrix(fewer, counts, 1, ()), tmp_path / "a.gguf")
    with pytest.raises(InputError, match=rf"{name} has {256 * EXPERTS} columns, not {256 * (EXPERTS - 1)}"):
        quantize_gguf(model[1], tmp_path / "b.gguf", "q4_k_m", importance=tmp_path / "a.gguf")
