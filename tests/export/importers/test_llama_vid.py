"""LLaMA-VID's pieces become one checkpoint: every name, every accepted format, and every file that must be refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from emo_edge.cli.app import main
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.networks import FaceInfoConfig
from emo_edge.export.importers import checkpoint_writer, llama_vid_keys
from emo_edge.export.importers.llama_vid import LlamaVidPieces, checkpoint_from_llama_vid
from emo_edge.export.importers.tensors import ImportedTensor
from emo_edge.export.models.face_info_mining import FaceInfoMining
from emo_edge.export.models.facexformer import FaceOutputs
from emo_edge.export.reference import weights
from emo_edge.export.reference.frames import FrameFeatures
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.storage.locks import FileLock, lock_path

State = dict[str, Tensor]
SAMPLES = Path(__file__).parents[3] / "emo_edge" / "samples"


def imported(pieces: LlamaVidPieces, target: Path, **options: Any) -> tuple[State, list[str]]:
    lines: list[str] = []
    checkpoint_from_llama_vid(pieces, target, report=lines.append, **options)
    return load_file(target / "model.safetensors"), lines


def expected_name(name: str) -> str | None:
    """The checkpoint's name of an upstream tensor, written without the importer's own table."""
    if name.endswith(("position_ids", "inv_freq")):
        return None
    if name.startswith("model.vision_tower."):
        return name.replace("model.vision_tower.vision_tower.", "vision.")
    if "vlm_att" in name or "mm_projector" in name:
        return name.replace("model.", "connector.", 1)
    return f"language.{name}"


def expected_state(upstream: Any) -> State:
    named = {expected_name(name): value for name, value in upstream.state.items()}
    return {name: value for name, value in named.items() if name is not None}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def copied(upstream: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(upstream.model, tmp_path / "model"))


def test_every_tensor_arrives_under_its_name(upstream: Any, tmp_path: Path) -> None:
    state, lines = imported(LlamaVidPieces(upstream.model), tmp_path / "checkpoint")
    assert same(state, expected_state(upstream))
    taken = len(state)
    assert lines == [
        f"llama-vid-7b: 0 matched, {taken} renamed, 2 unused",
        "  read: pytorch_model-00001-of-00003.bin to pytorch_model-00003-of-00003.bin",
        "  unused: 1 x computed from rope_theta",
        "  unused: 1 x positions are counted, not stored",
    ]
    config = EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint")
    assert (config.vision.num_layers, config.vision.num_heads, config.vision.image_size) == (39, 1, 28)
    assert (config.connector.qformer.num_layers, config.connector.compress_type) == (12, "grid:2")
    assert config.face is None and config.face_info is None and not config.prompt.use_demographics
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "config.json",
        "model.safetensors",
        "question_tokenizer.json",
        "tokenizer.model",
    ]


def test_an_older_config_tells_one_number_of_heads(upstream: Any, tmp_path: Path) -> None:
    model = copied(upstream, tmp_path)
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(without(settings, "num_key_value_heads", "rope_scaling")))
    imported(LlamaVidPieces(model), tmp_path / "checkpoint")
    assert EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint").language.num_key_value_heads == 4


@pytest.mark.parametrize("form", ["one bin", "one safetensors", "shards of safetensors"])
def test_every_accepted_format_gives_the_same_checkpoint(form: str, upstream: Any, tmp_path: Path) -> None:
    model = copied(upstream, tmp_path)
    for path in model.glob("pytorch_model*"):
        path.unlink()
    whole = {name: value.contiguous() for name, value in upstream.state.items()}
    if form == "one bin":
        torch.save(whole, model / "pytorch_model.bin")
    elif form == "one safetensors":
        save_file(whole, model / "model.safetensors")
    else:
        names = sorted(whole)
        placed = {name: f"model-{1 + place % 2:05}-of-00002.safetensors" for place, name in enumerate(names)}
        for shard in set(placed.values()):
            save_file({name: whole[name] for name in names if placed[name] == shard}, model / shard)
        (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    state, _ = imported(LlamaVidPieces(model), tmp_path / "checkpoint")
    assert same(state, expected_state(upstream))


def test_the_language_model_answers_as_transformers_own(upstream: Any, tmp_path: Path) -> None:
    imported(LlamaVidPieces(upstream.model), tmp_path / "checkpoint")
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    ids = torch.randint(0, 768, (1, 20), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        torch.testing.assert_close(model.language(ids).logits, upstream.language(ids).logits, rtol=0, atol=1e-6)


def test_the_question_is_cut_as_berts_own_tokenizer_cuts_it(upstream: Any, tmp_path: Path, texts: list[str]) -> None:
    from transformers import BertTokenizer

    imported(LlamaVidPieces(upstream.model), tmp_path / "checkpoint")
    model = EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    theirs = BertTokenizer(str(upstream.model / "vocab.txt"), truncation_side="left")
    theirs.add_special_tokens({"bos_token": "[DEC]"})
    assert len(theirs) == len(model.question_tokenizer)
    for text in [
        "What is the facial expression of the person?",
        "Happiness, disgust: WHY?",
        "word " * 400,
        *texts[:200],
    ]:
        ids = theirs(text, truncation=True, max_length=256).input_ids
        assert model.question_tokenizer.encode(text) == ids, repr(text)


def test_an_eva_file_wins_and_the_report_says_whether_it_differs(
    upstream: Any, eva: Callable[..., State], tmp_path: Path
) -> None:
    torch.save(eva(), tmp_path / "same.pth")
    other = {**eva(seed=9, blocks=40), "norm.weight": torch.ones(88), "head.weight": torch.ones(3, 88)}
    torch.save(other, tmp_path / "other.pth")
    _, lines = imported(LlamaVidPieces(upstream.model, vision=tmp_path / "same.pth"), tmp_path / "a")
    differing = 4 + 39 * 13
    assert lines[-1] == f"  {differing} of them were there before; same.pth wins, 0 differ"
    state, lines = imported(LlamaVidPieces(upstream.model, vision=tmp_path / "other.pth"), tmp_path / "b")
    assert lines[-1] == f"  {differing} of them were there before; other.pth wins, {differing} differ"
    assert torch.equal(state["vision.blocks.38.attn.q_bias"], other["blocks.38.attn.q_bias"])
    assert not any(name.startswith("vision.blocks.39") for name in state)
    assert "  unused: 13 x the tower stops before EVA's last block" in lines


def test_a_position_table_is_stretched_to_the_processors_size(
    upstream: Any, eva: Callable[..., State], tmp_path: Path
) -> None:
    torch.save(eva(grid=2), tmp_path / "eva.pth")
    pieces = LlamaVidPieces(upstream.model, vision=tmp_path / "eva.pth", image_size=56)
    state, _ = imported(pieces, tmp_path / "checkpoint")
    table = eva(grid=2)["pos_embed"]
    cells = table[0, 1:].reshape(2, 2, -1).permute(2, 0, 1)[None]
    wanted = torch.nn.functional.interpolate(cells, size=4, mode="bicubic", align_corners=False)
    assert torch.equal(state["vision.pos_embed"][:, :1], table[:, :1])
    torch.testing.assert_close(state["vision.pos_embed"][0, 1:], wanted[0].permute(1, 2, 0).reshape(16, -1))


def test_a_qformer_file_fills_in_what_the_model_lacks(upstream: Any, tmp_path: Path) -> None:
    model = copied(upstream, tmp_path)
    prefix = "model.vlm_att_encoder."
    kept = {name: value for name, value in upstream.state.items() if not name.startswith((prefix, "model.vlm_att_ln"))}
    for path in model.glob("pytorch_model*"):
        path.unlink()
    torch.save(kept, model / "pytorch_model.bin")
    taken = {name: value for name, value in upstream.state.items() if name.startswith(prefix)}
    qformer = {f"Qformer.{name.removeprefix(prefix)}": value for name, value in taken.items()}
    qformer["query_tokens"] = torch.zeros(1, 32, 64)
    qformer |= {"llm_proj.weight": torch.ones(4, 4), "Qformer.cls.predictions.bias": torch.ones(3)}
    for part in ("weight", "bias"):
        qformer[f"ln_vision.{part}"] = upstream.state[f"model.vlm_att_ln.{part}"]
    torch.save({"model": qformer}, tmp_path / "instruct_blip.pth")
    state, lines = imported(LlamaVidPieces(model, qformer=tmp_path / "instruct_blip.pth"), tmp_path / "checkpoint")
    assert same(state, expected_state(upstream)), "the model's own query wins"
    assert any("language head of the Q-Former" in line for line in lines)
    assert lines[-1] == "  1 of them were there before; model wins, 1 differ"


@pytest.mark.parametrize("parallel", [False, True])
def test_facexformer_is_read_with_all_its_sizes(
    parallel: bool, upstream: Any, face: Callable[..., State], tmp_path: Path
) -> None:
    stored = face()
    named = {f"module.{name}" if parallel else name: value for name, value in stored.items()}
    torch.save({"state_dict_backbone": named, "epoch": 3}, tmp_path / "model.pt")
    state, lines = imported(LlamaVidPieces(upstream.model, face=tmp_path / "model.pt"), tmp_path / "checkpoint")
    left = ("relative_position_index", "backbone.1.weight", "backbone.1.bias")
    wanted = {f"face.{name}": value for name, value in stored.items() if not name.endswith(left)}
    assert same({name: value for name, value in state.items() if name.startswith("face.")}, wanted)
    config = EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint")
    assert config.face is not None and config.face_info is None and config.prompt.use_demographics
    assert config.face.depths == (2, 2, 18, 2) and config.face.num_heads == (1, 2, 4, 8)
    assert (config.face.window_size, config.face.decoder_depth, config.face.mlp_ratio) == (7, 2, 4.0)
    assert "  unused: 24 x computed from the window's size" in lines


MINING = FaceInfoConfig(num_tokens=3, hidden_size=16, num_heads=2, global_grid=7, mlp_size=24)


def face_info_file(
    path: Path, face: Callable[..., State], heads: dict[str, str], *, dim: int = 16
) -> tuple[Path, Path]:
    """FaceXFormer's file and one of Face Info Mining for a language model of 32 columns."""
    torch.save({"state_dict_backbone": face()}, path / "model.pt")
    torch.manual_seed(6)
    state = FaceInfoMining(MINING, dim, 32).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path / "mining.safetensors", heads)
    return path / "model.pt", path / "mining.safetensors"


