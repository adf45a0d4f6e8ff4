"""Embeddings and probabilities equal those of llama-mtmd-cli's functions, and transformers' own forward pass."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emo_edge.benchmarks.peers.random_mmproj import ClipShape, write_clip_projector
from emo_edge.errors import BundleError
from emo_edge.runtimes.base.sessions import Chunk, PictureRows
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.mtmd.encoder import MtmdEncoder
from emo_edge.runtimes.mtmd.library import mtmd_library, text_tokens
from emo_edge.runtimes.mtmd.proof import proven_pair
from tests.random_vlms import Written

BEFORE, AFTER = "What does the", "person in this picture feel? Choose one: anger, fear."
CONTEXT = 256
F16_ERROR = 2e-3
"""llama.cpp looks GELU up in a table of float16, and convolves patches in it."""


def picture(side: int, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@contextmanager
def opened(written: Written) -> Iterator[tuple[LlamaSession, MtmdEncoder]]:
    proven_pair(written.model, written.mmproj, written.vlm.side)
    with (
        LlamaSession(written.model, context_size=CONTEXT, exact_cache=True, threads=1) as language,
        MtmdEncoder(written.mmproj, language, threads=1, exact=True) as encoder,
    ):
        yield language, encoder


def prompt(language: LlamaSession, chunks: list[Chunk]) -> list[Chunk]:
    return [language.tokenize(BEFORE), *chunks, language.tokenize(AFTER)]


def log_probs(language: LlamaSession) -> NDArray[np.float32]:
    return np.array([scores[0] for scores in language.score([[token] for token in range(CONTEXT)])])


def test_embeddings_and_probabilities_are_those_of_mtmd_helper(written: Written) -> None:
    image = picture(written.vlm.side)
    with opened(written) as (language, encoder):
        chunks = encoder.encode(image)
        language.prefill(prompt(language, chunks))
        ours = log_probs(language)
        rows = np.concatenate([chunk.embeddings for chunk in chunks if isinstance(chunk, PictureRows)])
        logits, embeddings = helper(language, encoder, image)
    np.testing.assert_allclose(rows, embeddings, atol=1e-6)
    expected = torch.from_numpy(logits).log_softmax(0).numpy()[:CONTEXT]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def helper(
    language: LlamaSession, encoder: MtmdEncoder, image: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Evaluate the prompt as llama-mtmd-cli does, in the same context: text, picture, text."""
    mtmd, native = mtmd_library(), language._native
    marker = mtmd.mtmd_default_marker()
    text = BEFORE.encode() + marker + AFTER.encode()
    given = mtmd.mtmd_input_text(text=text, text_len=len(text), add_special=False, parse_special=True)
    pixels = image.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    bitmap = mtmd.mtmd_bitmap_init(image.shape[1], image.shape[0], pixels)
    chunks = mtmd.mtmd_input_chunks_init()
    assert not mtmd.mtmd_tokenize(
        encoder._context, chunks, ctypes.byref(given), (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap), 1
    )
    native.llama_memory_clear(language._memory, True)
    past = ctypes.c_int32(0)
    assert not mtmd.mtmd_helper_eval_chunks(
        encoder._context, language._context, chunks, 0, 0, 512, True, ctypes.byref(past)
    )
    logits = language._row(-1).copy()
    rows = []
    for index in range(mtmd.mtmd_input_chunks_size(chunks)):
        chunk = mtmd.mtmd_input_chunks_get(chunks, index)
        if not text_tokens(mtmd, chunk):
            assert not mtmd.mtmd_encode_chunk(encoder._context, chunk)
            output = ctypes.cast(mtmd.mtmd_get_output_embd(encoder._context), ctypes.POINTER(ctypes.c_float))
            count = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
            rows.append(np.ctypeslib.as_array(output, (count, language.embedding_size)).copy())
    mtmd.mtmd_input_chunks_free(chunks)
    mtmd.mtmd_bitmap_free(bitmap)
    return logits, np.concatenate(rows)


def test_transformers_computes_the_same(written: Written) -> None:
    image = picture(written.vlm.side)
    with opened(written) as (language, encoder):
        chunks = encoder.encode(image)
        language.prefill(prompt(language, chunks))
        ours = log_probs(language)
        before, after = language.tokenize(BEFORE), language.tokenize(AFTER)
    pictures = [chunk for chunk in chunks if isinstance(chunk, PictureRows)]
    features = transformers_features(written, image)
    for rows in pictures:
        scale = np.abs(features).max()
        np.testing.assert_allclose(rows.embeddings / scale, features / scale, atol=F16_ERROR)
    around: list[list[int] | None] = [None if isinstance(chunk, PictureRows) else list(chunk) for chunk in chunks]
    logits = transformers_logits(written, [before, *around, after], features)
    expected = torch.from_numpy(logits).log_softmax(0).numpy()[:CONTEXT]
    np.testing.assert_allclose(ours, expected, atol=5 * F16_ERROR)


def normalised(written: Written, image: NDArray[np.uint8]) -> torch.Tensor:
    values = (image.astype(np.float32) / 255 - written.vlm.mean) / written.vlm.deviation
    return torch.from_numpy(values.transpose(2, 0, 1)[None].copy())


