"""EmoLA's pieces become one checkpoint: upstream's names and arithmetic, the way to a reading, what must be refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch import Tensor

from emo_edge.bundle.reader import Bundle
from emo_edge.cli.app import main
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.llava.llava import EMOLA, LlavaPieces, checkpoint_from_llava
from emo_edge.export.reference.frames import FrameFeatures, as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.export.user_graphs.landmark_network import LandmarkNetwork

State = dict[str, Tensor]
SAMPLES = Path(__file__).parents[4] / "emo_edge" / "samples"
WIDTH, MLP, PATCH, GRID, HIDDEN, SIZE, OUTPUTS, RANK = 64, 72, 14, 2, 32, 32, 212, 4
LINEARS = {"q_proj": 0, "k_proj": 0, "v_proj": 0, "o_proj": 0, "gate_proj": 1, "up_proj": 1, "down_proj": 2}
SHAPES = [(HIDDEN, HIDDEN), (48, HIDDEN), (HIDDEN, 48)]


@dataclass(frozen=True)
class Upstream:
    """What a user of EmoLA has on disk, and the tensors in it by upstream's names."""

    pieces: LlavaPieces
    llava: State
    clip: State
    whole: State
    """What was trained as a whole."""
    factors: State
    projector: State
    tower: Any
    """transformers' own CLIPVisionModel with the same weights."""


def landmark_graph(opset: int = 11, batch: int | str = "N") -> onnx.ModelProto:
    """Write a graph of the kind that InsightFace converted from MXNet: old operators, weights listed as inputs."""
    rng = np.random.default_rng(2)
    weights = {
        "conv_weight": 0.3 * rng.normal(size=(4, 3, 8, 8)),
        "gamma": 1 + 0.1 * rng.normal(size=4),
        "beta": 0.1 * rng.normal(size=4),
        "mean": 0.1 * rng.normal(size=4),
        "var": 1 + 0.1 * rng.random(4),
        "slope": np.full((4, 1, 1), 0.25),
        "fc_weight": 0.1 * rng.normal(size=(OUTPUTS, 64)),
        "fc_bias": 0.1 * rng.normal(size=OUTPUTS),
    }
    nodes = [
        helper.make_node("Constant", [], ["shift"], value=numpy_helper.from_array(np.float32(0.4))),
        helper.make_node("Sub", ["data", "shift"], ["shifted"]),
        helper.make_node("Conv", ["shifted", "conv_weight"], ["conv"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("BatchNormalization", ["conv", "gamma", "beta", "mean", "var"], ["normed"], epsilon=1e-3),
        helper.make_node("PRelu", ["normed", "slope"], ["active"]),
        helper.make_node("Flatten", ["active"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc_weight", "fc_bias"], ["fc1"], transB=1),
    ]
    if batch == 1:
        nodes[5] = helper.make_node("Reshape", ["active", "one_row"], ["flat"])
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([1, 64]), "one_row"))
    listed = [helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in tensors]
    graph = helper.make_graph(
        nodes,
        "mxnet_converted_model",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, SIZE, SIZE]), *listed],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [batch, OUTPUTS])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory, tokenizer_directory: Path) -> Upstream:
    """LLaVA in two ``.bin`` shards, CLIP in safetensors, EmoLA's adapter directory, a landmark graph."""
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

    root = tmp_path_factory.mktemp("emola")
    generator = torch.Generator().manual_seed(3)

    def make(*shape: int) -> Tensor:
        return 0.1 * torch.randn(*shape, generator=generator)

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
        tower = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=MLP,
                num_hidden_layers=24,
                num_attention_heads=1,
                image_size=GRID * PATCH,
                patch_size=PATCH,
            )
        ).eval()
    llava = {name: value.detach().clone() for name, value in language.state_dict().items()}
    llava |= {"model.mm_projector.0.weight": make(HIDDEN, WIDTH), "model.mm_projector.0.bias": make(HIDDEN)}
    llava |= {"model.mm_projector.2.weight": make(HIDDEN, HIDDEN), "model.mm_projector.2.bias": make(HIDDEN)}
    model = root / "llava-v1.5-7b"
    model.mkdir()
    placed = {name: f"pytorch_model-{1 + place % 2:05}-of-00002.bin" for place, name in enumerate(llava)}
    for shard in set(placed.values()):
        torch.save({name: llava[name] for name in llava if placed[name] == shard}, model / shard)
    (model / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": placed}))
    settings = {
        **sizes,
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "rms_norm_eps": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "mm_hidden_size": WIDTH,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "image_aspect_ratio": "pad",
    }
    (model / "config.json").write_text(json.dumps(settings))
    (model / "tokenizer.model").write_bytes((tokenizer_directory / "tokenizer.model").read_bytes())

    clip = {name: value.detach().clone().contiguous() for name, value in tower.state_dict().items()}
    clip["vision_model.embeddings.position_ids"] = torch.arange(1 + GRID * GRID)[None]
    clip |= {"logit_scale": torch.ones(()), "visual_projection.weight": make(8, WIDTH)}
    clip |= {"text_model.final_layer_norm.weight": torch.ones(8), "text_projection.weight": make(8, 8)}
    (root / "clip").mkdir()
    save_file(clip, root / "clip" / "model.safetensors")

    lora = root / "llava-v1.5-7b-lora-emola-emotion"
    lora.mkdir()
    factors = {}
    for layer in range(32):
        for name, kind in LINEARS.items():
            part = "self_attn" if kind == 0 and name[1] == "_" else "mlp"
            module = f"base_model.model.model.layers.{layer}.{part}.{name}"
            rows, columns = SHAPES[kind]
            factors[f"{module}.lora_A.weight"] = make(RANK, columns)
            factors[f"{module}.lora_B.weight"] = make(rows, RANK)
    torch.save(factors, lora / "adapter_model.bin")
    (lora / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}))
    (lora / "config.json").write_text(json.dumps({**settings, "model_type": "emollava"}))
    whole = {f"base_model.model.{name}": make(*llava[name].shape) for name in llava if "mm_projector" in name}
    torch.save(whole, lora / "non_lora_trainables.bin")
    projector = {
        "base_model.model.model.landmark_feature_projector.0.weight": make(HIDDEN, OUTPUTS),
        "base_model.model.model.landmark_feature_projector.0.bias": make(HIDDEN),
        "base_model.model.model.landmark_feature_projector.2.weight": make(HIDDEN, HIDDEN),
        "base_model.model.model.landmark_feature_projector.2.bias": make(HIDDEN),
    }
    torch.save(projector, lora / "landmark_feature_projector.bin")
    (root / "2d106det.onnx").write_bytes(landmark_graph().SerializeToString())
    pieces = LlavaPieces(model, root / "clip", lora=lora, landmarks=root / "2d106det.onnx")
    return Upstream(pieces, llava, clip, whole, factors, projector, tower)


