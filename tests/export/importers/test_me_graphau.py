"""ME-GraphAU's two stages: files of their true structure with random weights, against transformers' Swin and NumPy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
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


def upstream_state(units: int, main_prefix: str, graph: str = "similar") -> State:
    """Return random weights under the names that upstream's trainer writes, its buffers included.

    ``graph`` is similar (a first stage), edges (ME-GraphAU's second) or open_edges (OpenGraphAU's second).
    """
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
    if graph == "similar":
        linear("head.gnn.U", narrow, narrow)
        linear("head.gnn.V", narrow, narrow)
        norm("head.gnn.bnv", units, statistics=True)
    else:
        for part in ("FAM", "ARM"):
            for letter, outputs in (("q", narrow // 2), ("k", narrow // 2), ("v", narrow)):
                linear(f"head.edge_extractor.{part}.linear_{letter}", outputs, narrow)
        linear("head.edge_extractor.edge_proj", narrow, narrow)
        norm("head.edge_extractor.bn", units * units, statistics=True)
        for layer in (1, 2):
            for letter in "UVABE":
                linear(layer_name(graph, layer, letter), narrow, narrow, bias=False)
            norm(layer_name(graph, layer, "bnv"), units, statistics=True)
            norm(layer_name(graph, layer, "bne"), units * units, statistics=True)
    if graph == "edges":
        linear("head.edge_fc", 4, narrow)
    state[f"head.{main_prefix}sc"] = torch.randn(units, narrow, generator=generator)
    return state


def layer_name(graph: str, layer: int, part: str) -> str:
    """Return the name of a part of the second stage's graph, whose layers count from 1."""
    return f"head.gnn.{part}{layer}" if graph == "edges" else f"head.gnn.graph_layers.{layer - 1}.{part}"


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