def test_face_info_mining_is_read_with_all_its_sizes(upstream: Any, face: Callable[..., State], tmp_path: Path) -> None:
    network, mining = face_info_file(tmp_path, face, {"num_heads": "2"})
    pieces = LlamaVidPieces(upstream.model, face=network, face_info=mining)
    state, lines = imported(pieces, tmp_path / "checkpoint")
    own = {name.removeprefix("face_info."): value for name, value in state.items() if name.startswith("face_info.")}
    assert same(own, load_file(mining))
    config = EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint")
    assert config.face_info == MINING
    assert config.provenance["face_info"] == "mining.safetensors"
    assert f"mining.safetensors: 0 matched, {len(own)} renamed, 0 unused" in lines


def test_a_checkpoint_of_ours_gives_its_face_info_mining(
    upstream: Any, face: Callable[..., State], tmp_path: Path
) -> None:
    network, mining = face_info_file(tmp_path, face, {"num_heads": "2"})
    first, again = tmp_path / "first", tmp_path / "again"
    state, _ = imported(LlamaVidPieces(upstream.model, face=network, face_info=mining), first)
    pieces = LlamaVidPieces(upstream.model, face=network, face_info=first / "model.safetensors")
    found, lines = imported(pieces, again)
    assert same(found, state)
    assert EmoLlamaConfig.from_pretrained(again).face_info == MINING
    assert any(line.endswith("x not of Face Info Mining") for line in lines)