@pytest.fixture(scope="session")
def checkpoint(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The imported checkpoint. Do not change it."""
    target = tmp_path_factory.mktemp("imported") / "emola"
    checkpoint_from_llava(upstream.pieces, target, family=EMOLA)
    return target


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> EmoLlamaForConditionalGeneration:
    return EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)


def picture(seed: int = 0, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def test_every_tensor_arrives_under_its_name(upstream: Upstream, checkpoint: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    checkpoint_from_llava(upstream.pieces, tmp_path / "again", report=lines.append)
    state = load_file(tmp_path / "again" / "model.safetensors")
    expected: State = {}
    for name, value in upstream.llava.items():
        if "mm_projector" not in name:
            expected[f"language.{name}"] = value
    for name, value in upstream.whole.items():
        expected[name.replace("base_model.model.model.", "connector.")] = value
    for name, value in upstream.projector.items():
        expected[name.replace("base_model.model.model.landmark_feature_projector", "landmark.projector")] = value
    left = ("text_", "logit", "visual_", "vision_model.encoder.layers.23.", "vision_model.post_layernorm")
    for name, value in upstream.clip.items():
        if not name.startswith(left) and not name.endswith("position_ids"):
            expected[name.replace("vision_model.", "vision.")] = value
    for name in upstream.factors:
        if name.endswith("lora_A.weight"):
            own = name.replace("base_model.model.", "language.").replace("lora_A.", "")
            down, up = upstream.factors[name], upstream.factors[name.replace("lora_A", "lora_B")]
            expected[own] = expected[own] + (up @ down) * 2.0
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert "  4 of them were there before; llava-v1.5-7b-lora-emola-emotion wins, 4 differ" in lines
    assert "  unused: 16 x LLaVA reads what enters the tower's last layer" in lines
    assert lines[-2:] == [
        "llava-v1.5-7b-lora-emola-emotion: 224 weights merged, W + scale B A in float32",
        "2d106det.onnx: 32 pixels, 212 numbers",
    ]
    config = EmoLlamaConfig.from_pretrained(checkpoint)
    assert (config.vision.tower, config.vision.num_layers, config.vision.image_size) == ("clip", 23, 28)
    assert config.face is None and config.face_info is None and config.connector.qformer is None
    assert config.tokens_per_frame == GRID * GRID + 1
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "config.json",
        "landmarks.onnx",
        "model.safetensors",
        "tokenizer.model",
    ]
    assert (checkpoint / "landmarks.onnx").read_bytes() == upstream.pieces.landmarks.read_bytes()


@torch.inference_mode()
def test_the_tower_gives_what_llava_reads_of_clip(upstream: Upstream, model: EmoLlamaForConditionalGeneration) -> None:
    crops = np.stack([picture(1, 28), picture(2, 28)])
    settings = model.config.vision
    scaled = (crops / 255.0 - np.array(settings.image_mean)) / np.array(settings.image_std)
    pixels = torch.from_numpy(scaled.transpose(0, 3, 1, 2)).float()
    expected = upstream.tower(pixels, output_hidden_states=True).hidden_states[-2]
    assert (model.vision_features(crops) - expected).abs().max() <= 1e-4
    first, second = (
        [upstream.whole[f"base_model.model.model.mm_projector.{place}.{part}"] for part in ("weight", "bias")]
        for place in (0, 2)
    )
    hidden = torch.nn.functional.linear(expected[:, 1:], *first)
    projected = torch.nn.functional.linear(torch.nn.functional.gelu(hidden), *second)
    assert (model.connector(model.vision_features(crops)) - projected).abs().max() <= 1e-4


@torch.inference_mode()
def test_the_landmark_token_is_upstreams(upstream: Upstream, model: EmoLlamaForConditionalGeneration) -> None:
    """Blue first, divided by 255, the raw numbers, two linears: written after upstream's scripts in numpy."""
    image = picture(4)
    features = model.encode(as_clip(image, None))
    session = onnxruntime.InferenceSession(str(upstream.pieces.landmarks), providers=["CPUExecutionProvider"])
    fed = np.transpose(image[:, :, ::-1].astype(np.float32) / 255.0, (2, 0, 1))[None]
    raw = session.run(None, {"data": fed})[0]
    assert features.landmarks is not None
    assert np.abs(features.landmarks.numpy() - raw).max() <= 1e-5
    weights = {name.split("projector.")[1]: value.double().numpy() for name, value in upstream.projector.items()}
    hidden = raw.astype(np.float64) @ weights["0.weight"].T + weights["0.bias"]
    active = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    expected = active @ weights["2.weight"].T + weights["2.bias"]
    token = model.face_tokens(features)
    assert token is not None and token.shape == (1, 1, HIDDEN)
    assert np.abs(token[:, 0].numpy() - expected).max() <= 1e-5


@torch.inference_mode()
def test_the_landmark_token_follows_the_patches(model: EmoLlamaForConditionalGeneration) -> None:
    features = model.encode(as_clip(picture(5), None))
    (turn,) = model.embed_prompts(features, [PromptInput(slice(0, 1), "What is the emotion of this face?")])
    expected = torch.cat([model.connector(features.vision), model.landmark(features.landmarks)], dim=1)
    assert torch.equal(turn.visual, expected)
    before = 1 + len(model.tokenizer.encode(turn.prompt.before))
    assert torch.equal(turn.embeddings[before : before + GRID * GRID + 1], expected[0])


def test_a_saved_model_reads_back(model: EmoLlamaForConditionalGeneration, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "again")
    again = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "again")
    scores = [one.label_scores(picture(6), "Which?", ["joy", "fear"]) for one in (model, again)]
    assert np.array_equal(*scores)


