"""GGUF files of fewer bits: importance statistics, types tensor by tensor, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
from emo_edge.bundle.imatrix_file import Imatrix, read_imatrix, write_imatrix
from emo_edge.calibration.language.imatrix import ImportanceCollector
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.gguf.file_types import IMATRIX_TYPES, TENSOR_TYPES
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.gguf.writer import gguf_from_checkpoint
from emo_edge.export.reference.answers import answered_prompts
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.taxonomy import LABEL_SETS

QUANTIZER = "EMO_EDGE_LLAMA_QUANTIZE"
"""Names llama.cpp's own ``llama-quantize``, which no Python package brings."""


@pytest.fixture(scope="module")
def source(tiny_bundle: Path) -> Path:
    return tiny_bundle / "language-f16.gguf"


@pytest.fixture(scope="module")
def importance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Statistics of emo-tiny on seven drawings."""
    model = EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint())
    collector = ImportanceCollector(model.language)
    asked = answered_prompts(model, packaged_samples(7), LABEL_SETS["rafdb7"])
    collector.add(asked.prompts, asked.answers)
    path = tmp_path_factory.mktemp("importance") / "imatrix.gguf"
    write_imatrix(collector.imatrix("seven drawings"), path)
    return path


def tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    return {tensor.name: (tensor.tensor_type.name, tensor.data.tobytes()) for tensor in gguf.GGUFReader(path).tensors}


def weighted_error(source: Path, made: Path, statistics: Imatrix) -> float:
    """Squared error of the outputs that uncorrelated inputs of those mean squares would see, over all matrices."""
    full = {tensor.name: tensor for tensor in gguf.GGUFReader(source).tensors}
    total = 0.0
    for tensor in gguf.GGUFReader(made).tensors:
        if tensor.name in statistics.sums:
            rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            error = rows - full[tensor.name].data.astype(np.float32)
            total += float((error**2 @ statistics.means(tensor.name)).sum())
    return total


@pytest.mark.parametrize("file_type", ["q4_k_m", "q4_0", "iq4_xs"])
def test_statistics_move_the_error_to_where_it_counts_less(
    source: Path, importance: Path, tmp_path: Path, file_type: str
) -> None:
    plain, weighted = tmp_path / "plain.gguf", tmp_path / "weighted.gguf"
    quantize_gguf(source, plain, file_type)
    quantize_gguf(source, weighted, file_type, importance=importance)
    assert abs(weighted.stat().st_size - plain.stat().st_size) < 0.05 * plain.stat().st_size
    statistics = read_imatrix(importance)
    assert weighted_error(source, weighted, statistics) < weighted_error(source, plain, statistics)


@pytest.fixture(scope="module")
def short(
    short_language: tuple[Path, Any], importance: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A source of two layers and their statistics: types of the fewest bits take seconds a layer."""
    folder, whole = tmp_path_factory.mktemp("short"), read_imatrix(importance)
    source = gguf_from_checkpoint(*short_language, folder / "language-f16.gguf", name="short")
    held = tensors(source).keys() & whole.sums.keys()
    sums, counts = ({name: of[name] for name in held} for of in (whole.sums, whole.counts))
    write_imatrix(Imatrix(sums, counts, whole.prompts, whole.datasets), folder / "imatrix.gguf")
    return source, folder / "imatrix.gguf"


@pytest.mark.parametrize("file_type", IMATRIX_TYPES)
def test_types_that_need_statistics_are_made_with_them(
    short: tuple[Path, Path], tmp_path: Path, file_type: str
) -> None:
    source, importance = short
    quantize_gguf(source, tmp_path / "q.gguf", file_type, importance=importance)
    assert (tmp_path / "q.gguf").stat().st_size < 0.35 * source.stat().st_size


def test_each_tensor_can_have_its_own_type(source: Path, importance: Path, tmp_path: Path) -> None:
    names = [name for name, (kind, _) in tensors(source).items() if kind == "F16"]
    types = dict(zip(names, TENSOR_TYPES, strict=False))
    quantize_gguf(source, tmp_path / "mixed.gguf", "q8_0", importance=importance, types=types)
    found = {name: kind.lower() for name, (kind, _) in tensors(tmp_path / "mixed.gguf").items()}
    assert {name: found[name] for name in types} == types
    assert {found[name] for name in names if name not in types} == {"q8_0"}


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"blk.9.attn_q.weight": "q4_k"}, "has no matrix called blk.9.attn_q.weight"),
        ({"blk.0.attn_q.weight": "q4_k_m"}, "no tensor type q4_k_m; there are: f16, q8_0"),
    ],
)
def test_types_of_unknown_tensors_and_unknown_types_are_refused(
    source: Path, tmp_path: Path, types: dict[str, str], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        quantize_gguf(source, tmp_path / "q.gguf", "q8_0", types=types)
    assert list(tmp_path.iterdir()) == []


def changed(imatrix: Imatrix, **changes: Any) -> Imatrix:
    sums = dict(imatrix.sums)
    for name, row in changes.items():
        if row is None:
            del sums[name]
        else:
            sums[name] = row
    return Imatrix(sums, {name: imatrix.counts.get(name, 1) for name in sums}, imatrix.prompts, imatrix.datasets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blk.0.attn_q.weight": None}, "blk.0.attn_q.weight is not in it"),
        ({"blk.0.attn_q.weight": np.ones(512, np.float32)}, "blk.0.attn_q.weight has 256 columns, not 512"),
        ({"blk.77.attn_q.weight": np.ones(256, np.float32)}, "blk.77.attn_q.weight is not in the model"),
    ],
)
def test_statistics_of_another_model_are_refused(
    source: Path, importance: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_imatrix(changed(read_imatrix(importance), **changes), tmp_path / "other.gguf")
    with pytest.raises(InputError, match=f"statistics of another model than .*{message}"):
        quantize_gguf(source, tmp_path / "q.gguf", "q4_k_m", importance=tmp_path / "other.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["other.gguf"]


@pytest.mark.skipif(QUANTIZER not in os.environ, reason=f"waits for llama.cpp's llama-quantize: set {QUANTIZER}")
@pytest.mark.parametrize("file_type", ["q4_k_m", "q3_k_m", "iq3_xxs", "q2_k_s", "q8_0"])
def test_llama_cpps_own_tool_makes_the_same_file_of_our_statistics(
    source: Path, importance: Path, tmp_path: Path, file_type: str
) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    quantize_gguf(source, ours, file_type, importance=importance)
    command = [os.environ[QUANTIZER], "--imatrix", str(importance), str(source), str(theirs), file_type]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    statistics = read_imatrix(importance)
    told = f"loaded {len(statistics.sums)} importance matrix entries"
    assert told in said.stdout + said.stderr
    assert tensors(ours) == tensors(theirs)
