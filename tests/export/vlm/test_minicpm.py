"""MiniCPM-V's resampler and slices: a random file with the keys and tensors of llama.cpp's script for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emo_edge.benchmarks.random_vlm.families import random_vlm
from emo_edge.benchmarks.random_vlm.files import write_random_vlm
from emo_edge.benchmarks.random_vlm.vocabulary import byte_merges
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError
from emo_edge.export.vlm.bundle import bundle_from_gguf
from emo_edge.export.vlm.config import VlmConfig, VlmFiles
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.planning.models import BundleModel
from emo_edge.runtimes.base.sessions import PictureRows
from emo_edge.runtimes.llama_cpp.admitted import admit
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.mtmd.encoder import MtmdEncoder
from emo_edge.runtimes.mtmd.proof import proven_pair
from tests.random_vlms import written_vlm

SIDE, PATCH, WIDTH, MLP, QUERIES, TEXT = 56, 14, 64, 96, 4, 256
F16_ERROR = 2e-3
"""llama.cpp looks GELU up in a table of float16, and convolves patches in it."""
BUCKETS = 70
"""Rows and columns of the tower's table of positions."""
LINEARS = {f"v.blk.0.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "out")}
LINEARS |= {"v.blk.0.ffn_up": (MLP, WIDTH), "v.blk.0.ffn_down": (WIDTH, MLP)}
LINEARS |= {f"resampler.attn.{name}": (TEXT, TEXT) for name in ("q", "k", "v", "out")}
NORMS = {"v.blk.0.ln1": WIDTH, "v.blk.0.ln2": WIDTH, "v.post_ln": WIDTH}
NORMS |= {f"resampler.ln_{name}": TEXT for name in ("q", "kv", "post")}
OTHERS = {
    "v.patch_embd.weight": (WIDTH, 3, PATCH, PATCH),
    "v.patch_embd.bias": (WIDTH,),
    "v.position_embd.weight": (BUCKETS**2, WIDTH),
    "resampler.query": (QUERIES, TEXT),
    "resampler.pos_embed_k": (BUCKETS**2, TEXT),
    "resampler.kv.weight": (TEXT, WIDTH),
    "resampler.proj.weight": (TEXT, TEXT),
}
HEADS, HEAD_SIZE = 4, 128
"""Heads of the tower; numbers of a head of the resampler, the same in every release."""
SIZES = {"image_size": SIDE, "patch_size": PATCH, "embedding_length": WIDTH, "feed_forward_length": MLP}


def write_mmproj(path: Path, **sizes: int) -> Path:
    """Write what ``minicpmv-convert-image-encoder-to-gguf.py`` writes, of a SigLIP of one block."""
    writer, generator = gguf.GGUFWriter(path, "clip"), np.random.default_rng(0)
    for name, value in {"has_text_encoder": False, "has_vision_encoder": True, "has_minicpmv_projector": True}.items():
        writer.add_bool(f"clip.{name}", value)
    writer.add_file_type(0)
    writer.add_string("clip.projector_type", "resampler")
    writer.add_int32("clip.minicpmv_version", 3)
    writer.add_uint32("clip.minicpmv_query_num", QUERIES)
    own = {**SIZES, "projection_dim": 0, "attention.head_count": HEADS, "block_count": 1, **sizes}
    for name, number in own.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    for name in ("mean", "std"):
        writer.add_array(f"clip.vision.image_{name}", [0.5] * 3)
    writer.add_bool("clip.use_gelu", True)
    shapes = {f"{name}.weight": shape for name, shape in LINEARS.items()} | OTHERS
    for name, shape in shapes.items():
        writer.add_tensor(name, generator.normal(0, 0.1, shape).astype(np.float32))
    for name, width in {**{name: shape[0] for name, shape in LINEARS.items()}, **NORMS}.items():
        writer.add_tensor(f"{name}.bias", generator.normal(0, 0.1, width).astype(np.float32))
    for name, width in NORMS.items():
        writer.add_tensor(f"{name}.weight", generator.normal(1, 0.2, width).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2, as MiniCPM-V 2.6 has, with the tokens that stand around its pictures."""
    control = ("<|im_start|>", "<|im_end|>", "<image>", "</image>", "<slice>", "</slice>")
    vocabulary = byte_merges("qwen2", control, "<|im_end|>", "<|im_end|>")
    folder = tmp_path_factory.mktemp("minicpm")
    vlm = replace(random_vlm("internvl"), vocabulary=vocabulary)
    write_random_vlm(vlm, folder / "model.gguf", folder / "internvl.gguf")
    return folder / "model.gguf"


def test_a_model_without_the_tokens_around_a_picture_is_named(made_once: Callable[..., Path], tmp_path: Path) -> None:
    other = written_vlm(made_once, "internvl").model
    with pytest.raises(BundleError, match=r"p\.gguf: the language model lacks a token .*another model's mmproj"):
        bundle_from_gguf(VlmFiles(other, write_mmproj(tmp_path / "p.gguf")), tmp_path / "b", VlmConfig())


def stored(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, read by gguf-py."""
    tensors = gguf.GGUFReader(path).tensors
    return {one.name: torch.from_numpy(np.array(one.data).reshape(one.shape[::-1].tolist())) for one in tensors}


def tower_features(pixels: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """Return the rows of transformers' SigLIP; a patch takes the place of its bucket in the table of positions."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    side = SIDE // PATCH
    config = SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=MLP,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    buckets = torch.arange(side) * BUCKETS // side
    names = {
        "embeddings.patch_embedding": "v.patch_embd",
        "post_layernorm": "v.post_ln",
        "encoder.layers.0.layer_norm1": "v.blk.0.ln1",
        "encoder.layers.0.layer_norm2": "v.blk.0.ln2",
        "encoder.layers.0.mlp.fc1": "v.blk.0.ffn_up",
        "encoder.layers.0.mlp.fc2": "v.blk.0.ffn_down",
        **{f"encoder.layers.0.self_attn.{name}_proj": f"v.blk.0.attn_{name}" for name in "qkv"},
        "encoder.layers.0.self_attn.out_proj": "v.blk.0.attn_out",
    }
    kinds = ("weight", "bias")
    own = {f"vision_model.{name}.{kind}": state[f"{file}.{kind}"] for name, file in names.items() for kind in kinds}
    places = (buckets[:, None] * BUCKETS + buckets).flatten()
    own["vision_model.embeddings.position_embedding.weight"] = state["v.position_embd.weight"][places]
    tower = SiglipVisionModel(config).eval()
    tower.load_state_dict(own)
    rows: Tensor = tower(pixels).last_hidden_state
    return rows


def resampled(features: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """Return what MiniCPM-V's resampler computes, with PyTorch's own attention.

    Normalised queries attend to normalised patches, with sines and cosines of column and row in the keys alone; a norm
    and a matrix stand behind it.
    """

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias = (state[f"resampler.ln_{name}.{kind}"] for kind in ("weight", "bias"))
        return nn.functional.layer_norm(x, (TEXT,), weight, bias, 1e-6)

    side, quarter = SIDE // PATCH, TEXT // 4
    angles = torch.arange(side)[:, None] / 10000 ** (torch.arange(quarter) / quarter)
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    places = torch.cat([waves.repeat(side, 1), waves.repeat_interleave(side, 0)], 1)
    attention = nn.MultiheadAttention(TEXT, TEXT // HEAD_SIZE, batch_first=True).eval()
    own = {f"in_proj_{k}": torch.cat([state[f"resampler.attn.{n}.{k}"] for n in "qkv"]) for k in ("weight", "bias")}
    own |= {f"out_proj.{k}": state[f"resampler.attn.out.{k}"] for k in ("weight", "bias")}
    attention.load_state_dict(own)
    values = norm(nn.functional.linear(features, state["resampler.kv.weight"]), "kv")
    queries = norm(state["resampler.query"], "q")[None]
    rows, _ = attention(queries, values + places, values)
    return norm(rows, "post") @ state["resampler.proj.weight"].T


@torch.inference_mode()
def test_a_picture_is_what_the_resampler_and_transformers_siglip_compute(language: Path, tmp_path: Path) -> None:
    mmproj = write_mmproj(tmp_path / "p.gguf")
    image = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    proven_pair(language, mmproj, SIDE)
    with (
        LlamaSession(language, context_size=256, threads=1) as session,
        MtmdEncoder(mmproj, session, threads=1, exact=True) as encoder,
    ):
        chunks = encoder.encode(image)
    given = np.concatenate([chunk.embeddings for chunk in chunks if isinstance(chunk, PictureRows)])
    state = stored(mmproj)
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    (wanted,) = resampled(tower_features(pixels, state), state).numpy()
    assert given.shape == wanted.shape == (QUERIES, TEXT)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(given / scale, wanted / scale, atol=F16_ERROR)


@pytest.mark.parametrize(("size", "pictures"), [(SIDE, 1), (2 * SIDE, 5)])
def test_slices_are_counted_at_import_and_read_as_counted(
    size: int, pictures: int, language: Path, tmp_path: Path
) -> None:
    """A picture of the tower's size is one picture; a larger one is cut beside its overview."""
    files, config = VlmFiles(language, write_mmproj(tmp_path / "p.gguf")), VlmConfig(picture_size=size)
    bundle = bundle_from_gguf(files, tmp_path / "b", config)
    counted = bundle.manifest.frames_segment.tokens_per_frame
    image = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    admit(language)
    with (
        LlamaSession(language, context_size=512, threads=1) as session,
        MtmdEncoder(files.mmproj, session, threads=1) as encoder,
    ):
        chunks = encoder.encode(image)
    rows = sum(len(chunk.embeddings) for chunk in chunks if isinstance(chunk, PictureRows))
    assert rows == pictures * QUERIES and sum(map(len, chunks)) == counted
    with EmotionPipeline.open(bundle, device="cpu", threads=1, detector=WholeImage()) as pipeline:
        (result,) = pipeline.read(image)
    assert sum(result.probabilities.values()) == pytest.approx(1)


def test_a_context_too_small_for_the_slices_is_one_error(language: Path, tmp_path: Path) -> None:
    files = VlmFiles(language, write_mmproj(tmp_path / "p.gguf"))
    config = VlmConfig(picture_size=2 * SIDE, context=5 * QUERIES)
    with pytest.raises(BundleError, match=r"a picture of \d+ positions, .* need \d+, the context has 20: choose"):
        bundle_from_gguf(files, tmp_path / "b", config)


def test_a_placeholder_for_a_size_is_planned_by_the_tensors(language: Path, tmp_path: Path) -> None:
    """As the first scripts for Qwen2-VL left it."""
    models = []
    for number, sizes in enumerate(({}, {"feed_forward_length": 0})):
        files = VlmFiles(language, write_mmproj(tmp_path / f"{number}.gguf", **sizes))
        bundle = bundle_from_gguf(files, tmp_path / f"b{number}", VlmConfig(picture_size=SIDE))
        models.append(BundleModel(Bundle.open(bundle.directory)))
    works = [model.graph("vision", "f32", 1, 0) for model in models]
    assert works[0] == works[1] and works[0].flops > 0
