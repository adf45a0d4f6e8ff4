"""Upstream's files at toy width: every name of the true structure, written after upstream's pages, not by our saver."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from emo_edge.export.importers import facexformer, llama_vid

State = dict[str, Tensor]
WIDTH, EVA_MLP, GRID, PATCH = 88, 96, 2, 14
BERT, BERT_MLP, QUERIES = 64, 72, 32
HIDDEN = 32
FACE_DEPTHS, SHORT_DEPTHS = (2, 2, 18, 2), (1, 1, 2, 1)
"""FaceXFormer's own, and the fewest blocks that still shift windows: these are traced five times faster."""


@dataclass(frozen=True)
class Upstream:
    """What a user of LLaMA-VID has on disk, and the tensors in it by upstream's names."""

    model: Path
    state: State
    language: Any
    """transformers' own LlamaForCausalLM with the same weights."""


def numbers(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: 0.1 * torch.randn(*shape, generator=generator)


def eva_state(seed: int = 1, *, blocks: int = 39, grid: int = GRID) -> State:
    """LAVIS's bare names (``eva_vit.py``)."""
    make = numbers(seed)
    state = {
        "cls_token": make(1, 1, WIDTH),
        "pos_embed": make(1, 1 + grid * grid, WIDTH),
        "patch_embed.proj.weight": make(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": make(WIDTH),
    }
    for index in range(blocks):
        block = {
            **normalisation(make, "norm1", WIDTH),
            "attn.q_bias": make(WIDTH),
            "attn.v_bias": make(WIDTH),
            "attn.qkv.weight": make(3 * WIDTH, WIDTH),
            **linear(make, "attn.proj", WIDTH, WIDTH),
            **normalisation(make, "norm2", WIDTH),
            **linear(make, "mlp.fc1", EVA_MLP, WIDTH),
            **linear(make, "mlp.fc2", WIDTH, EVA_MLP),
        }
        state |= {f"blocks.{index}.{name}": value for name, value in block.items()}
    return state


def bert_state(rows: int, seed: int = 2) -> State:
    """The Q-Former's names below ``bert.`` (LAVIS's ``Qformer.py``): 12 layers, every second one sees the image."""
    make = numbers(seed)
    state = {
        "embeddings.word_embeddings.weight": make(rows, BERT),
        "embeddings.position_embeddings.weight": make(512, BERT),
        "embeddings.position_ids": torch.arange(512)[None],
        **normalisation(make, "embeddings.LayerNorm", BERT),
    }
    for index in range(12):
        layer = f"encoder.layer.{index}"
        sources = {"attention": BERT, **({"crossattention": WIDTH} if index % 2 == 0 else {})}
        for name, source in sources.items():
            for part, inputs in (("query", BERT), ("key", source), ("value", source)):
                state |= linear(make, f"{layer}.{name}.self.{part}", BERT, inputs)
            state |= linear(make, f"{layer}.{name}.output.dense", BERT, BERT)
            state |= normalisation(make, f"{layer}.{name}.output.LayerNorm", BERT)
        for tail in ("", "_query"):
            state |= linear(make, f"{layer}.intermediate{tail}.dense", BERT_MLP, BERT)
            state |= linear(make, f"{layer}.output{tail}.dense", BERT, BERT_MLP)
            state |= normalisation(make, f"{layer}.output{tail}.LayerNorm", BERT)
    return state


def connector_state(rows: int, seed: int = 3) -> State:
    """What LLaMA-VID adds to LLaMA, below ``model.`` (``llamavid_arch.py``)."""
    make = numbers(seed)
    return {
        **linear(make, "mm_projector.0", HIDDEN, WIDTH),
        **linear(make, "mm_projector.2", HIDDEN, HIDDEN),
        "vlm_att_query": make(1, QUERIES, BERT),
        **normalisation(make, "vlm_att_ln", WIDTH),
        **linear(make, "vlm_att_projector", WIDTH, BERT),
        **linear(make, "vlm_att_key_projector", WIDTH, WIDTH),
        **linear(make, "vlm_att_val_projector", HIDDEN, WIDTH),
        **{f"vlm_att_encoder.bert.{name}": value for name, value in bert_state(rows, seed + 1).items()},
    }


def face_state(seed: int = 5, *, depths: tuple[int, ...] = FACE_DEPTHS) -> State:
    """FaceXFormer's names (torchvision's Swin-B, SAM's decoder), with the trunk's final norm that nobody reads."""
    make, dim, width = numbers(seed), 16, 8
    state = {**conv(make, "backbone.0.0.0", width, 3, 4), **normalisation(make, "backbone.0.0.2", width)}
    for stage, (depth, heads) in enumerate(zip(depths, (1, 2, 4, 8), strict=True)):
        own = width << stage
        if stage:
            state[f"backbone.0.{2 * stage}.reduction.weight"] = make(own, 2 * own)
            state |= normalisation(make, f"backbone.0.{2 * stage}.norm", 2 * own)
        for index in range(depth):
            block = f"backbone.0.{2 * stage + 1}.{index}"
            state |= normalisation(make, f"{block}.norm1", own) | normalisation(make, f"{block}.norm2", own)
            state |= linear(make, f"{block}.attn.qkv", 3 * own, own) | linear(make, f"{block}.attn.proj", own, own)
            state[f"{block}.attn.relative_position_bias_table"] = make(13 * 13, heads)
            state[f"{block}.attn.relative_position_index"] = torch.arange(49 * 49)
            state |= linear(make, f"{block}.mlp.0", 4 * own, own) | linear(make, f"{block}.mlp.3", own, 4 * own)
        state |= linear(make, f"linear_c.{stage}.proj", dim, own)
    state |= normalisation(make, "backbone.1", width << 3)
    state |= {"pe_layer.positional_encoding_gaussian_matrix": make(2, dim // 2)}
    state |= {"linear_fuse.weight": make(dim, 4 * dim, 1, 1)}
    decoder: State = {"mask_tokens.weight": make(11, dim)}
    tasks = {"landmarks": 136, "pose": 3, "attribute": 40, "visibility": 29, "age": 8, "gender": 2, "race": 5}
    for task, outputs in tasks.items():
        decoder[f"{task}_token.weight"] = make(1, dim)
        decoder |= head(make, f"{task}_prediction_head", dim, outputs)
    decoder |= head(make, "output_hypernetwork_mlps", dim, dim // 8)
    decoder |= {"output_upscaling.0.weight": make(dim, dim // 4, 2, 2), "output_upscaling.0.bias": make(dim // 4)}
    decoder |= normalisation(make, "output_upscaling.1", dim // 4)
    decoder |= {"output_upscaling.3.weight": make(dim // 4, dim // 8, 2, 2), "output_upscaling.3.bias": make(dim // 8)}
    for index in range(2):
        layer = f"transformer.layers.{index}"
        decoder |= attention(make, f"{layer}.self_attn", dim, dim)
        decoder |= attention(make, f"{layer}.cross_attn_token_to_image", dim, dim // 2)
        decoder |= attention(make, f"{layer}.cross_attn_image_to_token", dim, dim // 2)
        for place in range(1, 5):
            decoder |= normalisation(make, f"{layer}.norm{place}", dim)
        decoder |= linear(make, f"{layer}.mlp.lin1", 24, dim) | linear(make, f"{layer}.mlp.lin2", dim, 24)
    decoder |= attention(make, "transformer.final_attn_token_to_image", dim, dim // 2)
    decoder |= normalisation(make, "transformer.norm_final_attn", dim)
    return state | {f"face_decoder.{name}": value for name, value in decoder.items()}


def linear(make: Callable[..., Tensor], name: str, outputs: int, inputs: int) -> State:
    return {f"{name}.weight": make(outputs, inputs), f"{name}.bias": make(outputs)}


def conv(make: Callable[..., Tensor], name: str, outputs: int, inputs: int, size: int) -> State:
    return {f"{name}.weight": make(outputs, inputs, size, size), f"{name}.bias": make(outputs)}


def normalisation(make: Callable[..., Tensor], name: str, width: int) -> State:
    return {f"{name}.weight": 1 + make(width), f"{name}.bias": make(width)}


def attention(make: Callable[..., Tensor], name: str, dim: int, inner: int) -> State:
    parts: State = {}
    for part in "qkv":
        parts |= linear(make, f"{name}.{part}_proj", inner, dim)
    return parts | linear(make, f"{name}.out_proj", dim, inner)


def head(make: Callable[..., Tensor], name: str, dim: int, outputs: int) -> State:
    sizes = (dim, dim, outputs)
    return {
        key: value
        for place, size in enumerate(sizes)
        for key, value in linear(make, f"{name}.layers.{place}", size, dim).items()
    }


def write_bin(state: State, directory: Path, shards: int) -> None:
    """Write ``pytorch_model`` shards with their index, as transformers 4.31 did, or one file."""
    if shards == 1:
        torch.save(state, directory / "pytorch_model.bin")
        return
    placed = {name: f"pytorch_model-{1 + place % shards:05}-of-{shards:05}.bin" for place, name in enumerate(state)}
    for shard in set(placed.values()):
        torch.save({name: state[name] for name in state if placed[name] == shard}, directory / shard)
    index = {"metadata": {"total_size": 0}, "weight_map": placed}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory, tokenizer_directory: Path) -> Upstream:
    """LLaMA-VID's directory in three ``.bin`` shards. Copy it before changing a file."""
    from transformers import LlamaConfig, LlamaForCausalLM

    directory = tmp_path_factory.mktemp("upstream") / "llama-vid-7b"
    directory.mkdir()
    words = question_words(tokenizer_directory)
    (directory / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (directory / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())
    sizes = {
        "vocab_size": 768,
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        language = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
    state = {name: value.detach().clone() for name, value in language.state_dict().items()}
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    state |= {f"model.{name}": value for name, value in connector_state(len(words) + 1).items()}
    state |= {f"model.vision_tower.vision_tower.{name}": value for name, value in eva_state().items()}
    write_bin(state, directory, 3)
    settings = {
        **sizes,
        "architectures": ["LlavaLlamaAttForCausalLM"],
        "model_type": "llava",
        "rms_norm_eps": language.config.rms_norm_eps,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "bert_type": "qformer_pretrain",
        "num_query": QUERIES,
        "compress_type": "grid:2",
        "mm_hidden_size": WIDTH,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "./model_zoo/LAVIS/eva_vit_g.pth",
        "image_processor": f"./llamavid/processor/clip-patch14-{GRID * PATCH:03}",
        "mm_use_im_start_end": False,
    }
    (directory / "config.json").write_text(json.dumps(settings, indent=2))
    return Upstream(directory, state, language)


def question_words(tokenizer_directory: Path) -> list[str]:
    vocabulary = json.loads((tokenizer_directory / "question_tokenizer.json").read_text())["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)


@pytest.fixture(scope="session")
def eva() -> Callable[..., State]:
    """Make LAVIS's ``eva_vit_g.pth`` at toy width."""
    return eva_state


@pytest.fixture(scope="session")
def face() -> Callable[..., State]:
    """Make what FaceXFormer's ``model.pt`` holds at toy width."""
    return face_state


@pytest.fixture(scope="session")
def short_face() -> Callable[[], AbstractContextManager[State]]:
    """Make the tensors of a FaceXFormer of few blocks, and let the importers know so many meanwhile.

    They know the true depths and read none, which the tests of import alone hold.
    """
    read = facexformer.face_config

    @contextmanager
    def short() -> Iterator[State]:
        with pytest.MonkeyPatch.context() as patch:
            for module in (facexformer, llama_vid):
                patch.setattr(module, "face_config", lambda tensors: {**read(tensors), "depths": SHORT_DEPTHS})
            yield face_state(depths=SHORT_DEPTHS)

    return short


@pytest.fixture(scope="session")
def clip_pixels() -> Callable[..., Tensor]:
    """Read a picture's file as LLaVA and LLaMA-VID train on it: PIL, a square of the mean colour, CLIPImageProcessor.

    ``padded=False`` leaves out the square, as LLaMA-VID does with the frames of a video. Returns float32
    [1, 3, side, side].
    """
    pil = pytest.importorskip("PIL.Image")
    from transformers import CLIPImageProcessor

    def read(path: Path, side: int, *, padded: bool = True) -> Tensor:
        processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        picture = pil.open(path).convert("RGB")
        colour = tuple(int(channel * 255) for channel in processor.image_mean)
        square = pil.new("RGB", (max(picture.size),) * 2, colour)
        square.paste(picture, ((square.width - picture.width) // 2, (square.height - picture.height) // 2))
        pixels: Tensor = processor(square if padded else picture, return_tensors="pt")["pixel_values"]
        return pixels

    return read


@pytest.fixture(scope="session")
def facexformer_pixels() -> Callable[[Path, int], Tensor]:
    """Read a picture's file as FaceXFormer's ``inference.py`` does: PIL's bicubic kernel, ImageNet's mean and scale.

    Returns float32 [1, 3, side, side].
    """
    pil = pytest.importorskip("PIL.Image")

    def read(path: Path, side: int) -> Tensor:
        picture = pil.open(path).convert("RGB").resize((side, side), pil.Resampling.BICUBIC)
        mean, scale = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
        values = torch.from_numpy(np.array(picture)) / 255
        return ((values - mean) / scale).permute(2, 0, 1)[None]

    return read


@pytest.fixture(scope="session")
def wide_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG file of noise on a drawing, wider than high: where padding and resampling show most."""
    import cv2

    from emo_edge.assets.packaged import packaged_samples
    from emo_edge.media.images import read_image

    drawing = read_image(packaged_samples(5)[4].source)[10:170]
    noise = np.random.default_rng(0).integers(-60, 60, drawing.shape)
    path = tmp_path_factory.mktemp("picture") / "wide.jpg"
    cv2.imwrite(str(path), np.clip(drawing + noise, 0, 255).astype(np.uint8)[..., ::-1])
    return path
