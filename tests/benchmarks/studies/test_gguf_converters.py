"""The comparison with llama.cpp's tools: the same weights for both tools, alternating rounds, bits that are compared.

llama.cpp's own script and program are in no package; ours runs here, theirs by hand.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from transformers import LlamaForCausalLM

from emo_edge.benchmarks.studies.gguf_converters import (
    F16,
    OURS,
    Q8_0,
    THEIRS,
    Round,
    Sources,
    Tools,
    alternating,
    convert_once,
    differing,
    main,
    table,
    tensor_digests,
    write_sources,
)
from emo_edge.benchmarks.studies.subprocess_step import Measured
from emo_edge.errors import EmoEdgeError
from emo_edge.export.gguf.writer import PREFIX

TINY = "llama-vid-tiny"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return write_sources(tmp_path_factory.mktemp("work"), TINY)


def test_both_tools_get_the_same_weights(sources: Sources) -> None:
    model = LlamaForCausalLM.from_pretrained(sources.transformers, dtype=torch.float16)
    with safe_open(sources.checkpoint / "model.safetensors", "pt") as file:
        held = {name.removeprefix(PREFIX): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert held.keys() == model.state_dict().keys()
    assert all(torch.equal(held[name], tensor) for name, tensor in model.state_dict().items())


def test_a_rerun_takes_the_sources_that_are_there(sources: Sources) -> None:
    before = (sources.checkpoint / "model.safetensors").stat().st_mtime_ns
    assert write_sources(sources.checkpoint.parent, TINY) == sources
    assert (sources.checkpoint / "model.safetensors").stat().st_mtime_ns == before


def test_our_run_makes_both_files_and_leaves_none(sources: Sources, tmp_path: Path) -> None:
    nowhere = Tools(tmp_path / "script", tmp_path / "program")
    run = convert_once(OURS, sources, nowhere, tmp_path)
    again = convert_once(OURS, sources, nowhere, tmp_path)
    assert not list(tmp_path.iterdir())
    assert run.digests[F16].keys() == run.digests[Q8_0].keys() and "blk.1.ffn_down.weight" in run.digests[F16]
    assert run.digests[F16]["token_embd.weight"] != run.digests[Q8_0]["token_embd.weight"]
    assert not differing([run, again], F16) and not differing([run, again], Q8_0)


def test_their_tools_are_run_as_commands(sources: Sources, tmp_path: Path) -> None:
    script = tmp_path / "convert.py"
    script.write_text("import sys; print(*sys.argv[2:]); sys.exit('no such architecture')", encoding="utf-8")
    with pytest.raises(EmoEdgeError, match=r"(?s)llama.cpp f16: ended with 1:.*--outtype f16.*no such architecture"):
        convert_once(THEIRS, sources, Tools(script, Path(sys.executable)), tmp_path)
    assert list(tmp_path.iterdir()) == [script]


@pytest.mark.parametrize(
    ("options", "said"), [(["--quantizer", "nowhere"], "'nowhere' does not exist"), (["--rounds", "0"], "x>=1")]
)
def test_what_cannot_work_is_told_before_anything_is_written(tmp_path: Path, options: list[str], said: str) -> None:
    tools = ["--converter", sys.executable, "--quantizer", sys.executable]
    done = CliRunner().invoke(main, ["--work", str(tmp_path / "work"), "--shape", TINY, *tools, *options])
    assert done.exit_code == 2 and said in done.output
    assert not (tmp_path / "work").exists()


def test_a_tensor_that_differs_or_is_missing_is_named() -> None:
    one = Round(OURS, {}, {F16: {"a": "1", "b": "2", "c": "3"}})
    other = replace(one, tool=THEIRS, digests={F16: {"a": "1", "b": "9"}})
    assert differing([one, other], F16) == ["b", "c"]


def test_a_digest_tells_types_shapes_and_bytes_apart(tmp_path: Path) -> None:
    import gguf
    import numpy as np

    def digest(values: np.ndarray) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tensor("weight", values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tensor_digests(path)["weight"]

    values = np.arange(64, dtype=np.float32).reshape(2, 32)
    assert digest(values) == digest(values.copy())
    others = [values + 1, values.reshape(4, 16), values.view(np.int32)]
    assert len({digest(values), *(digest(other) for other in others)}) == 4


def test_who_begins_changes_each_round() -> None:
    runs = alternating(3, lambda tool: Round(tool, {}, {}))
    assert [run.tool for run in runs] == [OURS, THEIRS, THEIRS, OURS, OURS, THEIRS]


def test_the_table_shows_every_run_and_the_ratio_of_the_medians() -> None:
    def run(tool: str, seconds: float, digest: str) -> Round:
        steps = {kind: Measured(kind, seconds, 1.5, 13.5) for kind in (F16, Q8_0)}
        return Round(tool, steps, {F16: {"a": "1", "b": "2"}, Q8_0: {"a": digest, "b": "2"}})

    text = table(TINY, [run(OURS, 10, "1"), run(THEIRS, 14, "1"), run(THEIRS, 16, "1"), run(OURS, 10, "3")])
    assert "| f16 | 10.0, 10.0 | 14.0, 16.0 | 1.50 | 1.50 GB | 1.50 GB | 0 of 2 |" in text
    assert "| 1 of 2 |" in text
