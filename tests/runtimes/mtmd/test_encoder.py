"""Embeddings and probabilities equal those of llama-mtmd-cli's functions, and transformers' own forward pass."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
from tests.random_vlms import Written, written_vlm
from tests.runtimes.mtmd.transformers_forward import transformers_features, transformers_logits

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


def test_internvl_cuts_a_large_picture_into_tiles_and_shows_the_whole_behind_them(
    made_once: Callable[..., Path],
) -> None:
    written = written_vlm(made_once, "internvl")
    side = written.vlm.side
    image = np.concatenate([picture(side, 1), picture(side, 2)], 1)
    with opened(written) as (_, encoder):
        chunks = encoder.encode(image)
    rows = [chunk.embeddings for chunk in chunks if isinstance(chunk, PictureRows)]
    tiles = [transformers_features(written, image[:, left : left + side]) for left in (0, side)]
    assert [len(one) for one in rows] == [len(tiles[0])] * 3
    for ours, expected in zip(rows, tiles, strict=False):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours / scale, expected / scale, atol=F16_ERROR)


def test_gemmas_rows_see_each_other_and_the_others_what_came_before(written: Written) -> None:
    with opened(written) as (_, encoder):
        rows = [chunk for chunk in encoder.encode(picture(written.vlm.side)) if isinstance(chunk, PictureRows)]
    assert {one.causal for one in rows} == {written.family != "gemma3"}


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
