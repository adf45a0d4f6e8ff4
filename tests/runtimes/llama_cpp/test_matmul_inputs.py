"""Statistics that llama.cpp's callback gives equal those of transformers' layers on the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from emo_edge.runtimes.llama_cpp.admitted import admit
from emo_edge.runtimes.llama_cpp.matmul_inputs import MatmulInputs
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from tests.random_vlms import written_vlm

TOKENS = [3, 17, 42, 5, 99, 120, 7]
LAYERS = {"mlp.down_proj": "ffn_down", "self_attn.o_proj": "attn_output", "mlp.up_proj": "ffn_up"}


def test_sums_equal_the_inputs_of_the_layers_of_transformers(made_once: Callable[..., Path]) -> None:
    written = written_vlm(made_once, "smolvlm")
    admit(written.model)
    observer = MatmulInputs()
    with LlamaSession(written.model, context_size=64, exact_cache=True, threads=1, observer=observer) as language:
        language.prefill([[1, 2, 3]])
        assert not observer.sums
        observer.recording = True
        language.prefill([TOKENS])
    observer.require_sound()
    expected = layer_inputs(written.vlm.model.model.text_model)
    assert set(expected) < set(observer.sums)
    for name, sums in expected.items():
        assert observer.counts[name] == len(TOKENS)
        np.testing.assert_allclose(observer.sums[name], sums, rtol=2e-3, atol=1e-6)


def layer_inputs(model: torch.nn.Module) -> dict[str, np.ndarray]:
    sums: dict[str, np.ndarray] = {}

    def listen(name: str, module: torch.nn.Module) -> None:
        def hook(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            sums[name] = inputs[0][0].double().square().sum(0).numpy()

        module.register_forward_pre_hook(hook)

    for index, layer in enumerate(model.layers):  # type: ignore[arg-type, union-attr]
        for own, stored in LAYERS.items():
            listen(f"blk.{index}.{stored}.weight", layer.get_submodule(own))
    with torch.no_grad():
        model(input_ids=torch.tensor([TOKENS]))
    for layer in model.layers:  # type: ignore[union-attr]
        for own in LAYERS:
            layer.get_submodule(own)._forward_pre_hooks.clear()
    return sums
