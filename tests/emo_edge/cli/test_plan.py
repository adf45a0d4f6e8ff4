"""``emo-edge plan`` as people see it: whole output and exit codes, on a fixed machine of round figures."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.cli.plan import main
from emo_edge.planning.cost.work import KINDS
from emo_edge.planning.device_catalogue import CATALOGUE
from emo_edge.planning.probes import graph_rates, language_rates, machine, timing
from emo_edge.planning.probes.graph_rates import graph_engine
from emo_edge.planning.probes.language_rates import label_seconds, language_engine
from emo_edge.planning.probes.machine import measured_device
from emo_edge.planning.roofline import Device, Engine, Speed, constant
from emo_edge.runtimes.onnx import OnnxSession

SPEED = Speed({"fp32": constant(1e11)}, dict.fromkeys(KINDS, constant(1e10)), 0.0, 1e-4)
ENGINE = Engine(SPEED, SPEED)
NOTE = "measured on this machine just now, with probes that are not the model"
MACHINE = Device(
    "this",
    "a fake, 2 threads",
    8e9,
    6e9,
    0.25e9,
    ENGINE,
    {"f16": ENGINE, "q8_0": ENGINE, "q4_k_m": ENGINE},
    1e-6,
    1e-9,
    half_is_native=False,
    measured=True,
    notes=(NOTE,),
)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Any:
    asked: list[Any] = []

    def fake(precisions: Any, types: Any, **rest: Any) -> Device:
        asked.append((tuple(precisions), dict(types), rest["threads"]))
        return MACHINE

    monkeypatch.setattr(machine, "measured_device", fake)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, list(words), prog_name="emo-edge plan")

    run.asked = asked  # type: ignore[attr-defined]
    return run


WHOLE = """\
emo-tiny on a fake, 2 threads: 8.0 GB, of which 6.0 GB may be used
a picture, 1 face; 256 positions, 99 of them the prompt; labels rafdb7, a description of 64 tokens

profile   graphs    language  KV cache  activations  engines   needs           labels   answer
exact     0.017 GB  0.006 GB  0.003 GB  0.006 GB     0.250 GB  0.282 GB  fits  16.0 ms  48 ms
balanced  0.017 GB  0.003 GB  0.002 GB  0.004 GB     0.250 GB  0.276 GB  fits  15.7 ms  31 ms
small     0.017 GB  0.002 GB  0.002 GB  0.004 GB     0.250 GB  0.275 GB  fits  15.7 ms  23 ms

stage of exact  GFLOP  weights  activations  bound     ms
vision          0.228  6.5 MB   20.6 MB      compute   3.90
face            0.215  6.9 MB   61.9 MB      memory    7.36
connector       0.047  3.5 MB   6.2 MB       memory    1.19
prefill         0.337  5.6 MB   4.3 MB       compute   3.51
score           0.000  0.0 MB   0.0 MB       overhead  0.01
first token     0.217  9.1 MB   5.9 MB       compute   2.85
per token       0.006  5.6 MB   0.5 MB       memory    0.71

