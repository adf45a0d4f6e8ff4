"""Our files of a random VLM are those that llama.cpp's own converter writes, from transformers' checkpoint of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.random_vlm.__main__ import main
from emo_edge.benchmarks.random_vlm.converter import (
    CONVERTER,
    LEGACY,
    SOURCE_VARIABLE,
    convert_random_vlm,
    require_source,
)
from emo_edge.benchmarks.random_vlm.differences import gguf_differences
from emo_edge.benchmarks.random_vlm.families import FAMILIES, random_vlm
from emo_edge.errors import InputError
from emo_edge.runtimes.base.sessions import PictureRows
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.mtmd.encoder import MtmdEncoder
from emo_edge.runtimes.mtmd.proof import proven_pair
from tests.random_vlms import Written, written_vlm

SOURCE = os.environ.get(SOURCE_VARIABLE)
OLDER_SCRIPT = re.compile(
    r"clip\.has_(llava_projector|text_encoder)|general\.|v\.blk\.\d+\.ffn_(up|down)\.(weight|bias): shape"
)
"""Differences of what the script for LLaVA-1.5 writes: keys that libmtmd does not read, and the two layers of a block's
feed-forward network by each other's name, which libmtmd finds out and swaps (``is_ffn_swapped`` of ``clip.cpp``)."""
F16_ERROR = 2e-3
"""That script writes the projector and the patches' convolution in float16."""

needs_source = pytest.mark.skipif(
    not SOURCE, reason=f"waits for a source tree of llama.cpp in {SOURCE_VARIABLE} (vendor/llama.cpp of its package)"
)


@pytest.fixture(scope="module", params=list(FAMILIES))
def pair(
    request: pytest.FixtureRequest, made_once: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Written, Path, Path]:
    written = written_vlm(made_once, request.param)
    folder = tmp_path_factory.mktemp("converted")
    model, mmproj = folder / "model.gguf", folder / "mmproj.gguf"
    convert_random_vlm(written.vlm, Path(str(SOURCE)), folder / "checkpoint", model, mmproj)
    return written, model, mmproj


@needs_source
@pytest.mark.slow
def test_every_key_and_every_tensor_is_the_converters(pair: tuple[Written, Path, Path]) -> None:
    written, model, mmproj = pair
    assert gguf_differences(written.model, model) == []
    odd = gguf_differences(written.mmproj, mmproj)
    if written.family == "llava":
        odd = [line for line in odd if not OLDER_SCRIPT.match(line)]
        np.testing.assert_allclose(rows(written, mmproj), rows(written, written.mmproj), atol=F16_ERROR)
    assert odd == []


def rows(written: Written, mmproj: Path) -> np.ndarray:
    """Return a picture's rows, relative to the largest value."""
    image = np.random.default_rng(1).integers(0, 256, (written.vlm.side, written.vlm.side, 3), np.uint8)
    proven_pair(written.model, mmproj, written.vlm.side)
    with (
        LlamaSession(written.model, context_size=256, threads=1) as language,
        MtmdEncoder(mmproj, language, threads=1, exact=True) as encoder,
    ):
        chunks = encoder.encode(image)
    values = np.concatenate([chunk.embeddings for chunk in chunks if isinstance(chunk, PictureRows)])
    return np.asarray(values / np.abs(values).max())


def test_a_difference_is_named(tmp_path: Path) -> None:
    def written(name: str, heads: int, **tensors: np.ndarray) -> Path:
        path = tmp_path / f"{name}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_head_count(heads)
        for tensor, values in tensors.items():
            writer.add_tensor(tensor, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(2, 32)
    one = written("one", 4, a=values, b=values)
    assert gguf_differences(one, one) == []
    assert gguf_differences(one, written("half", 4, a=values.astype(np.float16), b=values)) == []
    assert gguf_differences(one, written("other", 8, a=values + 1, c=values)) == [
        "llama.attention.head_count: 4, theirs 8",
        "a: values differ by up to 1.0e+00",
        "b: missing in theirs",
        "c: missing in ours",
    ]
    assert gguf_differences(one, written("turned", 4, a=values.reshape(4, 16), b=values)) == [
        "a: shape (2, 32), theirs (4, 16)"
    ]


def test_a_tree_without_the_converter_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no convert_hf_to_gguf.py; give a source tree of llama.cpp"):
        require_source(tmp_path)
    done = CliRunner().invoke(main, ["llava", "--out", str(tmp_path / "out"), "--converter", str(tmp_path)])
    assert done.exit_code == InputError.exit_code and not (tmp_path / "out").exists()


def test_a_script_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / CONVERTER).write_text("import sys; sys.exit('no such model: ' + sys.argv[1])", encoding="utf-8")
    vlm = random_vlm("qwen2-vl")
    with pytest.raises(InputError, match=r"(?s)convert_hf_to_gguf.py ended with 1:\n.*no such model: .*work"):
        convert_random_vlm(vlm, tmp_path, tmp_path / "work", tmp_path / "m.gguf", tmp_path / "p.gguf")


def test_an_unknown_vocabulary_gets_its_familys_pre_tokenizer_and_a_known_one_keeps_its_own(tmp_path: Path) -> None:
    """A script of the converter's form, whose class knows one vocabulary."""
    (tmp_path / CONVERTER).write_text(
        "class ModelBase: pass\n"
        "class TextModel(ModelBase):\n"
        "    def get_vocab_base_pre(self, tokenizer):\n"
        "        if tokenizer != 'known': raise NotImplementedError\n"
        "        return 'its-own'\n"
        "def main():\n"
        "    found = [TextModel().get_vocab_base_pre(name) for name in ('known', 'other')]\n"
        "    raise SystemExit(' '.join(found))\n",
        encoding="utf-8",
    )
    vlm = random_vlm("qwen2-vl")
    with pytest.raises(InputError, match=r"its-own qwen2$"):
        convert_random_vlm(vlm, tmp_path, tmp_path / "work", tmp_path / "m.gguf", tmp_path / "p.gguf")


def test_the_older_script_is_named_where_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / CONVERTER).write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=Path(LEGACY).name):
        convert_random_vlm(random_vlm("llava"), tmp_path, tmp_path / "work", tmp_path / "m.gguf", tmp_path / "p.gguf")