@pytest.mark.parametrize(
    ("heads", "dim", "message"),
    [
        ({"other": "2"}, 16, "no tensor tells the number of attention heads: keep it as 'num_heads'"),
        ({"num_heads": "two"}, 16, "no tensor tells the number of attention heads"),
        ({"num_heads": "3"}, 16, "face_info.hidden_size must be a multiple of num_heads"),
        ({"num_heads": "2"}, 24, "misshapen: face_info.global_proj.weight is [16, 24], the config asks for [16, 16]"),
    ],
)
def test_face_info_mining_that_does_not_fit_is_refused(
    heads: dict[str, str], dim: int, message: str, upstream: Any, face: Callable[..., State], tmp_path: Path
) -> None:
    network, mining = face_info_file(tmp_path, face, heads, dim=dim)
    with pytest.raises(CheckpointError) as caught:
        imported(LlamaVidPieces(upstream.model, face=network, face_info=mining), tmp_path / "checkpoint")
    assert message in str(caught.value)
    assert not (tmp_path / "checkpoint").exists()


def test_face_info_mining_asks_for_its_face_network(upstream: Any, face: Callable[..., State], tmp_path: Path) -> None:
    _, mining = face_info_file(tmp_path, face, {"num_heads": "2"})
    with pytest.raises(InputError, match="give `face`, too"):
        imported(LlamaVidPieces(upstream.model, face_info=mining), tmp_path / "checkpoint")
    mining.write_bytes(b"")
    with pytest.raises(CheckpointError, match="not readable as safetensors"):
        imported(LlamaVidPieces(upstream.model, face=tmp_path / "model.pt", face_info=mining), tmp_path / "checkpoint")


