"""Headers of a VLM's files that llama.cpp would end the process on are one error that names the value."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from emo_edge.bundle.checks.any_gguf import check_language_gguf, check_mmproj_gguf
from emo_edge.errors import BundleError
from tests.random_vlms import Written, written_vlm

LANGUAGE = {
    "qwen2vl.block_count": (0, "whole number from 1 to 512"),
    "qwen2vl.embedding_length": (1 << 24, "whole number from 1 to"),
    "qwen2vl.attention.head_count": (0, "whole number from 1 to"),
    "qwen2vl.attention.head_count_kv": (0, "whole number from 1 to"),
    "qwen2vl.feed_forward_length": (0, "whole number from 1 to"),
    "qwen2vl.attention.layer_norm_rms_epsilon": (-1.0, "a number above 0"),
    "qwen2vl.rope.freq_base": (float("nan"), "a finite number"),
}
MMPROJ = {
    "clip.vision.patch_size": (1000, "1000 of an image_size of 560"),
    "clip.vision.block_count": (0, "whole number from 1 to 512"),
    "clip.vision.attention.layer_norm_epsilon": (0.0, "a number above 0"),
}


@pytest.fixture(scope="module")
def vlm(made_once: Callable[..., Path]) -> Written:
    return written_vlm(made_once, "qwen2-vl")


def changed(source: Path, target: Path, key: str, value: float) -> Path:
    content, name = bytearray(source.read_bytes()), key.encode()
    start = content.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4
    content[start : start + 4] = struct.pack("<f" if isinstance(value, float) else "<I", value)
    target.write_bytes(content)
    return target


def test_whole_files_are_fine(vlm: Written) -> None:
    assert check_language_gguf(vlm.model).architecture == "qwen2vl"
    assert check_mmproj_gguf(vlm.mmproj).architecture == "clip"


@pytest.mark.parametrize("key", LANGUAGE)
def test_a_language_model_out_of_bounds(vlm: Written, tmp_path: Path, key: str) -> None:
    value, match = LANGUAGE[key]
    with pytest.raises(BundleError, match=match) as caught:
        check_language_gguf(changed(vlm.model, tmp_path / "model.gguf", key, value))
    assert key in str(caught.value) and "download it again" in str(caught.value)


@pytest.mark.parametrize("key", MMPROJ)
def test_an_mmproj_out_of_bounds(vlm: Written, tmp_path: Path, key: str) -> None:
    value, match = MMPROJ[key]
    with pytest.raises(BundleError, match=match) as caught:
        check_mmproj_gguf(changed(vlm.mmproj, tmp_path / "mmproj.gguf", key, value))
    assert key in str(caught.value)


def test_an_mmproj_of_sound_is_named(vlm: Written, tmp_path: Path) -> None:
    content, key = bytearray(vlm.mmproj.read_bytes()), b"clip.has_vision_encoder"
    content[content.index(key) + len(key) + 4] = 0
    sound = tmp_path / "mmproj.gguf"
    sound.write_bytes(content)
    with pytest.raises(BundleError, match="reads sound, not pictures; take the one with the vision tower"):
        check_mmproj_gguf(sound)


def test_a_file_that_ends_early_is_one_error(vlm: Written, tmp_path: Path) -> None:
    short = tmp_path / "model.gguf"
    short.write_bytes(vlm.model.read_bytes()[:-4096])
    with pytest.raises(BundleError, match="the file is truncated"):
        check_language_gguf(short)
