"""The benchmark of true sizes: it sees the memory a step takes, and writes names that the importer knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emo_edge.benchmarks import real_size
from emo_edge.benchmarks.real_size import MEASURED, Measured, _shards, _upstream_name, measured, table
from emo_edge.errors import DeviceError, EmoEdgeError
from emo_edge.export.config import EmoLlamaConfig
from emo_edge.export.llama_vid import MODEL_KEYS
from emo_edge.export.model import parameter_shapes
from emo_edge.export.random_checkpoint import SHAPES


# A fresh process cannot import this file, so a step is its source.
def test_the_peak_of_a_step_is_seen(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(bytes(20_000_000))
    small, large = (
        measured("step", exec, (f"import time; held = bytearray({size}); time.sleep(0.2)",), out)
        for size in (1, 300_000_000)
    )
    assert 0.29 < large.peak_anonymous_gb - small.peak_anonymous_gb < 0.32
    assert large.seconds >= 0.2 and large.written_gb == 0.02


def test_a_step_that_fails_is_an_error(tmp_path: Path) -> None:
    measured("step", exec, ("pass",), tmp_path)
    with pytest.raises(EmoEdgeError, match="step: stopped"):
        measured("step", exec, ("raise SystemExit(3)",), tmp_path)


def test_a_system_that_tells_no_memory_is_an_error_and_not_a_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_size, "PROCESSES", tmp_path / "proc")
    with pytest.raises(DeviceError, match="measure it on Linux"):
        measured("step", exec, ("pass",), tmp_path)


@pytest.mark.parametrize("shape", MEASURED)
def test_the_names_it_writes_are_those_the_importer_takes(shape: str) -> None:
    config = EmoLlamaConfig.from_dict(
        {"face": None, "face_info": None, "language": dict(SHAPES[shape].get("language", {}))}
    )
    shapes = parameter_shapes(config)
    assert all(MODEL_KEYS.target(_upstream_name(name)) == name for name in shapes)
    assert {key: size for shard in _shards(shapes) for key, size in shard.items()} == {
        _upstream_name(name): size for name, size in shapes.items()
    }


def test_seven_billion_are_seven_billion() -> None:
    """The parameter counts of upstream's page, without the Q-Former's position ids and the face network."""
    config = EmoLlamaConfig.from_dict({"face": None, "face_info": None})
    total = sum(torch.Size(shape).numel() for shape in parameter_shapes(config).values())
    assert total == 7_941_388_160


def test_the_table_says_what_it_measured() -> None:
    text = table("llama-vid-7b", [Measured("import", 100.4, 1.234, 15.9)], {"vision": 900.4, "prefill": 1100.2})
    assert text.startswith("| llama-vid-7b, random weights | seconds |")
    assert "| import | 100 | 1.23 GB | 15.9 GB |" in text
    assert "The second reading of a picture: 2001 ms (vision 900, prefill 1100)." in text