class Upstream:
    """The network after its trunk, node by node and edge by edge, in float64."""

    def __init__(self, state: State, main_prefix: str) -> None:
        self.weights = {name: value.numpy().astype(np.float64) for name, value in state.items()}
        self.prefix = main_prefix

    def linear(self, name: str, x: Array) -> Array:
        bias = self.weights.get(f"{name}.bias", 0.0)
        return np.asarray(x @ self.weights[f"{name}.weight"].T + bias)

    def normed(self, name: str, x: Array, row: int | None = None) -> Array:
        """Normalise the last axis, or all of ``x`` as one channel of number ``row``."""
        mean, variance, weight, bias = (
            self.weights[f"{name}.{part}"] if row is None else self.weights[f"{name}.{part}"][row]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return np.asarray((x - mean) / np.sqrt(variance + 1e-5) * weight + bias)

    def block(self, name: str, x: Array) -> Array:
        return np.maximum(self.normed(f"{name}.bn", self.linear(f"{name}.fc", x)), 0)

    def units(self, tokens: Array) -> tuple[list[Array], Array]:
        """Return each unit's tokens and those of the face."""
        narrow = self.block("global_linear", tokens)
        count = len(self.weights[f"head.{self.prefix}sc"])
        return [self.block(f"head.{self.prefix}class_linears.{unit}", narrow) for unit in range(count)], narrow

    def cosines(self, nodes: Sequence[Array]) -> Array:
        targets = np.maximum(self.weights[f"head.{self.prefix}sc"], 0)
        pairs = zip(nodes, targets, strict=True)
        return np.array([node @ to / np.linalg.norm(node) / np.linalg.norm(to) for node, to in pairs])

    def first_stage(self, tokens: Array, neighbours: int) -> Array:
        nodes = [unit.mean(0) for unit in self.units(tokens)[0]]
        heard = []
        for node in nodes:
            similar = np.array([node @ other for other in nodes])
            heard.append(similar >= np.sort(similar)[-neighbours])
        degrees = np.array([edges.sum() for edges in heard], np.float64)
        after = []
        for unit, node in enumerate(nodes):
            message = np.zeros_like(node)
            for other in np.flatnonzero(heard[unit]):
                message += self.linear("head.gnn.V", nodes[other]) / np.sqrt(degrees[unit] * degrees[other])
            total = message + self.linear("head.gnn.U", node)
            after.append(np.maximum(node + self.normed("head.gnn.bnv", total, unit), 0))
        return self.cosines(after)

    def second_stage(self, tokens: Array, graph: str) -> Array:
        units, narrow = self.units(tokens)
        nodes, count = [unit.mean(0) for unit in units], len(units)
        seen = [self.attended("FAM", unit, narrow) for unit in units]
        edges: dict[tuple[int, int], Array] = {}
        for end, start in product(range(count), repeat=2):
            projected = self.linear("head.edge_extractor.edge_proj", self.attended("ARM", seen[start], seen[end]))
            edges[end, start] = self.normed("head.edge_extractor.bn", projected, end * count + start).mean(0)
        for layer in (1, 2):
            nodes, edges = self.gated(nodes, edges, graph, layer)
        return self.cosines(nodes)

    def attended(self, part: str, asking: Array, asked: Array) -> Array:
        query, key, value = (
            self.linear(f"head.edge_extractor.{part}.linear_{letter}", x)
            for letter, x in (("q", asking), ("k", asked), ("v", asked))
        )
        scores = np.exp(query @ key.T / np.sqrt(key.shape[1]))
        return np.asarray(scores / scores.sum(1, keepdims=True) @ value)

    def gated(
        self, nodes: list[Array], edges: dict[tuple[int, int], Array], graph: str, layer: int
    ) -> tuple[list[Array], dict[tuple[int, int], Array]]:
        count = len(nodes)

        def mapped(letter: str, x: Array) -> Array:
            return self.linear(layer_name(graph, layer, letter), x)

        changed = {}
        for (end, start), edge in edges.items():
            total = mapped("A", nodes[end]) + mapped("B", nodes[start]) + mapped("E", edge)
            row = end * count + start
            changed[end, start] = edge + np.maximum(self.normed(layer_name(graph, layer, "bne"), total, row), 0)
        after = []
        for end, node in enumerate(nodes):
            gates = np.exp([1 / (1 + np.exp(-changed[end, start])) for start in range(count)])
            gates /= gates.sum(0)
            message = sum((gates[start] * mapped("V", nodes[start]) for start in range(count)), np.zeros_like(node))
            change = self.normed(layer_name(graph, layer, "bnv"), mapped("U", node) + message / count, end)
            after.append(np.maximum(node + change, 0) if graph == "edges" else node + np.maximum(change, 0))
        return after, changed


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
    upstream = Upstream(state, main_prefix)
    wanted = [upstream.first_stage(tokens, neighbours) for tokens in trunk_tokens(state, pixels)]
    np.testing.assert_allclose(cosines, wanted, atol=2e-5)
    np.testing.assert_allclose(logits.sigmoid(), np.clip(wanted, 2**-10, 1 - 2**-10), atol=2e-5)
    assert network.config.units == (OPEN_UNITS if main_prefix else (1, 2, 4, 6, 9, 12, 25, 26))
    assert network.config.neighbours == neighbours


@pytest.mark.parametrize(("units", "main_prefix", "graph"), [(8, "", "edges"), (5, "main_", "open_edges")])
def test_the_second_stage_computes_what_the_paper_describes(
    units: int, main_prefix: str, graph: str, tmp_path: Path
) -> None:
    state = upstream_state(units, main_prefix, graph)
    named = ("--units", "1,2,4,6,7") if units == 5 else ()
    done = run("import", "me-graphau", saved(state, tmp_path / "stage2.pth"), *named, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "second stage, with features of edges" in done.stderr
    network = AuNetwork.from_pretrained(tmp_path / "out").network
    assert network.config.graph == graph
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cosines, logits = network.probabilities(pixels), network(pixels).presence
    wanted = [Upstream(state, main_prefix).second_stage(tokens, graph) for tokens in trunk_tokens(state, pixels)]
    np.testing.assert_allclose(cosines, wanted, atol=2e-5)
    np.testing.assert_allclose(logits.sigmoid(), np.clip(wanted, 2**-10, 1 - 2**-10), atol=2e-5)


@pytest.mark.parametrize("graph", ["similar", "edges", "open_edges"])
def test_it_goes_on_to_a_bundle_that_reads_a_picture(graph: str, tmp_path: Path) -> None:
    file = saved(upstream_state(3, "", graph), tmp_path / "own.pth")
    checkpoint, bundle = tmp_path / "out", tmp_path / "bundle"
    heard = ("--neighbours", 2) if graph == "similar" else ()
    done = run("import", "me-graphau", file, "--units", "1,4,12", *heard, "--out", checkpoint)
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
    "half a second stage": (8, {"head.edge_extractor.bn.weight": torch.ones(64)}, (), 5, "network.edges.face.key"),
    "neighbours of a second stage": (
        3,
        {"head.edge_extractor.bn.weight": torch.ones(9)},
        ("--units", "1,2,4", "--neighbours", "2"),
        4,
        "a unit hears all others: leave --neighbours out",
    ),
    "a ResNet": (8, {"backbone.layer1.0.conv1.weight": torch.ones(4)}, (), 5, "a ResNet: of trunks only Swin"),
    "an unknown tensor": (8, {"head.other": torch.ones(4)}, (), 5, "unknown: head.other in own.pth"),
    "units of no data set": (3, {}, (), 4, "3 units, of no data set that is known: name them with --units"),
    "too few units": (3, {}, ("--units", "1,2"), 4, "--units names 2 units, and own.pth gives 3"),
    "half a unit": (3, {}, ("--units", "1,2,2.5"), 2, "action units are whole numbers"),
    "no unit of FACS": (3, {}, ("--units", "1,2,8"), 5, "units 8 are none of FACS"),
    "one unit twice": (3, {}, ("--units", "1,2,2"), 5, "units name one unit twice"),
    "more neighbours than units": (3, {}, ("--units", "1,2,4", "--neighbours", "5"), 5, "must not exceed the number"),
    "no trunk": (0, {"head.sc": torch.ones(8, 4)}, (), 5, "ME-GraphAU with a Swin trunk; is it another model's file?"),
    "another width": (8, {"head.gnn.U.weight": torch.ones(16, 16)}, (), 5, "network.graph.same.weight"),
    "another number of units": (8, {"head.gnn.bnv.weight": torch.ones(9)}, (), 5, "network.graph.bn.weight"),
    "a value that is not finite": (8, {"head.gnn.U.bias": torch.full((32,), torch.nan)}, (), 5, "not finite"),
    "whole numbers for weights": (8, {"head.gnn.U.bias": torch.ones(32, dtype=torch.int64)}, (), 5, "int64"),
    "no axes": (8, {"head.sc": torch.tensor(1.0)}, (), 5, "no targets of ME-GraphAU"),
}
MISSING = ("backbone.layers.2.blocks.0.attn.qkv.weight", "global_linear.bn.running_var", "head.class_linears.7.fc.bias")
"""Names in every part of the network."""


@pytest.mark.parametrize("kind", list(BAD))
def test_each_kind_is_one_error_with_its_exit_code(kind: str, tmp_path: Path) -> None:
    units, changed, options, code, message = BAD[kind]
    file = saved((upstream_state(units, "") if units else {}) | changed, tmp_path / "own.pth")
    done = run("import", "me-graphau", file, *options, "--out", tmp_path / "out")
    assert done.exit_code == code, done.output
    assert message in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", MISSING)
def test_a_tensor_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    state = upstream_state(8, "")
    del state[name]
    done = run("import", "me-graphau", saved(state, tmp_path / "own.pth"), "--out", tmp_path / "out")
    assert done.exit_code == 5 and "missing" in done.stderr, done.output
    assert not (tmp_path / "out").exists()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 367134213\n"
FILES: dict[str, tuple[bytes | None, str]] = {
    "a pointer of Git LFS": (POINTER, "Git LFS"),
    "a page": (b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>", "HTML"),
    "an empty file": (b"", "own.pth"),
    "a text": (b"no weights at all, and long enough to be read as something\n" * 20, "own.pth"),
    "half a file": (None, "truncated or corrupt"),
}


@pytest.mark.parametrize("kind", list(FILES))
def test_what_is_no_file_of_weights_is_one_error(kind: str, tmp_path: Path) -> None:
    content, message = FILES[kind]
    file = saved(upstream_state(8, ""), tmp_path / "own.pth")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    done = run("import", "me-graphau", file, "--out", tmp_path / "out")
    assert done.exit_code == 5 and message in done.stderr, done.output
    assert "Traceback" not in done.output and not (tmp_path / "out").exists()


def test_a_file_or_folder_in_the_way_is_one_error(tmp_path: Path) -> None:
    done = run("import", "me-graphau", tmp_path / "none.pth", "--out", tmp_path / "out")
    assert done.exit_code in (2, 5) and "none.pth" in done.stderr, done.output
    file = saved(upstream_state(8, ""), tmp_path / "own.pth")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    done = run("import", "me-graphau", file, "--out", tmp_path / "out")
    assert done.exit_code != 0 and (tmp_path / "out" / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_file_that_runs_code_is_not_read(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    file = tmp_path / "own.pth"
    torch.save({"state_dict": upstream_state(8, ""), "hook": Runs()}, file)
    done = run("import", "me-graphau", file, "--out", tmp_path / "out")
    assert done.exit_code == 5 and "code in a file is never run" in done.stderr, done.output
    assert not (tmp_path / "ran").exists()
