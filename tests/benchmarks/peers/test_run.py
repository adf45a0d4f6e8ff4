"""The peers' benchmark: each contender on emo-tiny, what their programs say, and the table with its verdicts."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_checkpoint, packaged_samples
from emo_edge.benchmarks.measure.roofline import Roofline
from emo_edge.benchmarks.peers import contenders, llama_cpp_builds, llama_cpp_tools, pytorch, rounds, run
from emo_edge.benchmarks.peers.contenders import ANSWER, Timed
from emo_edge.benchmarks.peers.llama_cpp_tools import Tools
from emo_edge.benchmarks.peers.random_mmproj import ClipShape, write_clip_projector
from emo_edge.benchmarks.peers.rounds import child, section
from emo_edge.benchmarks.peers.table import FOUR_FACES, LABEL, OURS, PEERS, UNCACHED, Row, as_json, table
from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import EmoEdgeError

MTMD_SAID = """
mtmd batch encoding done in 4123 ms
llama_perf_context_print:        load time =    5321.33 ms
llama_perf_context_print: prompt eval time =   30000.50 ms /   655 tokens
llama_perf_context_print:        eval time =     400.25 ms /     2 runs
llama_perf_context_print:       total time =   39000.00 ms /   657 tokens
"""
BENCH_SAID = """[
 {"build_commit": "unknown", "n_batch": 2048, "n_ubatch": 512, "type_k": "f16", "flash_attn": 0,
  "n_prompt": 8, "n_gen": 0, "samples_ns": [8000000, 9000000]},
 {"build_commit": "unknown", "n_batch": 2048, "n_ubatch": 512, "type_k": "f16", "flash_attn": 0,
  "n_prompt": 0, "n_gen": 4, "samples_ns": [4000000, 8000000]}
]"""


def program(path: Path, said: str, code: int = 0) -> Path:
    """Write a program that says something and ends."""
    path.write_text(f"#!/bin/sh\ncat <<'SAID'\n{said}\nSAID\nexit {code}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(scope="module")
def gguf(tiny_bundle: Path) -> Path:
    opened = Bundle.open(tiny_bundle)
    language = opened.manifest.components.language
    assert language is not None
    return opened.files(next(iter(language.variants.values())))[0]


def test_our_readings_give_the_time_outside_the_engines(tiny_bundle: Path) -> None:
    found = contenders.our_readings(tiny_bundle, "cpu", None, 1, 3)
    assert len(found.ms) == 3 and min(found.ms) > 0
    assert 0 < found.facts["outside"] < 0.5
    assert found.facts["vision"] and found.facts["language"]
    assert not found.facts["question cached"] and found.facts["stages"].keys() >= {"vision", "prefill", "score"}


def test_our_readings_take_the_question_from_the_cache(tiny_bundle: Path) -> None:
    found = contenders.our_readings(tiny_bundle, "cpu", "small", 1, 2, cache=(0, 1), faces=4)
    assert len(found.ms) == 2 and found.facts["question cached"] and found.facts["question cache"] == (0, 1)


def test_a_sheet_holds_each_drawing_in_its_box() -> None:
    picture, boxes = contenders.sheet(3, 1)
    assert len(boxes) == 3
    for sample, (left, top, right, bottom) in zip(packaged_samples(4)[1:], boxes, strict=True):
        assert np.array_equal(picture[int(top) : int(bottom), int(left) : int(right)], sample.image)


@pytest.fixture(scope="module")
def written() -> dict[bool, Timed]:
    """PyTorch's answers, and those behind a text whose keys and values are kept."""
    return {kept: pytorch.torch_answers(packaged_checkpoint(), "float32", 1, 2, keep_prefix=kept) for kept in (0, 1)}


def test_pytorch_writes_whole_answers(written: dict[bool, Timed]) -> None:
    for found in written.values():
        assert len(found.ms) == 2
        assert all(1 <= len(tokens) <= ANSWER for tokens in found.facts["written"])


def test_pytorch_writes_the_same_with_the_kept_text(written: dict[bool, Timed]) -> None:
    assert written[True].facts["written"] == written[False].facts["written"]