take exact: the most precise that fits and is fast enough
note: measured on this machine just now, with probes that are not the model
"""


def test_every_probe_of_graphs_opens_its_session_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def session(*parts: Any, cuda: Any, **options: Any) -> OnnxSession:
        asked.append(cuda)
        return OnnxSession(*parts, cuda=cuda, **options)

    monkeypatch.setattr(graph_rates, "runtime", lambda target: session)
    monkeypatch.setattr(timing, "ROUNDS", 3)
    wanted = CudaSettings(graphs=False)
    graph_engine(tmp_path, ("fp32",), "cpu", 1, wanted)
    assert asked
    assert all(cuda is wanted for cuda in asked)


def test_what_a_bundle_asks_of_cuda_is_what_the_probes_run_with(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def fake(*_: Any, cuda: CudaSettings, **__: Any) -> Device:
        asked.append(cuda.graphs)
        return MACHINE

    monkeypatch.setattr(machine, "measured_device", fake)
    shutil.copytree(tiny_bundle, tmp_path / "plain")
    manifest = json.loads((tiny_bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["engines"]["cuda"]["graphs"] = False
    (tmp_path / "plain" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    for name in (tmp_path / "plain", tiny_bundle, "emo-tiny"):
        assert CliRunner().invoke(main, [str(name)], prog_name="emo-edge plan").exit_code == 0
    assert asked == [False, True, True]


def test_the_whole_plan_of_a_known_shape(plan: Any) -> None:
    done = plan("emo-tiny", "--max-latency-ms", "100")
    assert done.stdout == WHOLE
    assert (done.exit_code, done.stderr) == (0, "")
    assert plan.asked == [(("fp32", "fp16"), {"f16": 1, "q8_0": 7, "q4_k_m": 15}, None)]


@pytest.mark.parametrize(
    ("words", "page", "begin"),
    [
        (("emo-llama-7b", "--device", "orin-nano-8gb"), "plan.md", "emo-llama-7b on"),
        (("emo-llama-7b", "--device", "agx-orin-64gb", "--profile", "small"), "label.md", ""),
    ],
)
def test_the_guides_show_what_is_estimated(plan: Any, words: tuple[str, ...], page: str, begin: str) -> None:
    text = (Path(__file__).parents[3] / "docs/guides" / page).read_text(encoding="utf-8")
    printed = plan(*words).stdout
    if begin:
        assert printed.partition("\nstage of")[0].rstrip() in text
    else:
        (labels,) = re.findall(r"fits  (\S+ to \S+ ms)", printed)
        assert labels in text


def test_one_profile_measures_one_type(plan: Any) -> None:
    done = plan("emo-tiny", "--profile", "small", "--threads", "2")
    assert done.exit_code == 0
    assert plan.asked == [(("fp32", "fp16"), {"q4_k_m": 15}, 2)]


def test_a_bundle_is_planned_by_its_files(plan: Any, tiny_bundle: Path) -> None:
    done = plan(str(tiny_bundle), "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    keys = ("plan_version", "subject", "device", "device_title", "measured", "memory_total", "memory_limit", "wanted")
    assert tuple(told) == (*keys, "context", "prompt_positions", "profiles", "chosen", "notes")
    assert (told["plan_version"], told["subject"], told["chosen"]) == (1, "emo-tiny", "exact")
    assert [part["profile"] for part in told["profiles"]] == ["exact", "small"]
    assert told["profiles"][1]["memory"]["language"] == (tiny_bundle / "language-q4_k_m.gguf").stat().st_size


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_other_devices_are_estimated_and_say_so(plan: Any, name: str) -> None:
    done = plan("emo-tiny", "--device", name)
    assert done.exit_code == 0, done.stderr
    assert "note: estimated, not measured: not yet run on this device" in done.stdout
    assert " to " in done.stdout and plan.asked == []


def test_nothing_fits_ends_with_six_and_says_what_would(plan: Any) -> None:
    done = plan("emo-llama-7b", "--device", "orin-nano-8gb")
    assert done.exit_code == 6
    assert done.stderr == (
        "Error: nothing fits orin-nano-8gb: the smallest profile, small, needs 8.15 GB, most of it language, and "
        "5.20 GB may be used. What would do: a smaller language model: 1.14 GB are left for its weights, these are "
        "4.08 GB; or another device, --device orin-nx-16gb\n"
    )
    assert "no profile is to be taken" in done.stdout and "too large" in done.stdout


def test_types_that_were_not_measured_are_no_advice(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = replace(MACHINE, language={"f16": ENGINE}, left=1e9)
    monkeypatch.setattr(machine, "measured_device", lambda *_, **__: alone)
    done = plan("emo-llama-7b", "--profile", "exact")
    assert done.exit_code == 6
    assert done.stderr.endswith("What would do: another device, --device rtx-4090\n")


def test_too_slow_ends_with_six(plan: Any) -> None:
    done = plan("emo-tiny", "--max-latency-ms", "0.5")
    assert done.exit_code == 6
    assert "is fast enough: " in done.stderr and "0.5 ms may be taken" in done.stderr


def test_an_unknown_device_is_a_usage_error_that_lists_all(plan: Any) -> None:
    done = plan("emo-tiny", "--device", "orin")
    assert done.exit_code == 2
    assert all(repr(name) in done.stderr for name in (*CATALOGUE, "this"))
    assert "did you mean orin-nano-8gb or orin-nx-16gb?" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nothing",), 4, "neither a bundle"),
        (("emo-tiny", "--context", "0"), 2, "--context"),
        (("emo-tiny", "--context", "99999999"), 4, "trained with 1024 positions"),
        (("emo-tiny", "--frames", "500"), 4, "use fewer --frames"),
        (("emo-tiny", "--max-latency-ms", "nan"), 4, "--max-latency-ms nan"),
        (("emo-tiny", "--max-latency-ms", "-1"), 2, "--max-latency-ms"),
        (("emo-tiny", "--max-memory", "lots"), 4, "a size reads like 800MB"),
        (("emo-tiny", "--max-memory", "0GB"), 4, "--max-memory 0.0"),
        (("emo-tiny", "--profile", "best"), 4, "there are: exact, balanced, small"),
        (("emo-tiny", "--profile", "balancd"), 4, "small; did you mean balanced?"),
        (("emo-tyni",), 4, "emo-tiny; did you mean emo-tiny?"),
        (("emo-tiny", "--labels", "moods"), 4, "no label set 'moods'"),
    ],
)
def test_bad_input_is_one_error(plan: Any, words: tuple[str, ...], code: int, message: str) -> None:
    done = plan(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr and done.stderr.count("Error:") == 1


def test_a_directory_that_is_no_bundle_ends_with_five(plan: Any, tmp_path: Path) -> None:
    assert plan(str(tmp_path)).exit_code == 5


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes of a few rounds and small sizes: whether they run, not what they tell."""
    small: dict[Any, dict[str, Any]] = {
        timing: {"ROUNDS": 2, "LEAST_ROUNDS": 1, "EVICTED": 1 << 10},
        language_rates: {"LARGE": (256, 256)},
        graph_rates: {
            "MATMUL_SHAPES": ((8, 64), (16, 64)),
            "ATTENTION_SHAPES": ((2, 8, 8), (2, 16, 16)),
            "PLAIN_SHAPES": ((8, 64), (16, 64)),
            "CHAINS": (4, 8),
        },
    }
    for module, values in small.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


def test_probes_tell_rates_of_every_kind(hasty: None, tmp_path: Path) -> None:
    graphs = graph_engine(tmp_path, ("fp32", "fp16", "int8"), "cpu", 1)
    assert graphs.fast.matmuls.keys() == {"fp32", "fp16", "int8", "attention"}
    curves = [*graphs.fast.matmuls.values(), graphs.fast.memory["move"], graphs.fast.memory["function"]]
    assert all(0 < rate < float("inf") for curve in curves for _, rate in curve.points)
    for file_type in (1, 15):
        language = language_engine(tmp_path, file_type, "cpu", 1)
        sizes = [size for size, _ in language.fast.matmuls["fp32"].points]
        assert sizes == sorted(sizes) and language.fast.call_s >= 0
    assert 0 <= label_seconds(tmp_path) < 1e-2


def test_this_machine_is_told_with_its_memory(hasty: None) -> None:
    lines: list[str] = []
    found = measured_device(("fp32",), {"f16": 1}, device="cpu", threads=1, report=lines.append)
    assert found.measured and 0 < found.left <= found.memory
    assert lines == ["measuring graphs on this machine", "measuring the language model's f16 on this machine"]
