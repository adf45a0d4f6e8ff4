"""GGUF files: what is written is the checkpoint, what llama.cpp would misread or die of is refused first."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

from emo_edge.errors import CheckpointError
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.gguf.file_types import FILE_TYPES, IMATRIX_TYPES, available_file_types, block_misfit
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.gguf.writer import gguf_from_checkpoint, lossless_type
from emo_edge.export.models.llama import build_llama
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, LanguageTokenizer
from emo_edge.export.reference.weights import INDEX_NAME, WEIGHTS_NAME
from emo_edge.runtimes.llama_cpp.session import LlamaSession

CONFIG = LanguageConfig(
    vocab_size=776,
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
)
NARROW = CONFIG.model_copy(update={"hidden_size": 32, "intermediate_size": 64})
ROTATED = "language.model.layers.0.self_attn.k_proj.weight"


def random_state(config: LanguageConfig) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = build_llama(config).state_dict()
        return {f"language.{name}": part + 0.05 * torch.randn_like(part) for name, part in state.items()}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return random_state(CONFIG)


@pytest.fixture(scope="module")
def checkpoint(state: dict[str, Tensor], tokenizer_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("language")
    shutil.copy(tokenizer_directory / LANGUAGE_MODEL_NAME, directory)
    save_file(state, directory / WEIGHTS_NAME)
    return directory


@pytest.fixture(scope="module")
def plain(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    return {
        kind: gguf_from_checkpoint(checkpoint, CONFIG, folder / f"{kind}.gguf", file_type=kind, name="toy")
        for kind in ("f32", "f16")
    }


@pytest.fixture
def changed(checkpoint: Path, state: dict[str, Tensor], tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Make a checkpoint with other tensors; None removes one."""

    def write(changes: dict[str, Any]) -> Path:
        merged = {name: part for name, part in {**state, **changes}.items() if part is not None}
        shutil.copy(checkpoint / LANGUAGE_MODEL_NAME, tmp_path)
        save_file(merged, tmp_path / WEIGHTS_NAME)
        return tmp_path

    return write


def tensors(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def metadata(path: Path, *keys: str) -> dict[str, Any]:
    fields = gguf.GGUFReader(path).fields
    return {key: fields[key].contents() for key in keys}


def written(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if "gguf" in entry.name)


def test_every_tensor_is_the_checkpoints(plain: dict[str, Path], state: dict[str, Tensor]) -> None:
    found = tensors(plain["f32"])
    assert len(found) == len(state) == 2 * 9 + 3
    for name, source in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.1.attn_v.weight", "model.layers.1.self_attn.v_proj.weight"),
        ("blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight"),
        ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"),
    ):
        np.testing.assert_array_equal(found[name].data, state[f"language.{source}"].numpy(), err_msg=name)