def test_pytorch_writes_an_answer_to_each_face_of_a_picture() -> None:
    found = pytorch.torch_answers(packaged_checkpoint(), "float32", 1, 1, faces=2)
    assert len(found.ms) == 1 and len(found.facts["written"]) == 2 * (2 + 1)
    assert all(1 <= len(tokens) <= ANSWER for tokens in found.facts["written"])


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_every_engine_runs_the_vision_graph(
    tiny_bundle: Path, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert len(contenders.our_vision(tiny_bundle, "fp32", device, 1, 2).ms) == 2


def test_the_peers_engines_run_the_vision_graph(tiny_bundle: Path) -> None:
    assert len(pytorch.torch_vision(tiny_bundle, packaged_checkpoint(), "float32", None, 2).ms) == 2
    found = contenders.plain_openvino(tiny_bundle, "fp32", 1, 2)
    assert len(found.ms) == 2 and "float" in found.facts["precision"]


def test_optimum_runs_the_vision_graph(tiny_bundle: Path) -> None:
    pytest.importorskip("optimum.onnxruntime", reason="waits for optimum-onnx: pip install optimum-onnx")
    assert len(contenders.optimum_vision(tiny_bundle, "fp32", 1, 2).ms) == 2


def test_our_session_reads_and_writes_so_many_tokens(tiny_bundle: Path) -> None:
    language = Bundle.open(tiny_bundle).manifest.components.language
    assert language is not None
    found = contenders.our_language(tiny_bundle, next(iter(language.variants)), 32, 4, 1, 2)
    assert found.keys() == {"prefill", "decode"} and all(len(timed.ms) == 2 for timed in found.values())


def test_the_programs_own_clocks_are_read(tmp_path: Path, gguf: Path) -> None:
    tool = program(tmp_path / "mtmd", MTMD_SAID)
    found = contenders.mtmd_answers(tool, gguf, gguf, gguf, "which?", 1)
    assert found.ms == [4123 + 30000.5 + 400.25]
    assert found.facts == {
        "image ms": 4123,
        "prompt ms": 30000.5,
        "positions": 655,
        "decode ms": 400.25,
        "runs": 2,
    }
    timed = contenders.llama_bench(program(tmp_path / "bench", BENCH_SAID), gguf, 8, 4, 1, 2)
    assert timed["prefill"].ms == [8, 9] and timed["decode"].ms == [1, 2]
    assert timed["prefill"].facts["type_k"] == "f16"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [("cannot load model", 1, "mtmd ended with 1:\ncannot load model"), ("nothing of use", 0, "no line like")],
)
def test_a_program_that_fails_or_says_something_else(
    tmp_path: Path, gguf: Path, said: str, code: int, words: str
) -> None:
    with pytest.raises(EmoEdgeError, match=words):
        contenders.mtmd_answers(program(tmp_path / "mtmd", said, code), gguf, gguf, gguf, "which?", 1)


def test_a_program_that_is_not_there(tmp_path: Path, gguf: Path) -> None:
    with pytest.raises(EmoEdgeError, match="cannot be started"):
        contenders.llama_bench(tmp_path / "absent", gguf, 8, 4, 1, 2)


def test_the_projector_fits_its_language_model(tmp_path: Path, gguf: Path) -> None:
    import gguf as library

    shape = ClipShape(image_size=28, width=32, mlp=64, heads=2, layers=2)
    path = write_clip_projector(tmp_path / "clip.gguf", gguf, shape)
    reader = library.GGUFReader(path)
    sizes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    width = read_gguf_header(gguf).shape().width
    assert sizes["mm.2.weight"] == [width, width] and sizes["mm.0.weight"] == [32, width]
    assert sizes["v.position_embd.weight"] == [32, shape.tokens + 1] and shape.tokens == 4
    assert sum(name.startswith("v.blk.1.") for name in sizes) == 16 and "v.blk.2.ln1.weight" not in sizes
    assert reader.fields["clip.projector_type"].contents() == "mlp"
    assert list(tmp_path.iterdir()) == [path]


def row(section: str, stage: str, contender: str, *ms: float, **facts: Any) -> Row:
    return Row(section, stage, contender, ms, facts)


ROWS = [
    row(LABEL, "label", OURS, 100, 100, 100, outside=0.012),
    row(LABEL, "label", PEERS["torch"], 250, 250, 250),
    row(LABEL, "label", PEERS["mtmd"], 1900, 1900, 1900),
    row(FOUR_FACES, "label", OURS, 30, 30),
    row(FOUR_FACES, "label", PEERS["torch"], 210, 210),
    row("language", "prefill", OURS, 10, 10),
    row("language", "prefill", PEERS["bench"], 9.9, 9.9),
    row("vision", "vision", f"{OURS}, --device cpu", 40, 40),
    row("vision", "vision", f"{OURS}, --device openvino", 20, 20),
    row("vision", "vision", "PyTorch eager bf16", 30, 30),
    Row("vision", "", PEERS["optimum"], problem="No module named 'optimum'"),
]
MACHINE = {"cpu": "a processor", "cores": 2, "versions": {"python": "3.11"}, "busy": True, "busy_reason": "a compiler"}