def test_types_are_kept_or_changed_as_asked(upstream: Any, tmp_path: Path) -> None:
    model = copied(upstream, tmp_path)
    for path in model.glob("pytorch_model*"):
        path.unlink()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in upstream.state.items()}
    torch.save(halves, model / "pytorch_model.bin")
    kept, _ = imported(LlamaVidPieces(model), tmp_path / "kept")
    assert {value.dtype for value in kept.values()} == {torch.float16}
    wide, _ = imported(LlamaVidPieces(model), tmp_path / "wide", dtype=torch.float32)
    assert {value.dtype for value in wide.values()} == {torch.float32}
    assert all(torch.equal(kept[name].float(), wide[name]) for name in kept)


def test_a_stopped_import_goes_on_after_its_last_whole_shard(
    upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_writer, "SHARD_BYTES", 1 << 20)
    target, partial = tmp_path / "checkpoint", tmp_path / ".checkpoint.partial"
    read = ImportedTensor.value

    def stopping(tensor: ImportedTensor) -> Tensor:
        if tensor.name == "language.model.norm.weight":
            raise KeyboardInterrupt
        return read(tensor)

    with monkeypatch.context() as patch:
        patch.setattr(ImportedTensor, "value", stopping)
        with pytest.raises(KeyboardInterrupt):
            checkpoint_from_llama_vid(LlamaVidPieces(upstream.model), target)
    assert not target.exists()
    first = {path.name: path.stat().st_ino for path in partial.glob("*.safetensors")}
    assert len(first) > 2
    checkpoint_from_llama_vid(LlamaVidPieces(upstream.model), target)
    shards = {path.name: path.stat().st_ino for path in target.glob("*.safetensors")}
    assert first.items() < shards.items(), "finished shards are kept, not written again"
    assert not partial.exists() and not (target / "plan.sha256").exists()
    model = EmoLlamaForConditionalGeneration.from_pretrained(target)
    assert same(dict(model.state_dict()), expected_state(upstream))


