"""LoRA adapters that PEFT itself wrote: merged to the last bit, refused by name where they are no sum."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers import lora
from emo_edge.export.importers.llama_vid import LlamaVidPieces, checkpoint_from_llama_vid
from emo_edge.export.importers.lora import open_adapter
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 16},
    "rank-stabilised": {"r": 4, "lora_alpha": 16, "use_rslora": True},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "rank_pattern": {"q_proj": 2, r"layers\.3\.mlp\.up_proj": 6},
        "alpha_pattern": {"model.layers.1.self_attn.v_proj": 32, "down_proj": 3},
    },
    "gaussian": {"r": 3, "lora_alpha": 5, "init_lora_weights": "gaussian"},
}


@pytest.fixture(scope="session")
def adapt(upstream: Any) -> Callable[..., Any]:
    """Wrap a copy of upstream's LLaMA by PEFT, with factors that are not zero."""
    import copy

    from peft import LoraConfig, get_peft_model

    def wrapped(**settings: Any) -> Any:
        config = LoraConfig(target_modules=LINEARS, task_type="CAUSAL_LM", **settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            model = get_peft_model(copy.deepcopy(upstream.language), config)
            for name, value in model.named_parameters():
                if "lora_" in name:
                    torch.nn.init.normal_(value, std=0.1)
        return model.eval()

    return wrapped


def save(wrapped: Any, directory: Path, **options: Any) -> None:
    # Otherwise PEFT asks the hub whether the vocabulary grew.
    wrapped.save_pretrained(directory, save_embedding_layers=False, **options)


@pytest.mark.parametrize("kind", list(SETTINGS))
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_the_merged_model_is_pefts_own(
    kind: str, form: str, adapt: Callable[..., Any], upstream: Any, tmp_path: Path
) -> None:
    wrapped = adapt(**SETTINGS[kind])
    save(wrapped, tmp_path / "adapter", safe_serialization=form == "safetensors")
    lines: list[str] = []
    pieces = LlamaVidPieces(upstream.model, lora=tmp_path / "adapter")
    checkpoint_from_llama_vid(pieces, tmp_path / "checkpoint", report=lines.append)
    assert "adapter: 224 weights merged, W + scale B A in float32" in lines
    merged = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint").language
    ids = torch.randint(0, 768, (2, 20), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        theirs, ours = wrapped(ids).logits, merged(ids).logits
        plain = upstream.language(ids).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert float((theirs - plain).abs().max()) > 1e-2, "the adapter changes something"
    bits = wrapped.merge_and_unload().state_dict()
    state = merged.state_dict()
    assert bits.keys() == state.keys()
    assert all(torch.equal(bits[name], state[name]) for name in bits)


@pytest.mark.parametrize("wrapping", ["_orig_mod.", "module.", "module._orig_mod."])
def test_wrappings_around_an_adapter_are_taken_off(wrapping: str, adapt: Callable[..., Any], tmp_path: Path) -> None:
    """Before PEFT's own, and behind it where the base was compiled first."""
    save(adapt(r=4, lora_alpha=16), tmp_path / "plain")
    for name, before in (("outside", True), ("inside", False)):
        shutil.copytree(tmp_path / "plain", tmp_path / name)

        def wrapped(state: dict[str, Tensor], *, before: bool = before) -> dict[str, Tensor]:
            own = "base_model.model."
            new = f"{wrapping}{own}" if before else f"{own}{wrapping}"
            return {new + tensor.removeprefix(own): value for tensor, value in state.items()}

        changed_factors(tmp_path / name, wrapped)
        with ExitStack() as stack:
            assert open_adapter(tmp_path / name, stack).pairs.keys() == (
                open_adapter(tmp_path / "plain", stack).pairs.keys()
            )


# PEFT 0.18 looks at the class, which may tie, and not at the config, which does not.
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_what_was_trained_as_a_whole_replaces_the_models_own(
    adapt: Callable[..., Any], upstream: Any, tmp_path: Path
) -> None:
    wrapped = adapt(r=2, lora_alpha=4, modules_to_save=["lm_head"])
    head: Tensor = wrapped.base_model.model.lm_head.modules_to_save["default"].weight
    head.data += 1
    save(wrapped, tmp_path / "adapter")
    own = {"base_model.model.model.mm_projector.0.bias": torch.arange(32.0)}
    torch.save(own, tmp_path / "adapter" / "non_lora_trainables.bin")
    checkpoint_from_llama_vid(LlamaVidPieces(upstream.model, lora=tmp_path / "adapter"), tmp_path / "checkpoint")
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    assert torch.equal(model.language.lm_head.weight, head)
    assert torch.equal(model.connector.get_parameter("mm_projector.0.bias"), torch.arange(32.0))


@pytest.mark.parametrize("with_base", [True, False], ids=["with the base's own", "alone"])
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_adapted_embeddings_and_heads_merge(with_base: bool, upstream: Any, tmp_path: Path) -> None:
    """PEFT saves the base's table and head as ``X.base_layer.weight`` beside their factors."""
    import copy

    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=3, lora_alpha=6, target_modules=["embed_tokens", "lm_head", "q_proj"], task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        wrapped = get_peft_model(copy.deepcopy(upstream.language), config).eval()
        for name, value in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(value, std=0.1)
    wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=with_base)
    names = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert any(name.endswith("embed_tokens.base_layer.weight") for name in names) is with_base
    checkpoint_from_llama_vid(LlamaVidPieces(upstream.model, lora=tmp_path / "adapter"), tmp_path / "checkpoint")
    state = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint").language.state_dict()
    bits = wrapped.merge_and_unload().state_dict()
    assert bits.keys() == state.keys() and all(torch.equal(bits[name], state[name]) for name in bits)


def test_the_config_beside_an_adapter_says_what_tuning_changed(
    adapt: Callable[..., Any], upstream: Any, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    save(adapt(r=2, lora_alpha=4), adapter)
    settings = json.loads((upstream.model / "config.json").read_text())
    (adapter / "config.json").write_text(json.dumps({**settings, "compress_type": "mean", "hidden_size": 9}))
    checkpoint_from_llama_vid(LlamaVidPieces(upstream.model, lora=adapter), tmp_path / "checkpoint")
    config = EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint")
    assert (config.connector.compress_type, config.language.hidden_size) == ("mean", 32)


def test_half_precision_is_merged_in_float32(adapt: Callable[..., Any], upstream: Any, tmp_path: Path) -> None:
    wrapped = adapt(r=4, lora_alpha=16)
    save(wrapped, tmp_path / "adapter")
    model = Path(shutil.copytree(upstream.model, tmp_path / "model"))
    for path in model.glob("pytorch_model*"):
        path.unlink()
    halves = {name: value.bfloat16() if value.is_floating_point() else value for name, value in upstream.state.items()}
    torch.save(halves, model / "pytorch_model.bin")
    checkpoint_from_llama_vid(LlamaVidPieces(model, lora=tmp_path / "adapter"), tmp_path / "checkpoint")
    state = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint").state_dict()
    name = "model.layers.5.mlp.up_proj.weight"
    layer = wrapped.base_model.model.model.layers[5].mlp.up_proj
    wanted = halves[name].float() + layer.lora_B["default"].weight @ layer.lora_A["default"].weight * 4
    assert torch.equal(state[f"language.{name}"], wanted)
    assert torch.equal(state["language.lm_head.weight"], halves["lm_head.weight"].float())


def change(adapter: Path, **settings: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "DoRA": (lambda adapter: change(adapter, use_dora=True), "use_dora = True; merge it with peft"),
    "PiSSA": (lambda adapter: change(adapter, init_lora_weights="pissa"), "init_lora_weights = 'pissa'"),
    "KaSA, of a newer PEFT": (lambda adapter: change(adapter, use_kasa=True), "use_kasa = True; merge it with peft"),
    "BD-LoRA, of a newer PEFT": (
        lambda adapter: change(adapter, use_bdlora={"nblocks": 2}),
        "use_bdlora = {'nblocks': 2}; merge it with peft",
    ),
    "VeLoRA, of a newer PEFT": (
        lambda adapter: change(adapter, velora_config={"scale": 0.1}),
        "velora_config = {'scale': 0.1}; merge it with peft",
    ),
    "two of them": (
        lambda adapter: change(adapter, fan_in_fan_out=True, lora_bias=True),
        "fan_in_fan_out = True, lora_bias = True",
    ),
    "another method": (lambda adapter: change(adapter, peft_type="LOHA"), "peft_type is 'LOHA'; only LORA"),
    "a wrong rank": (lambda adapter: change(adapter, r=8), "the rank is 8 there, and 4 in adapter_model.safetensors"),
    "no rank": (lambda adapter: change(adapter, r=None), "the rank is None there"),
    "a word for a switch": (lambda adapter: change(adapter, use_rslora="false"), "use_rslora = 'false'"),
    "no number": (lambda adapter: change(adapter, lora_alpha="much"), "lora_alpha is 'much', not a usable number"),
    "a broken pattern": (lambda adapter: change(adapter, rank_pattern={"(": 2}), "rank_pattern has '(', a regular"),
    "a pattern without end": (
        lambda adapter: change(adapter, alpha_pattern={"(([a-z_.0-9]+)+)+!": 2}),
        "alpha_pattern has '(([a-z_.0-9]+)+)+!', a regular expression; only names of modules are read. Merge",
    ),
    "a list for a table": (lambda adapter: change(adapter, alpha_pattern=[3]), "alpha_pattern is not a table"),
    "no config": (lambda adapter: (adapter / "adapter_config.json").unlink(), "adapter_config.json: no such file"),
    "a broken config": (lambda adapter: (adapter / "adapter_config.json").write_text("{"), "not readable as JSON"),
    "no weights": (lambda adapter: (adapter / "adapter_model.safetensors").unlink(), "none of adapter_model"),
    "truncated": (lambda adapter: os.truncate(adapter / "adapter_model.safetensors", 900), "truncated or corrupt"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_an_adapter_that_is_no_sum_is_refused_by_name(kind: str, adapt: Callable[..., Any], tmp_path: Path) -> None:
    damage, message = BAD[kind]
    adapter = tmp_path / "adapter"
    save(adapt(r=4, lora_alpha=16), adapter)
    damage(adapter)
    with ExitStack() as stack, pytest.raises(CheckpointError) as caught:
        open_adapter(adapter, stack)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("q_proj", True),
        ("self_attn.q_proj", True),
        (r"self_attn\.q_proj", True),
        ("q_proj$", True),
        ("^model.layers.0.self_attn.q_proj", True),
        (r"^model\.layers\.0\.self_attn\.q_proj$", True),
        ("model.layers.0.self_attn.q_proj", True),
        ("_proj", False),
        ("^q_proj", False),
        ("layers.0", False),
        ("attn.q_proj", False),
    ],
)
def test_a_name_counts_as_peft_counts_it(key: str, matches: bool) -> None:
    module = "model.layers.0.self_attn.q_proj"
    assert bool(re.fullmatch(rf"(.*\.)?({key})", module)) is matches  # peft/utils/other.py, get_pattern_key
    values = lora._NamedValues(
        {"rank_pattern": {"other": 1, key: 2, "layers.0.self_attn.q_proj": 3}}, "rank_pattern", 9
    )
    assert values.of(module) == (2 if matches else 3)
    assert values.of("model.norm") == 9


def changed_factors(adapter: Path, alter: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    from safetensors.torch import save_file

    state = alter(load_file(adapter / "adapter_model.safetensors"))
    save_file({name: value.clone() for name, value in state.items()}, adapter / "adapter_model.safetensors")


def test_half_a_pair_is_named(adapt: Callable[..., Any], tmp_path: Path) -> None:
    save(adapt(r=4, lora_alpha=16), tmp_path)
    changed_factors(
        tmp_path, lambda state: {name: value for name, value in state.items() if ".3.mlp.up_proj.lora_A" not in name}
    )
    with ExitStack() as stack, pytest.raises(CheckpointError, match=r"no other half of model\.layers\.3\.mlp\.up_proj"):
        open_adapter(tmp_path, stack)


def test_an_adapter_of_a_wider_base_names_the_first_layer(
    adapt: Callable[..., Any], upstream: Any, tmp_path: Path
) -> None:
    save(adapt(r=4, lora_alpha=16), tmp_path / "adapter")
    changed_factors(
        tmp_path / "adapter",
        lambda state: {name: torch.cat([value, value]) if "lora_B" in name else value for name, value in state.items()},
    )
    named = r"another base model: language\.model\.layers\.0\.self_attn\.q_proj\.weight is \[32, 32\], .*\[64, 32\]"
    with pytest.raises(CheckpointError, match=named):
        checkpoint_from_llama_vid(LlamaVidPieces(upstream.model, lora=tmp_path / "adapter"), tmp_path / "checkpoint")


def test_an_adapter_of_a_deeper_base_names_the_layer(adapt: Callable[..., Any], upstream: Any, tmp_path: Path) -> None:
    save(adapt(r=4, lora_alpha=16), tmp_path / "adapter")
    changed_factors(
        tmp_path / "adapter",
        lambda state: {name.replace("layers.31.", "layers.39."): value for name, value in state.items()},
    )
    with pytest.raises(CheckpointError, match=r"layers\.39\..* is not there"):
        checkpoint_from_llama_vid(LlamaVidPieces(upstream.model, lora=tmp_path / "adapter"), tmp_path / "checkpoint")