def test_the_table_says_what_was_reached_and_what_was_not(gguf: Path) -> None:
    header, plan = read_gguf_header(gguf), {"bundle": "emo-tiny", "prompt": 128}
    found = as_json(ROWS, header, Roofline(10e9, 100e9, "bfloat16"), MACHINE, plan)
    targets = {(target["section"], target["stage"], target["peer"]): target for target in found["targets"]}
    assert targets[LABEL, "label", PEERS["torch"]]["ratio"]["value"] == pytest.approx(2.5)
    assert not targets[LABEL, "label", PEERS["torch"]]["reached"]
    assert targets[LABEL, "label", PEERS["mtmd"]]["reached"] and targets[FOUR_FACES, "label", PEERS["torch"]]["reached"]
    assert targets["language", "prefill", PEERS["bench"]]["reached"]
    assert targets["vision", "vision", "PyTorch eager bf16"]["ratio"]["value"] == pytest.approx(1.5)
    shape = header.shape()
    read = header.layer_bytes * shape.layers + header.output_bytes
    assert found["floor_ms"]["decode"] == pytest.approx(read / 1e7)
    written = table(found)
    assert "| vision | vision | PyTorch eager bf16 | 30.0 (30.0–30.0) | 2 | 1.50 (1.50–1.50) |" in written
    assert "NOT reached" in written and "outside the engines at most 5% of a reading: 1.20%, reached" in written
    assert "optimum's ORTModelForCustomTasks (vision): not measured: No module named 'optimum'" in written
    assert "BUSY: a compiler" in written


def test_a_contender_that_fails_is_a_line_and_the_others_go_on() -> None:
    def failing() -> dict[str, Timed]:
        raise EmoEdgeError("no\nroom")

    asked: list[str] = []
    timed = {"good": lambda: {"label": Timed([1.0])}, "bad": failing, "gone": child(os._exit, 3)}
    rows = {row.contender: row for row in section("frame to label", timed, 2, asked.append)}
    assert rows["good"].ms == (1.0, 1.0) and rows["bad"].problem == "no room"
    assert rows["gone"].problem == "its process ended: out of memory, or a crash"
    assert len([line for line in asked if line.endswith("bad")]) == 1


def test_tools_that_are_there_are_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp_tools, "_run", lambda command: pytest.fail(f"ran {command}"))
    monkeypatch.setattr(llama_cpp_tools.importlib.metadata, "version", lambda name: "1.2.3")
    built = tmp_path / "build-1.2.3-DGGML_NATIVE-OFF" / "bin"
    built.mkdir(parents=True)
    for name in (llama_cpp_tools.BENCH, llama_cpp_tools.MTMD):
        (built / name).touch()
    tools = llama_cpp_tools.llama_tools(tmp_path, ["-DGGML_NATIVE=OFF"], lambda line: None)
    assert tools.bench.parent == built and tools.made.endswith("1.2.3 with -DGGML_NATIVE=OFF")


def test_a_build_that_fails_shows_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"llama_cpp_python-{llama_cpp_tools.importlib.metadata.version('llama-cpp-python')}").mkdir()
    monkeypatch.setattr(llama_cpp_tools, "_cmake", lambda: str(program(tmp_path / "cmake", "no compiler", 1)))
    with pytest.raises(EmoEdgeError, match=r"ended with 1:\nno compiler"):
        llama_cpp_tools.llama_tools(tmp_path, [], lambda line: None)