def test_another_import_of_the_same_name_starts_anew(
    upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = tmp_path / ".checkpoint.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"of another model")
    (partial / "plan.sha256").write_text("another plan")
    state, _ = imported(LlamaVidPieces(upstream.model), tmp_path / "checkpoint")
    assert same(state, expected_state(upstream))


def shortened(upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the model with two layers of each network: to trace the 39 of the tower alone takes a minute.

    The other tests hold the true depths, which the importer knows and does not read.
    """
    monkeypatch.setattr(llama_vid_keys, "EVA_LAYERS", 2)
    monkeypatch.setattr(llama_vid_keys, "BERT_LAYERS", 2)
    model = copied(upstream, tmp_path)
    change_config(model, num_hidden_layers=2)
    further = re.compile(r"(?:blocks|encoder\.layer|model\.layers)\.(?![01]\.)")
    replace_weights(model, {name: value for name, value in upstream.state.items() if not further.search(name)})
    return model


@pytest.mark.slow
@pytest.mark.usefixtures("traced_once")
def test_it_goes_on_to_a_bundle_that_reads_a_picture(
    upstream: Any,
    short_face: Callable[[], AbstractContextManager[State]],
    wide_picture: Path,
    clip_pixels: Callable[..., Tensor],
    facexformer_pixels: Callable[[Path, int], Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole way as a user walks it: import, export with its gates, infer; and upstream's way from the file."""
    model_files = shortened(upstream, tmp_path, monkeypatch)
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    imports = f"import llama-vid --model {model_files} --face {tmp_path}/model.pt --out {checkpoint}"
    exports = f"export {checkpoint} --out {bundle} --vision fp32 --face fp32 --language f32 --limit 7"
    reads = f"infer {bundle} {wide_picture} --whole-image --json --demographics --profile exact"
    with short_face() as state:
        torch.save({"state_dict_backbone": state}, tmp_path / "model.pt")
        done = CliRunner().invoke(main, imports.split())
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{checkpoint}\n"
    exported = CliRunner().invoke(main, exports.split())
    assert exported.exit_code == 0, exported.output
    read = CliRunner().invoke(main, reads.split())
    assert read.exit_code == 0, read.output
    reading = json.loads(read.stdout)[0]["readings"][0]
    assert sum(reading["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert reading["face"]["demographics"]["age"] and reading["face"]["landmarks"]
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    with torch.inference_mode():
        vision = model.vision(clip_pixels(wide_picture, model.config.vision.image_size))
        assert model.face is not None and model.config.face is not None
        heads = model.face(facexformer_pixels(wide_picture, model.config.face.image_size), with_segmentation=False)
        question, labels = reading["settings"]["question"], list(reading["probabilities"])
        prompts = model.embed_prompts(FrameFeatures(vision, heads), [PromptInput(slice(0, 1), question)])
        scores = torch.from_numpy(model.score_prompts(prompts, labels)[0])
    assert list(reading["probabilities"].values()) == pytest.approx(scores.softmax(0).tolist(), abs=1e-4)
    with EmotionPipeline.open(bundle, device="cpu", profile="exact", detector=WholeImage()) as pipeline:
        clip = pipeline.read_clip([wide_picture, wide_picture])
    assert clip is not None
    with torch.inference_mode():
        frame = model.vision(clip_pixels(wide_picture, model.config.vision.image_size, padded=False))
        twice = FaceOutputs._make(None if part is None else torch.cat([part, part]) for part in heads)
        features = FrameFeatures(torch.cat([frame, frame]), twice)
        prompts = model.embed_prompts(features, [PromptInput(slice(0, 2), clip.settings.question, clip=True)])
        scores = torch.from_numpy(model.score_prompts(prompts, labels)[0])
    assert list(clip.probabilities.values()) == pytest.approx(scores.softmax(0).tolist(), abs=1e-4)
    degrees = (heads.pose[0] * 180 / np.pi).tolist()
    assert list(reading["face"]["pose_degrees"].values()) == pytest.approx(degrees, abs=0.051), "printed to 0.1"


def change_config(model: Path, **settings: Any) -> None:
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def replace_weights(model: Path, state: State) -> None:
    for path in model.glob("pytorch_model*"):
        path.unlink()
    torch.save(state, model / "pytorch_model.bin")


def without(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in names}


BAD_WEIGHTS: dict[str, tuple[Callable[[State], State], list[str]]] = {
    "missing": (
        lambda state: without(state, "model.norm.weight", "model.layers.31.mlp.up_proj.weight"),
        ["missing: language.model.norm.weight [32]", "missing: language.model.layers.31.mlp.up_proj.weight [48, 32]"],
    ),
    "misshapen": (
        lambda state: {**state, "model.norm.weight": torch.ones(31)},
        [
            "misshapen: language.model.norm.weight is [31], the config asks for [32]",
            "(model.norm.weight in pytorch_model.bin)",
        ],
    ),
    "unknown": (
        lambda state: {**state, "model.vlm_att_bert_proj.weight": torch.ones(3)},
        ["unknown: model.vlm_att_bert_proj.weight in model"],
    ),
    "integers": (
        lambda state: {**state, "model.norm.weight": torch.ones(32, dtype=torch.int8)},
        ["wrong dtype: model.norm.weight in pytorch_model.bin is torch.int8"],
    ),
    "fewer layers than EVA and the Q-Former have": (
        lambda state: {
            name: value
            for name, value in state.items()
            if ".blocks.38." not in name and ".encoder.layer.11." not in name
        },
        ["missing: vision.blocks.38.norm1.weight", "encoder.layer.11.output_query.dense.weight"],
    ),
    "no vision tower and no Q-Former": (
        lambda state: {
            name: value for name, value in state.items() if "vision_tower" not in name and "vlm_att_enc" not in name
        },
        ["lacks whole parts; give `vision` and `qformer`"],
    ),
    "a sparse tensor": (
        lambda state: {**state, "model.norm.weight": torch.ones(32).to_sparse()},
        ["holds more than plain named tensors: 'model.norm.weight';"],
    ),
    "not finite": (
        lambda state: {
            **state,
            "model.norm.weight": torch.full((32,), torch.nan),
            "lm_head.weight": torch.full((768, 32), torch.inf),
        },
        ["2 tensor(s)", "not finite: language.model.norm.weight", "not finite: language.lm_head.weight"],
    ),
    "no sizes": (
        lambda state: without(state, "model.vlm_att_query", "model.embed_tokens.weight"),
        ["missing: connector.vlm_att_query", "missing: language.model.embed_tokens.weight"],
    ),
}


@pytest.mark.parametrize("kind", list(BAD_WEIGHTS))
def test_bad_weights_are_one_error_that_names_them_all(kind: str, upstream: Any, tmp_path: Path) -> None:
    change, named = BAD_WEIGHTS[kind]
    model = copied(upstream, tmp_path)
    replace_weights(model, change(dict(upstream.state)))
    with pytest.raises(CheckpointError) as caught:
        checkpoint_from_llama_vid(LlamaVidPieces(model), tmp_path / "checkpoint")
    assert all(part in str(caught.value) for part in named), str(caught.value)
    assert not (tmp_path / "checkpoint").exists()


def test_long_videos_stretch_positions(upstream: Any, tmp_path: Path) -> None:
    """LLaMA-VID's recipe for long videos: linear scaling in the config, the trained length in the tokenizer's."""
    model = copied(upstream, tmp_path)
    change_config(model, rope_scaling={"type": "linear", "factor": 16.0})
    (model / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 4096}))
    imported(LlamaVidPieces(model), tmp_path / "checkpoint")
    language = EmoLlamaConfig.from_pretrained(tmp_path / "checkpoint").language
    assert (language.rope_factor, language.max_position_embeddings) == (16.0, 4096)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated shard": (
        lambda model: os.truncate(model / "pytorch_model-00002-of-00003.bin", 5000),
        "pytorch_model-00002-of-00003.bin: not a torch file (truncated or corrupt)",
    ),
    "empty shard": (
        lambda model: os.truncate(model / "pytorch_model-00002-of-00003.bin", 0),
        "pytorch_model-00002-of-00003.bin: not readable as a torch file",
    ),
    "missing shard": (
        lambda model: (model / "pytorch_model-00001-of-00003.bin").unlink(),
        "names shards that are not there: pytorch_model-00001-of-00003.bin",
    ),
    "shard elsewhere": (
        lambda model: (model / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../b.bin"}}'),
        "shards must lie beside it, not at '../b.bin'",
    ),
    "broken index": (
        lambda model: (model / "pytorch_model.bin.index.json").write_text("[]"),
        "pytorch_model.bin.index.json: not an index of shards",
    ),
    "index that errs": (
        lambda model: (model / "pytorch_model.bin.index.json").write_text(
            json.dumps({"weight_map": {"lm_head.bias": "pytorch_model-00001-of-00003.bin"}})
        ),
        "1 tensor(s) are not where it says:\n  lm_head.bias in pytorch_model-00001-of-00003.bin",
    ),
    "no config": (lambda model: (model / "config.json").unlink(), "config.json: no such file"),
    "no weights": (lambda model: [path.unlink() for path in model.glob("pytorch*")], "none of model.safetensors, "),
    "no tokenizer": (lambda model: (model / "tokenizer.model").unlink(), "tokenizer.model: no such file; copy it"),
    "words of another model": (
        lambda model: (model / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n"),
        "4 words and [DEC] do not fit the model's",
    ),
    "no words": (lambda model: (model / "vocab.txt").write_bytes(b"\xff\xfe\0"), "not readable as a list of words"),
    "long video": (
        lambda model: change_config(model, rope_scaling={"type": "dynamic", "factor": 16.0}, mm_use_im_start_end=True),
        "2 setting(s) that cannot be imported",
    ),
    "another bert": (lambda model: change_config(model, bert_type="raw_bert_layer:2"), "bert_type 'raw_bert_layer:2'"),
    "a CLIP tower": (
        lambda model: change_config(model, mm_vision_tower="openai/clip-vit-large-patch14"),
        "a CLIP tower; only EVA is known",
    ),
    "an impossible size": (lambda model: change_config(model, num_attention_heads=5), "must be an even multiple"),
}


@pytest.mark.parametrize("kind", list(BAD_FILES))
def test_bad_files_are_one_error_with_its_exit_code(kind: str, upstream: Any, tmp_path: Path) -> None:
    damage, message = BAD_FILES[kind]
    model = copied(upstream, tmp_path)
    damage(model)
    arguments = ["import", "llama-vid", "--model", str(model), "--out", str(tmp_path / "checkpoint")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 5, result.output
    assert message in result.stderr
    assert not (tmp_path / "checkpoint").exists()


def test_two_names_of_one_tensor_are_both_written(upstream: Any, tmp_path: Path) -> None:
    model = copied(upstream, tmp_path)
    replace_weights(model, {**upstream.state, "lm_head.weight": upstream.state["model.embed_tokens.weight"]})
    state, _ = imported(LlamaVidPieces(model), tmp_path / "checkpoint")
    assert torch.equal(state["language.lm_head.weight"], state["language.model.embed_tokens.weight"])


def test_a_disk_that_fills_up_is_one_error_and_the_import_can_go_on(
    upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(weights, "save_file", full)
        with pytest.raises(InputError, match="No space left on device; make room"):
            checkpoint_from_llama_vid(LlamaVidPieces(upstream.model), tmp_path / "checkpoint")
    assert (tmp_path / ".checkpoint.partial").is_dir()
    imported(LlamaVidPieces(upstream.model), tmp_path / "checkpoint")


def test_words_that_are_nowhere_are_asked_for(upstream: Any, tmp_path: Path) -> None:
    model = copied(upstream, tmp_path)
    (model / "vocab.txt").unlink()
    with pytest.raises(InputError, match="`question_vocabulary`"):
        checkpoint_from_llama_vid(LlamaVidPieces(model), tmp_path / "checkpoint")
    (tmp_path / "page.txt").write_text("<html>\n<body>Sign in</body>\n")
    page = LlamaVidPieces(model, question_vocabulary=tmp_path / "page.txt")
    with pytest.raises(CheckpointError, match=r"page\.txt: an HTML page, not the file"):
        checkpoint_from_llama_vid(page, tmp_path / "checkpoint")
    pieces = LlamaVidPieces(model, question_vocabulary=upstream.model / "vocab.txt")
    checkpoint_from_llama_vid(pieces, tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint" / "question_tokenizer.json").is_file()


class Code:
    """What a hostile file would have run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_code_in_a_file_is_refused_and_not_run(upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"cls_token": Code()}, tmp_path / "eva.pth")
    with pytest.raises(CheckpointError, match=r"eva.pth: needs more than tensors to be read.*mkdir"):
        checkpoint_from_llama_vid(LlamaVidPieces(upstream.model, vision=tmp_path / "eva.pth"), tmp_path / "checkpoint")
    assert not (tmp_path / "ran").exists()


def test_a_vision_file_of_another_width_is_named(upstream: Any, tmp_path: Path, eva: Callable[..., State]) -> None:
    narrow = {name: value[..., :44] if value.ndim > 1 else value for name, value in eva().items()}
    torch.save(narrow, tmp_path / "eva.pth")
    with pytest.raises(CheckpointError, match=r"misshapen: .*vision.* in eva.pth\)"):
        checkpoint_from_llama_vid(LlamaVidPieces(upstream.model, vision=tmp_path / "eva.pth"), tmp_path / "checkpoint")


def test_a_target_that_holds_something_is_refused_first(upstream: Any, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="already there"):
        checkpoint_from_llama_vid(LlamaVidPieces(tmp_path / "nothing"), tmp_path)
    assert (tmp_path / "kept.txt").read_text() == "mine"


def test_a_place_without_room_is_told_before_the_first_tensor(
    upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(checkpoint_writer.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(ImportedTensor, "value", lambda tensor: pytest.fail("was read"))
    with pytest.raises(InputError, match=r"GB are needed and 0\.0 GB free; make room"):
        checkpoint_from_llama_vid(LlamaVidPieces(upstream.model), tmp_path / "checkpoint")


def test_two_imports_to_one_name_are_told_apart(upstream: Any, tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    with FileLock(lock_path(target)), pytest.raises(CheckpointError, match="another import is writing it"):
        checkpoint_from_llama_vid(LlamaVidPieces(upstream.model), target)


def test_shards_hold_every_tensor_once(tmp_path: Path, upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_writer, "SHARD_BYTES", 1 << 20)
    seen: list[tuple[int, int]] = []
    target = tmp_path / "checkpoint"
    checkpoint_from_llama_vid(LlamaVidPieces(upstream.model), target, progress=lambda *at: seen.append(at))
    index = json.loads((target / "model.safetensors.index.json").read_text())
    held = {name: path.name for path in target.glob("*.safetensors") for name in load_file(path)}
    assert held == index["weight_map"]
    sizes = [path.stat().st_size for path in target.glob("*.safetensors")]
    assert max(sizes) < (1 << 20) + 60_000 and len(sizes) == len(seen)
    assert seen[-1] == (index["metadata"]["total_size"],) * 2
    assert np.all(np.diff([done for done, _ in seen]) > 0)