@torch.no_grad()
def transformers_features(written: Written, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    model, pixels = written.vlm.model, normalised(written, image)
    if written.family == "qwen2-vl":
        side = written.vlm.side // 14
        # Two equal frames; patches two by two, as Qwen2VLImageProcessor orders them.
        frames = pixels.repeat(2, 1, 1, 1).reshape(1, 2, 3, side // 2, 2, 14, side // 2, 2, 14)
        patches = frames.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(side * side, -1)
        return model.model.visual(patches, torch.tensor([[1, side, side]])).numpy()
    if written.family == "llava":
        return llava_features(model, pixels).numpy()
    # Position k of n is k. transformers 4.57 multiplies k / n by 1 - 1e-6 before it looks k up, and gets k - 1.
    tower, layers = model.model.vision_model, model.model.vision_model.encoder
    patches = tower.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    hidden = layers(inputs_embeds=patches + tower.embeddings.position_embedding.weight).last_hidden_state
    features = model.model.connector(tower.post_layernorm(hidden))
    return features.reshape(-1, features.shape[-1]).numpy()


def llava_features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """CLIP with its class token behind the patches, where llama.cpp puts it (its issue 25814), and LLaVA has it first.

    The positions and the rows that the projector reads are those of a class token in front. Where this stops being
    what libmtmd computes, `emo_edge.export.importers.gguf` must no longer warn.
    """
    tower = model.model.vision_tower.vision_model
    patches = tower.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    tokens = torch.cat([patches, tower.embeddings.class_embedding.view(1, 1, -1)], 1)
    hidden = tower.pre_layrnorm(tokens + tower.embeddings.position_embedding.weight)
    for layer in tower.encoder.layers[:2]:
        (hidden,) = layer(hidden, None, None)
    return model.model.multi_modal_projector(hidden[:, 1:])[0]  # type: ignore[no-any-return]


@torch.no_grad()
def transformers_logits(
    written: Written, parts: list[list[int] | None], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    model: Any = written.vlm.model
    config = model.config
    image_token = getattr(config, "image_token_id", None) or config.image_token_index
    ids = [token for part in parts for token in ([image_token] * len(features) if part is None else part)]
    tokens = torch.tensor([ids])
    embedded = model.get_input_embeddings()(tokens)
    embedded[tokens == image_token] = torch.from_numpy(np.tile(features, (parts.count(None), 1)))
    extra = {}
    if written.family == "qwen2-vl":
        side = written.vlm.side // 14
        extra["position_ids"], _ = model.model.get_rope_index(tokens, torch.tensor([[1, side, side]]))
    language = model.model.text_model if written.family == "smolvlm" else model.model.language_model
    hidden = language(inputs_embeds=embedded, **extra).last_hidden_state
    return model.lm_head(hidden)[0, -1].numpy()


def test_another_question_keeps_the_picture_and_equals_a_fresh_prompt(written: Written) -> None:
    with opened(written) as (language, encoder):
        chunks = encoder.encode(picture(written.vlm.side))
        language.prefill([language.tokenize(BEFORE), *chunks, language.tokenize("Who is it?")])
        computed = language.prefill(prompt(language, chunks))
        kept = log_probs(language)
        length = language.used
        language.prefill([[5]])
        assert language.prefill(prompt(language, chunks)) == length
        fresh = log_probs(language)
    assert computed < length - sum(len(chunk) for chunk in chunks)
    np.testing.assert_allclose(kept, fresh, atol=1e-4)


def test_another_picture_gives_other_probabilities(written: Written) -> None:
    with opened(written) as (language, encoder):
        found = []
        for seed in (1, 2):
            language.prefill(prompt(language, encoder.encode(picture(written.vlm.side, seed))))
            found.append(log_probs(language))
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_an_mmproj_of_another_width_is_refused(written_llava: Written, tmp_path: Path) -> None:
    other = write_clip_projector(tmp_path / "mmproj.gguf", written_llava.model, ClipShape(28, 14, 32, 64, 4, 2), out=64)
    with pytest.raises(BundleError, match=r"mismatch between text model .*take the mmproj of the same model"):
        proven_pair(written_llava.model, other, 28)


def test_a_child_that_ends_by_a_signal_is_an_error(written_llava: Written, tmp_path: Path) -> None:
    broken = tmp_path / "mmproj.gguf"
    content = written_llava.mmproj.read_bytes()
    key = b"clip.vision.attention.head_count"
    start = content.index(key) + len(key) + 4
    broken.write_bytes(content[:start] + (5).to_bytes(4, "little") + content[start + 4 :])
    with pytest.raises(BundleError, match=r"llama\.cpp|libmtmd"):
        proven_pair(written_llava.model, broken, written_llava.vlm.side)


def test_swapped_files_are_named(written_llava: Written) -> None:
    with pytest.raises(BundleError, match="an mmproj, not a language model; are the two files swapped"):
        proven_pair(written_llava.mmproj, written_llava.model, 56)