def test_rotated_rows_are_interleaved_head_by_head(plain: dict[str, Path], state: dict[str, Tensor]) -> None:
    head = 64
    order = [start + half * head // 2 + row for start in (0, head) for row in range(head // 2) for half in (0, 1)]
    expected = state[ROTATED].numpy()[order]
    np.testing.assert_array_equal(tensors(plain["f32"])["blk.0.attn_k.weight"].data, expected)


def test_norms_stay_float32(plain: dict[str, Path], state: dict[str, Tensor]) -> None:
    found = tensors(plain["f16"])
    kinds = {name: tensor.tensor_type.name for name, tensor in found.items()}
    assert {name for name, kind in kinds.items() if kind == "F32"} == {name for name in kinds if "norm" in name}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {"F16"}
    expected = state["language.lm_head.weight"].half().numpy()
    np.testing.assert_array_equal(found["output.weight"].data, expected)


def test_metadata_is_the_configs(plain: dict[str, Path]) -> None:
    expected = {
        "general.architecture": "llama",
        "general.name": "toy",
        "general.file_type": 1,
        "llama.context_length": 128,
        "llama.embedding_length": 256,
        "llama.block_count": 2,
        "llama.feed_forward_length": 512,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 64,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": 776,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_space_prefix": True,
    }
    assert metadata(plain["f16"], *expected) == expected
    epsilon = "llama.attention.layer_norm_rms_epsilon"
    assert metadata(plain["f16"], epsilon)[epsilon] == pytest.approx(1e-5)


def test_the_vocabulary_is_padded_with_pieces_no_text_matches(plain: dict[str, Path], checkpoint: Path) -> None:
    size = len(LanguageTokenizer(checkpoint))
    keys = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type")
    pieces, kinds = metadata(plain["f16"], *keys).values()
    assert pieces[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert kinds[:4] == [2, 3, 3, 6]
    assert len(pieces) == len(kinds) == 776 > size
    assert set(kinds[size:]) == {5}
    assert len(set(pieces)) == 776


def test_shards_give_the_same_file(
    checkpoint: Path, state: dict[str, Tensor], plain: dict[str, Path], tmp_path: Path
) -> None:
    names = sorted(state)
    placed = {name: f"part-{index % 2}.safetensors" for index, name in enumerate(names)}
    for shard in set(placed.values()):
        save_file({name: state[name] for name in names if placed[name] == shard}, tmp_path / shard)
    save_file({"vision.weight": torch.ones(2)}, tmp_path / "part-2.safetensors")
    placed["vision.weight"] = "part-2.safetensors"
    (tmp_path / INDEX_NAME).write_text(json.dumps({"weight_map": placed}))
    shutil.copy(checkpoint / LANGUAGE_MODEL_NAME, tmp_path)
    told: list[tuple[int, int]] = []
    out = gguf_from_checkpoint(
        tmp_path, CONFIG, tmp_path / "o.gguf", name="toy", progress=lambda *counts: told.append(counts)
    )
    assert out.read_bytes() == plain["f16"].read_bytes()
    sizes = [int(tensor.n_bytes) for tensor in tensors(out).values()]
    assert told == [(sum(sizes[: count + 1]), sum(sizes)) for count in range(len(sizes))]


def test_bfloat16_checkpoints_are_read(
    changed: Callable[[dict[str, Any]], Path], state: dict[str, Tensor], tmp_path: Path
) -> None:
    directory = changed({name: part.bfloat16() for name, part in state.items()})
    out = gguf_from_checkpoint(directory, CONFIG, tmp_path / "o.gguf", file_type="f32", name="toy")
    expected = state["language.lm_head.weight"].bfloat16().float().numpy()
    np.testing.assert_array_equal(tensors(out)["output.weight"].data, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({ROTATED: None}, "missing: model.layers.0.self_attn.k_proj.weight"),
        ({ROTATED: torch.ones(3, 256)}, r"misshapen: .*k_proj.weight is \[3, 256\]"),
        ({"language.model.bias": torch.ones(1)}, "unexpected: model.bias"),
        ({ROTATED: torch.full((128, 256), torch.nan)}, f"not finite: {ROTATED}"),
        ({ROTATED: torch.full((128, 256), 7e4)}, f"not finite: {ROTATED} .*float16"),
        ({ROTATED: torch.ones(128, 256, dtype=torch.int32)}, f"{ROTATED} .*int32"),
    ],
)
def test_broken_weights_are_named_and_nothing_is_left(
    changed: Callable[[dict[str, Any]], Path], changes: dict[str, Any], message: str
) -> None:
    directory = changed(changes)
    with pytest.raises(CheckpointError, match=message):
        gguf_from_checkpoint(directory, CONFIG, directory / "o.gguf", name="toy")
    assert written(directory) == []


def test_large_weights_fit_float32(changed: Callable[[dict[str, Any]], Path]) -> None:
    directory = changed({ROTATED: torch.full((128, 256), 7e4)})
    out = gguf_from_checkpoint(directory, CONFIG, directory / "o.gguf", file_type="f32", name="toy")
    assert tensors(out)["blk.0.attn_k.weight"].data[0, 0] == 7e4


def test_nothing_is_overwritten(checkpoint: Path, plain: dict[str, Path]) -> None:
    before = plain["f16"].read_bytes()
    with pytest.raises(CheckpointError, match="already there"):
        gguf_from_checkpoint(checkpoint, CONFIG, plain["f16"], name="toy")
    with pytest.raises(CheckpointError, match="already there"):
        quantize_gguf(plain["f32"], plain["f16"], "q8_0")
    assert plain["f16"].read_bytes() == before


def test_a_checkpoint_is_not_quantized_on_the_way(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="written as f32 or f16, not q8_0"):
        gguf_from_checkpoint(checkpoint, CONFIG, tmp_path / "o.gguf", file_type="q8_0", name="toy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "unigram"}, "not of the BPE kind"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalizes its text"),
        ({"remove_extra_whitespaces": True}, "normalizes its text"),
        ({"treat_whitespace_as_suffix": True}, "leading ▁"),
        ({"byte_fallback": False, "vocab_size": 60}, "lacks pieces for some bytes"),
        ({"user_defined_symbols": ["<face>"]}, r"user-defined pieces \(<face>\)"),
        ({"vocab_size": 400}, "400 pieces, more than vocab_size 390"),
    ],
)
def test_tokenizers_that_llama_cpp_reads_otherwise_are_refused(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    model = io.BytesIO()
    defaults = {
        "vocab_size": 300,
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "hard_vocab_limit": False,
        "minloglevel": 3,
    }
    lines = ["the face looks happy and the voice sounds surprised", "a person who is angry or sad", "neutral"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 5), model_writer=model, **{**defaults, **options}
    )
    (tmp_path / LANGUAGE_MODEL_NAME).write_bytes(model.getvalue())
    shutil.copy(checkpoint / WEIGHTS_NAME, tmp_path)
    config = CONFIG
    if "vocab_size" in message:
        config = CONFIG.model_copy(update={"vocab_size": 390})
        rows = {f"language.{name}.weight": torch.ones(390, 256) for name in ("model.embed_tokens", "lm_head")}
        save_file({**random_state(CONFIG), **rows}, tmp_path / WEIGHTS_NAME)
    with pytest.raises(CheckpointError, match=message):
        gguf_from_checkpoint(tmp_path, config, tmp_path / "o.gguf", name="toy")
    assert written(tmp_path) == []