@pytest.mark.slow
def test_the_whole_command_on_emo_tiny(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, PyTorch and OpenVINO run; llama.cpp's programs, which take minutes to build, are stood in for.

    All in this process: each of the fifteen would import PyTorch for itself.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for module in (run, rounds):
        monkeypatch.setattr(module, "in_child", lambda work, *arguments: work(*arguments))
    tools = Tools(program(tmp_path / "bench", BENCH_SAID), program(tmp_path / "mtmd", MTMD_SAID), "stand-ins")
    monkeypatch.setattr(run, "llama_tools", lambda *_: tools)
    options = ["--checkpoint", str(packaged_checkpoint()), "--work", str(tmp_path / "work"), "--rounds", "1"]
    options += ["--calls", "1", "--prompt", "8", "--written", "4", "--clip-layers", "1", "--threads", "1"]
    options += ["--question-cache", "0", "1"]
    out = tmp_path / "peers.json"
    result = CliRunner().invoke(run.main, [str(tiny_bundle), *options, "--json", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for words in (PEERS["torch"], PEERS["kept"], PEERS["mtmd"], PEERS["bench"], "Targets:", "floor: copies reach"):
        assert words in result.output
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert kept["plan"]["bundle"] == "emo-tiny" and kept["plan"]["question_cache"] == [0, 1]
    assert kept["stages"].keys() >= {"vision", "connector", "prefill"}
    cached = {row["side"]: row["facts"].get("question cached") for row in kept["rows"] if row["section"] == LABEL}
    assert cached[OURS] and not cached[UNCACHED]


@pytest.mark.parametrize("programs", [True, False])
def test_no_program_is_built_where_none_is_wanted(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: bool
) -> None:
    asked: dict[str, set[str]] = {}
    built: list[Path] = []

    def tools(work: Path, *_: object) -> Tools:
        built.append(work)
        return Tools(tmp_path / "bench", tmp_path / "mtmd", "stand-ins")

    def section(name: str, timed: dict[str, object], *_: object) -> list[Row]:
        asked[name] = set(timed)
        return []

    monkeypatch.setattr(run, "llama_tools", tools)
    monkeypatch.setattr(run, "section", section)
    options = ["--checkpoint", str(packaged_checkpoint()), "--work", str(tmp_path), "--clip-layers", "1"]
    result = CliRunner().invoke(run.main, [str(tiny_bundle), *options, *([] if programs else ["--no-programs"])])
    assert result.exit_code == 0, result.output
    assert bool(built) is programs and ("language" in asked) is programs and (PEERS["mtmd"] in asked[LABEL]) is programs
    assert {PEERS["torch"], PEERS["kept"]} <= asked[LABEL] and asked[FOUR_FACES] and asked["vision"]


def test_builds_of_llama_cpp_beside_our_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours reads a real file; the builds, of minutes each, are stood in for, one of which cannot be made to run."""
    said = program(tmp_path / "bench", BENCH_SAID)
    broken = program(tmp_path / "broken", "illegal instruction", 4)
    tools = {(): Tools(said, said, ""), ("-DA=1", "-DB=2"): Tools(broken, broken, "")}
    monkeypatch.setattr(llama_cpp_builds, "llama_tools", lambda work, settings, *_: tools[tuple(settings)])
    monkeypatch.setattr(llama_cpp_builds, "WIDTH", 256)
    monkeypatch.setattr(llama_cpp_builds, "MLP", 512)
    options = ["--work", str(tmp_path / "work"), "--build", "-DA=1 -DB=2", "--language", "q8_0", "--layers", "1"]
    options += ["--threads", "1", "--rounds", "2", "--calls", "2", "--prompt", "8", "--written", "4"]
    out = tmp_path / "builds.json"
    result = CliRunner().invoke(llama_cpp_builds.main, [*options, "--json", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "| prefill | llama-bench, built as pip builds it | 8.5 (8.0–9.0) | 4 | " in result.output
    assert "- llama-bench, -DA=1 -DB=2: not measured: broken ended with 4: illegal instruction" in result.output
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [len(row["ms"]) for row in rows if row["side"] == OURS] == [4, 4]


@pytest.mark.parametrize(("file", "part"), [("", "targets"), ("-xeon", "amx-targets")])
def test_the_kept_table_is_that_of_the_kept_figures(file: str, part: str) -> None:
    results = Path(__file__).parents[3] / "docs" / "results"
    kept = json.loads((results / f"peers-llama-vid-7b{file}.json").read_text(encoding="utf-8"))
    page = (results / "peers-7b.md").read_text(encoding="utf-8")
    assert table(kept) in page
    summary = page.split(f"<!-- {part} -->\n")[1].split(f"<!-- /{part}")[0]
    for target in kept["targets"]:
        ratio = target["ratio"]
        assert f"{ratio['value']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" in summary


def test_the_kept_builds_are_those_of_the_page() -> None:
    results = Path(__file__).parents[3] / "docs" / "results"
    kept = json.loads((results / "llama_builds.json").read_text(encoding="utf-8"))["rows"]
    rows = [Row("language", row["stage"], row["side"], tuple(row["ms"])) for row in kept]
    page = (results / "peers-7b.md").read_text(encoding="utf-8")
    shown = page.split("<!-- builds -->\n")[1].split("\n<!-- /builds")[0]
    assert llama_cpp_builds.table(rows, []).strip() == shown
