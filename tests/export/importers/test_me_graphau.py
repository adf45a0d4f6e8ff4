"""ME-GraphAU's first stage: files of its true structure with random weights, against transformers' Swin and NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.app import main
from emo_edge.export.importers.me_graphau import OPEN_UNITS
from emo_edge.export.reference.face_network import AuNetwork

WIDTH, DEPTHS, HEADS, WINDOW, MAPS = 8, (1, 2, 1, 1), (1, 2, 2, 4), 7, (56, 28, 14, 7)
State = dict[str, torch.Tensor]
Array = NDArray[np.float64]


def upstream_state(units: int, main_prefix: str) -> State:
    """Return random weights under the names that upstream's trainer writes, its buffers included."""
    generator = torch.Generator().manual_seed(units)
    state: State = {}

    def linear(name: str, outputs: int, inputs: int, *, bias: bool = True) -> None:
        state[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator) * inputs**-0.5
        if bias:
            state[f"{name}.bias"] = 0.3 * torch.randn(outputs, generator=generator)

    def norm(name: str, width: int, *, statistics: bool = False) -> None:
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=generator)
        state[f"{name}.bias"] = 0.2 * torch.randn(width, generator=generator)
        if statistics:
            state[f"{name}.running_mean"] = 0.2 * torch.randn(width, generator=generator)
            state[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=generator)
            state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    state["backbone.patch_embed.proj.weight"] = 0.2 * torch.randn(WIDTH, 3, 4, 4, generator=generator)
    state["backbone.patch_embed.proj.bias"] = torch.zeros(WIDTH)
    norm("backbone.patch_embed.norm", WIDTH)
    for stage, depth in enumerate(DEPTHS):
        width, layer = WIDTH << stage, f"backbone.layers.{stage}"
        for block in range(depth):
            name = f"{layer}.blocks.{block}"
            norm(f"{name}.norm1", width)
            norm(f"{name}.norm2", width)
            linear(f"{name}.attn.qkv", 3 * width, width)
            linear(f"{name}.attn.proj", width, width)
            table = torch.randn((2 * WINDOW - 1) ** 2, HEADS[stage], generator=generator)
            state[f"{name}.attn.relative_position_bias_table"] = table
            state[f"{name}.attn.relative_position_index"] = torch.zeros(WINDOW**2, WINDOW**2, dtype=torch.int64)
            linear(f"{name}.mlp.fc1", 4 * width, width)
            linear(f"{name}.mlp.fc2", width, 4 * width)
            if block % 2:
                state[f"{name}.attn_mask"] = torch.zeros((MAPS[stage] // WINDOW) ** 2, WINDOW**2, WINDOW**2)
        if stage < len(DEPTHS) - 1:
            norm(f"{layer}.downsample.norm", 4 * width)
            linear(f"{layer}.downsample.reduction", 2 * width, 4 * width, bias=False)
    wide = WIDTH << 3
    narrow = wide // 2
    norm("backbone.norm", wide)
    linear("global_linear.fc", narrow, wide)
    norm("global_linear.bn", narrow, statistics=True)
    for unit in range(units):
        linear(f"head.{main_prefix}class_linears.{unit}.fc", narrow, narrow)
        norm(f"head.{main_prefix}class_linears.{unit}.bn", narrow, statistics=True)
    linear("head.gnn.U", narrow, narrow)
    linear("head.gnn.V", narrow, narrow)
    norm("head.gnn.bnv", units, statistics=True)
    state[f"head.{main_prefix}sc"] = torch.randn(units, narrow, generator=generator)
    return state


def trunk_tokens(state: State, pixels: torch.Tensor) -> Array:
    """Compute the normalised tokens of the last map with transformers' Swin: [N, 49, 8 * WIDTH]."""
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(
        image_size=224, patch_size=4, embed_dim=WIDTH, depths=list(DEPTHS), num_heads=list(HEADS), window_size=WINDOW
    )
    renames = {
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "patch_embed.norm": "embeddings.norm",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "layers.": "encoder.layers.",
    }
    own: State = {}
    for name, value in state.items():
        if not name.startswith("backbone.") or name.endswith(("_mask", "_index")):
            continue
        plain = name.removeprefix("backbone.")
        plain = f"layernorm.{plain.rpartition('.')[2]}" if plain.startswith("norm.") else plain
        for old, new in renames.items():
            plain = plain.replace(old, new)
        if "attn.qkv" in plain:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                own[plain.replace("attn.qkv", f"attention.self.{part}")] = third
        else:
            own[plain] = value
    model = SwinModel(config, add_pooling_layer=False).eval()
    missing, unexpected = model.load_state_dict(own, strict=False)
    assert not unexpected and all("index" in name for name in missing)
    with torch.inference_mode():
        return model(pixels).last_hidden_state.numpy().astype(np.float64)


def expected(state: State, tokens: Array, neighbours: int, main_prefix: str) -> Array:
    """Compute one picture's cosines from its tokens, node by node and edge by edge."""
    weights = {name: value.numpy().astype(np.float64) for name, value in state.items()}

    def linear(name: str, x: Array) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normed(name: str, x: Array) -> Array:
        centred = (x - weights[f"{name}.running_mean"]) / np.sqrt(weights[f"{name}.running_var"] + 1e-5)
        return centred * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def block(name: str, x: Array) -> Array:
        return np.maximum(normed(f"{name}.bn", linear(f"{name}.fc", x)), 0)

    narrow, targets = block("global_linear", tokens), np.maximum(weights[f"head.{main_prefix}sc"], 0)
    units = len(targets)
    nodes = [block(f"head.{main_prefix}class_linears.{unit}", narrow).mean(0) for unit in range(units)]
    heard = []
    for node in nodes:
        similar = np.array([node @ other for other in nodes])
        heard.append(similar >= np.sort(similar)[-neighbours])
    degrees = np.array([edges.sum() for edges in heard], np.float64)
    cosines = []
    for unit, node in enumerate(nodes):
        message = np.zeros_like(node)
        for other in np.flatnonzero(heard[unit]):
            message += linear("head.gnn.V", nodes[other]) / np.sqrt(degrees[unit] * degrees[other])
        total = message + linear("head.gnn.U", node)
        mean, variance, weight, bias = (
            weights[f"head.gnn.bnv.{part}"][unit] for part in ("running_mean", "running_var", "weight", "bias")
        )
        node = np.maximum(node + (total - mean) / np.sqrt(variance + 1e-5) * weight + bias, 0)
        cosines.append(node @ targets[unit] / np.linalg.norm(node) / np.linalg.norm(targets[unit]))
    return np.array(cosines)


def saved(state: State, path: Path) -> Path:
    """Write what upstream's trainer writes, from behind DataParallel."""
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    return path


def run(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize(("units", "main_prefix", "neighbours"), [(8, "", 3), (27, "main_", 4)])
def test_it_computes_what_the_paper_describes(units: int, main_prefix: str, neighbours: int, tmp_path: Path) -> None:
    state = upstream_state(units, main_prefix)
    file = saved(state | ({"head.sub_sc": torch.ones(14, 4)} if main_prefix else {}), tmp_path / "stage1.pth")
    done = run("import", "me-graphau", file, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    network = AuNetwork.from_pretrained(tmp_path / "out").network
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cosines, logits = network.probabilities(pixels), network(pixels).presence
    wanted = [expected(state, tokens, neighbours, main_prefix) for tokens in trunk_tokens(state, pixels)]
    np.testing.assert_allclose(cosines, wanted, atol=2e-5)
    np.testing.assert_allclose(logits.sigmoid(), np.clip(wanted, 2**-10, 1 - 2**-10), atol=2e-5)
    assert network.config.units == (OPEN_UNITS if main_prefix else (1, 2, 4, 6, 9, 12, 25, 26))
    assert network.config.neighbours == neighbours


def test_it_goes_on_to_a_bundle_that_reads_a_picture(tmp_path: Path) -> None:
    file = saved(upstream_state(3, ""), tmp_path / "own.pth")
    checkpoint, bundle = tmp_path / "out", tmp_path / "bundle"
    done = run("import", "me-graphau", file, "--units", "1,4,12", "--neighbours", 2, "--out", checkpoint)
    assert done.exit_code == 0, done.output
    done = run("export", checkpoint, "--out", bundle, "--detector", "haar", "--limit", 3)
    assert done.exit_code == 0, done.output
    manifest = Bundle.open(bundle).manifest
    assert manifest.action_units is not None and "ME-GraphAU" in manifest.action_units.network
    assert "research" in manifest.provenance["purpose"] and "MIT" in manifest.provenance["licence"]
    sample = packaged_samples(1)[0]
    words = ["infer", bundle, sample.source, "--device", "cpu", "--profile", "exact", "--detector", "whole", "--json"]
    (result,) = json.loads(run(*words).stdout)
    found = result["readings"][0]["action_units"]
    network = AuNetwork.from_pretrained(checkpoint)
    from emo_edge.bundle.face_crops import crop_face

    logits = network.graph_outputs(crop_face(sample.image, None, network.crop).pixels[None])["au_presence"][0]
    assert [unit["presence"] for unit in found.values()] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)
    assert all(unit["intensity"] is None for unit in found.values())


BAD: dict[str, tuple[int, State, tuple[str, ...], int, str]] = {
    "a second stage": (8, {"head.edge_extractor.bn.weight": torch.ones(64)}, (), 5, "the second stage, with features"),
    "a ResNet": (8, {"backbone.layer1.0.conv1.weight": torch.ones(4)}, (), 5, "a ResNet: of trunks only Swin"),
    "an unknown tensor": (8, {"head.other": torch.ones(4)}, (), 5, "unknown: head.other in own.pth"),
    "units of no data set": (3, {}, (), 4, "3 units, of no data set that is known: name them with --units"),
    "too few units": (3, {}, ("--units", "1,2"), 4, "--units names 2 units, and own.pth gives 3"),
    "half a unit": (3, {}, ("--units", "1,2,2.5"), 2, "action units are whole numbers"),
    "no unit of FACS": (3, {}, ("--units", "1,2,8"), 5, "units 8 are none of FACS"),
    "one unit twice": (3, {}, ("--units", "1,2,2"), 5, "units name one unit twice"),
    "more neighbours than units": (3, {}, ("--units", "1,2,4", "--neighbours", "5"), 5, "must not exceed the number"),
    "no trunk": (0, {"head.sc": torch.ones(8, 4)}, (), 5, "first stage with a Swin trunk; is it another model's file?"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_each_kind_is_one_error_with_its_exit_code(kind: str, tmp_path: Path) -> None:
    units, changed, options, code, message = BAD[kind]
    file = saved((upstream_state(units, "") if units else {}) | changed, tmp_path / "own.pth")
    done = run("import", "me-graphau", file, *options, "--out", tmp_path / "out")
    assert done.exit_code == code, done.output
    assert message in done.stderr and not (tmp_path / "out").exists()