def test_file_types_carry_llama_cpps_numbers() -> None:
    from llama_cpp import llama_cpp

    for name, number in {**FILE_TYPES, **IMATRIX_TYPES}.items():
        assert getattr(llama_cpp, f"LLAMA_FTYPE_{'ALL' if name == 'f32' else 'MOSTLY'}_{name.upper()}") == number, name


def test_available_file_types_follow_the_rows() -> None:
    assert available_file_types(CONFIG) == list(FILE_TYPES)
    assert available_file_types(CONFIG, importance=True) == [*FILE_TYPES, *IMATRIX_TYPES]
    blocks_of_32 = ["f32", "f16", "bf16", "q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl"]
    assert available_file_types(NARROW) == blocks_of_32
    assert available_file_types(CONFIG.model_copy(update={"intermediate_size": 500})) == ["f32", "f16", "bf16"]


def test_a_type_that_does_not_fit_says_why() -> None:
    odd = CONFIG.model_copy(update={"hidden_size": 896, "intermediate_size": 4864})
    assert block_misfit("q4_k_m", odd) == "it needs rows that are multiples of 256, and this model's are 896 and 4864"
    assert block_misfit("iq2_xxs", odd) and not block_misfit("q8_0", odd) and not block_misfit("q4", odd)
    assert not block_misfit("q4_k_m", CONFIG)


@pytest.mark.parametrize(
    ("stored", "smallest"), [(torch.float16, "f16"), (torch.bfloat16, "f32"), (torch.float32, "f32")]
)
def test_the_smallest_file_that_rounds_nothing_follows_the_matrices(
    stored: torch.dtype, smallest: str, changed: Callable[[dict[str, Any]], Path], state: dict[str, Tensor]
) -> None:
    kept = {name: value.to(stored) if value.ndim > 1 else value for name, value in state.items()}
    assert lossless_type(changed(kept)) == smallest
    assert lossless_type(changed({**kept, ROTATED: state[ROTATED]})) == "f32", "one matrix is enough"


def test_quantizing_from_the_f16_file_of_a_float16_checkpoint_changes_no_bit(
    changed: Callable[[dict[str, Any]], Path], state: dict[str, Tensor], tmp_path: Path
) -> None:
    directory = changed({name: value.half() for name, value in state.items()})
    made = []
    for source in ("f32", "f16"):
        plain = gguf_from_checkpoint(directory, CONFIG, tmp_path / f"{source}.gguf", file_type=source, name="m")
        quantize_gguf(plain, tmp_path / f"{source}-q4_k_m.gguf", "q4_k_m")
        made.append({name: one.data.tobytes() for name, one in tensors(tmp_path / f"{source}-q4_k_m.gguf").items()})
    assert made[0] == made[1]