def test_it_goes_on_to_a_bundle_that_reads_a_picture(
    upstream: Upstream, wide_picture: Path, clip_pixels: Callable[[Path, int], Tensor], tmp_path: Path
) -> None:
    """The whole way as a user walks it: import, export with its gates, inspect, infer; and upstream's from the file."""
    checkpoint, bundle, pieces = tmp_path / "checkpoint", tmp_path / "bundle", upstream.pieces
    walk = [
        f"import emola --model {pieces.model} --vision {pieces.vision} --lora {pieces.lora} "
        f"--landmarks {pieces.landmarks} --out {checkpoint}",
        f"export {checkpoint} --out {bundle} --vision fp32,fp16 --face fp32,fp16 --language f32 --limit 7",
        f"inspect {bundle}",
        f"infer {bundle} {wide_picture} --whole-image --json --profile exact",
    ]
    done = []
    for line in walk:
        done.append(CliRunner().invoke(main, line.split()))
        assert done[-1].exit_code == 0, done[-1].output
    assert "tokens a frame: 4 content, 1 landmark" in done[2].stdout
    parts = Bundle.open(bundle).manifest.components
    assert parts.face is not None
    assert [output.name for output in parts.face.outputs] == ["face_tokens"]
    assert set(parts.face.variants) == {"fp32", "fp16"}
    reading = json.loads(done[3].stdout)[0]["readings"][0]
    assert reading["face"] is None
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    labels = list(reading["probabilities"])
    with torch.inference_mode():
        vision = model.vision(clip_pixels(wide_picture, model.config.vision.image_size))
        features = FrameFeatures(vision, None, upstream_landmarks(pieces.landmarks, wide_picture))
        prompts = model.embed_prompts(features, [PromptInput(slice(0, 1), reading["settings"]["question"])])
        scores = torch.from_numpy(model.score_prompts(prompts, labels)[0])
    assert list(reading["probabilities"].values()) == pytest.approx(scores.softmax(0).tolist(), abs=1e-4)


def upstream_landmarks(network: Path, picture: Path) -> Tensor:
    """Read a picture's file as ``landmark_features.py`` does."""
    import cv2

    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    pixels = cv2.resize(cv2.imread(str(picture)), (SIZE, SIZE)).astype(np.float32) / 255.0
    return torch.from_numpy(session.run(None, {"data": pixels.transpose(2, 0, 1)[None]})[0])


def changed(pieces: LlavaPieces, tmp_path: Path, change: Callable[[Path], None]) -> LlavaPieces:
    """Copy every piece and change the copies."""
    root = Path(shutil.copytree(pieces.model.parent, tmp_path / "pieces"))
    change(root)
    own = {
        name: root / path.relative_to(pieces.model.parent)
        for name, path in vars(pieces).items()
        if path is not None and (root / path.relative_to(pieces.model.parent)).exists()
    }
    return LlavaPieces(**{"landmarks": root / "gone.onnx", **own})


def set_config(directory: str = "llava-v1.5-7b", **settings: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = next(root.glob(f"{directory}/config.json"))
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


def without_clip(**settings: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        set_config(**settings)(root)
        shutil.rmtree(root / "clip")

    return change


def set_landmarks(content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / "2d106det.onnx").write_bytes(content) and None


def foreign() -> bytes:
    graph = landmark_graph()
    graph.graph.node[1].domain = "com.example"
    graph.opset_import.append(helper.make_opsetid("com.example", 1))
    return graph.SerializeToString()


def outside() -> bytes:
    graph = landmark_graph()
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    return graph.SerializeToString()


def sized(side: int, stride: int = 8) -> bytes:
    graph = landmark_graph()
    next(one for one in graph.graph.node[2].attribute if one.name == "strides").ints[:] = [stride, stride]
    graph.graph.input[0].CopyFrom(helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, side, side]))
    return graph.SerializeToString()


def without_constant() -> bytes:
    graph = landmark_graph(opset=13)
    graph.graph.node[0].ClearField("attribute")
    return graph.SerializeToString()