@pytest.mark.parametrize(("file_type", "share", "distance"), [("q8_0", 0.54, 0.05), ("q4_k_m", 0.34, 0.35)])
def test_quantized_files_are_smaller_and_still_the_model(
    plain: dict[str, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    file_type: str,
    share: float,
    distance: float,
) -> None:
    target = tmp_path / "q.gguf"
    quantize_gguf(plain["f16"], target, file_type)
    assert written(tmp_path) == ["q.gguf"]
    assert target.stat().st_size < share * plain["f16"].stat().st_size
    scores = []
    for path in (plain["f16"], target):
        with LlamaSession(path, context_size=64, threads=1) as session:
            session.prefill([list(range(300, 340))])
            scores.append(np.concatenate(session.score([[token] for token in range(0, 776, 25)])))
    assert np.abs(scores[0] - scores[1]).mean() < distance
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("file_type", "message"),
    [
        ("iq2_xxs", "iq2_xxs needs importance statistics"),
        ("q9", "no file type 'q9'; there are: f32, f16"),
        ("q4_k_m", r"q4_k_m needs rows that are multiples of 256: token_embd.weight has 32"),
    ],
)
def test_file_types_that_cannot_be_made_are_refused(
    tokenizer_directory: Path, tmp_path: Path, file_type: str, message: str
) -> None:
    shutil.copy(tokenizer_directory / LANGUAGE_MODEL_NAME, tmp_path)
    save_file(random_state(NARROW), tmp_path / WEIGHTS_NAME)
    source = gguf_from_checkpoint(tmp_path, NARROW, tmp_path / "o.gguf", name="toy")
    with pytest.raises(CheckpointError, match=message):
        quantize_gguf(source, tmp_path / "q.gguf", file_type)
    assert written(tmp_path) == ["o.gguf"]


@pytest.mark.parametrize("size", [0, 3, 100, 9000, 200_000])
def test_truncated_sources_are_an_error(plain: dict[str, Path], tmp_path: Path, size: int) -> None:
    source = tmp_path / "cut.gguf"
    source.write_bytes(plain["f16"].read_bytes()[:size])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        quantize_gguf(source, tmp_path / "q.gguf", "q8_0")


def test_sources_with_values_that_are_not_finite_are_an_error(plain: dict[str, Path], tmp_path: Path) -> None:
    source = Path(shutil.copy(plain["f16"], tmp_path / "o.gguf"))
    offset = int(tensors(source)["blk.1.ffn_up.weight"].data_offset)
    with source.open("r+b") as stream:
        stream.seek(offset)
        stream.write(np.array([np.inf], np.float16).tobytes())
    with pytest.raises(CheckpointError, match=r"not finite: blk.1.ffn_up.weight"):
        quantize_gguf(source, tmp_path / "q.gguf", "q4_k_m")


def test_quantized_sources_and_missing_ones_are_an_error(plain: dict[str, Path], tmp_path: Path) -> None:
    quantize_gguf(plain["f16"], tmp_path / "q.gguf", "q8_0")
    with pytest.raises(CheckpointError, match="quantize an f16 or f32 file"):
        quantize_gguf(tmp_path / "q.gguf", tmp_path / "again.gguf", "q4_0")
    with pytest.raises(CheckpointError, match="no such file"):
        quantize_gguf(tmp_path / "absent.gguf", tmp_path / "again.gguf", "q4_0")


@pytest.mark.parametrize("file_type", [name for name in FILE_TYPES if name not in ("f32", "f16")])
def test_every_file_type_offered_is_made_and_read(tiny_bundle: Path, tmp_path: Path, file_type: str) -> None:
    """On emo-tiny's own weights: random ones have no answer to keep."""
    source, target = tiny_bundle / "language-f16.gguf", tmp_path / f"{file_type}.gguf"
    quantize_gguf(source, target, file_type)
    assert target.stat().st_size < 1.01 * source.stat().st_size
    scores = []
    for path in (source, target):
        with LlamaSession(path, context_size=128, threads=1) as session:
            session.prefill(
                [[1, *session.tokenize("USER: What is the facial expression? ASSISTANT: The person looks")]]
            )
            words = ("happy", "sad", "afraid", "angry", "surprised", "disgusted", "neutral")
            branches = [session.tokenize(word) for word in words]
            scores.append(np.array([tokens.sum() for tokens in session.score(branches)]))
    distance = float(np.abs(scores[0] - scores[1]).max())
    few_bits = file_type.startswith(("q2", "q3", "iq3"))
    assert distance <= (0.5 if few_bits else 0.15)