def infinite() -> bytes:
    graph = landmark_graph()
    graph.graph.initializer[-2].CopyFrom(numpy_helper.from_array(np.full(OUTPUTS, np.inf, np.float32), "fc_bias"))
    return graph.SerializeToString()


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a layer that is not there": (
        set_config("*lora*", mm_vision_select_layer=-30),
        "mm_vision_select_layer -30: the tower in clip has 24 layers",
    ),
    "several layers": (set_config(mm_vision_select_layer=[-2, -5]), "mm_vision_select_layer [-2, -5]: only one layer"),
    "an EVA tower": (
        without_clip(mm_vision_tower="eva_vit_g.pth"),
        "'eva_vit_g.pth': only CLIP's and SigLIP's are known",
    ),
    "start tokens": (set_config(mm_use_im_start_end=True), "mm_use_im_start_end True: only False is known"),
    "no tower": (lambda root: shutil.rmtree(root / "clip"), "lacks whole parts; give --vision"),
    "no projector": (
        lambda root: next(root.glob("*lora*/landmark_feature_projector.bin")).unlink(),
        "lacks whole parts; give --landmark-projector",
    ),
    "no landmarks": (lambda root: (root / "2d106det.onnx").unlink(), "gone.onnx: no such file; --landmarks is"),
    "no graph": (set_landmarks(b"not a graph"), "2d106det.onnx: no usable ONNX graph"),
    "a page for landmarks": (set_landmarks(b"<html><body>Sign in"), "2d106det.onnx: an HTML page, not the file"),
    "a pointer for landmarks": (
        set_landmarks(b"version https://git-lfs.github.com/spec/v1\n"),
        "2d106det.onnx: a Git LFS pointer, not the file",
    ),
    "half a graph": (
        set_landmarks(landmark_graph().SerializeToString()[:4000]),
        "2d106det.onnx: no usable ONNX graph",
    ),
    "one picture at a time": (
        set_landmarks(landmark_graph(batch=1).SerializeToString()),
        "2d106det.onnx: fails on 2 picture(s)",
    ),
    "foreign operators": (
        set_landmarks(foreign()),
        "2d106det.onnx: no usable ONNX graph: an operator 'Sub' of the domain 'com.example', which is not ONNX's",
    ),
    "weights elsewhere": (set_landmarks(outside()), "this has weights in another file (conv_weight)"),
    "huge pictures": (
        set_landmarks(sized(10**6)),
        "2d106det.onnx: no usable ONNX graph: a run on 1 picture(s) needs 12000.0 GB of memory",
    ),
    "large pictures": (set_landmarks(sized(1025, 300)), "2d106det.onnx: reads pictures of 1025 pixels a side"),
    "no pixels": (
        set_landmarks(sized(-5)),
        "2d106det.onnx: no usable ONNX graph: the input 'data' has the shape [None, 3, -5, -5]",
    ),
    "an empty constant": (set_landmarks(without_constant()), "2d106det.onnx: not a graph that can be joined"),
    "infinite numbers": (set_landmarks(infinite()), "2d106det.onnx: gives numbers that are not finite"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_bad_pieces_are_one_error_with_its_exit_code(kind: str, upstream: Upstream, tmp_path: Path) -> None:
    change, message = BAD[kind]
    pieces = changed(upstream.pieces, tmp_path, change)
    given = {name.replace("_", "-"): path for name, path in vars(pieces).items() if path is not None}
    arguments = [word for name, path in given.items() for word in (f"--{name}", str(path))]
    done = CliRunner().invoke(main, ["import", "emola", *arguments, "--out", str(tmp_path / "checkpoint")])
    assert done.exit_code == 5, done.output
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "checkpoint").exists()


def test_without_landmarks_there_is_no_token(upstream: Upstream, tmp_path: Path) -> None:
    """A tower that is given counts, whatever the config calls it."""
    lines: list[str] = []
    pieces = replace(changed(upstream.pieces, tmp_path, set_config(mm_vision_tower="/data/vit")), landmarks=None)
    checkpoint_from_llava(pieces, tmp_path / "checkpoint", family=EMOLA, report=lines.append)
    config = EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint")
    assert config.landmark is None and config.tokens_per_frame == GRID * GRID
    assert "  unused: 4 x without a landmark network there is no landmark token" in lines
    assert not (tmp_path / "checkpoint" / "landmarks.onnx").exists()


def test_a_graph_of_other_numbers_is_told_by_its_projector(upstream: Upstream, tmp_path: Path) -> None:
    graph = landmark_graph()
    graph.graph.node.append(helper.make_node("Slice", ["fc1", "zero", "many", "axis"], ["cut"]))
    values = {"zero": [0], "many": [136], "axis": [1]}
    graph.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in values.items())
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("cut", TensorProto.FLOAT, ["N", 136]))
    (tmp_path / "other.onnx").write_bytes(graph.SerializeToString())
    pieces = replace(upstream.pieces, landmarks=tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match=r"landmark\.projector\.0\.weight is \[32, 212\], the config asks for"):
        checkpoint_from_llava(pieces, tmp_path / "checkpoint")


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_graphs_of_any_age_give_the_same_numbers(opset: int) -> None:
    network = LandmarkNetwork(landmark_graph(opset).SerializeToString())
    crops = np.stack([picture(seed) for seed in range(3)])
    session = onnxruntime.InferenceSession(landmark_graph(opset).SerializeToString())
    fed = np.transpose(crops[..., ::-1].astype(np.float32) / 255.0, (0, 3, 1, 2))
    assert np.abs(network.run(crops) - session.run(None, {"data": fed})[0]).max() <= 1e-5
    assert (network.image_size, network.outputs) == (SIZE, OUTPUTS)


def test_a_checkpoint_without_its_landmark_graph_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / "landmarks.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"landmarks\.onnx: no such file; the landmark token reads"):
        EmoLlamaForConditionalGeneration.from_pretrained(copy)
