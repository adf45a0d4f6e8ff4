"""``emo-edge selftest``: every device is tried, compared and timed, and one report says it all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.cli.diagnostics.selftest import main
from emo_edge.diagnostics.selftest import run, worker
from emo_edge.diagnostics.selftest.comparison import compared_runs, distance, summary
from emo_edge.diagnostics.selftest.report_file import without_folders, write_text
from emo_edge.diagnostics.selftest.run import require_passed
from emo_edge.diagnostics.selftest.text import report_lines
from emo_edge.errors import AccuracyGateError, DeviceError, InputError
from emo_edge.runtimes.loading import device_choice

CPU = {"a": {"joy": 0.75, "fear": 0.25}, "b": {"joy": 0.4, "fear": 0.6}}


def ran(probabilities: dict[str, dict[str, float]]) -> dict[str, Any]:
    times = [{"vision": 2.0, "score": 1.0}, {"vision": 4.0, "score": 1.0}]
    return {"probabilities": probabilities, "stage_ms": times, "peak_memory_bytes": 500_000_000, "pose": {}, "log": []}


def test_distances_are_by_drawing() -> None:
    other = {"a": {"joy": 0.75, "fear": 0.25}, "b": {"joy": 0.6, "fear": 0.4}}
    found = distance(CPU, other)
    assert found["label_agreement"] == 0.5
    assert found["max_probability_error"] == pytest.approx(0.2)
    assert found["kl_mean"] == pytest.approx((0.4 * 0.405465 * -1 + 0.6 * 0.405465) / 2, rel=1e-4)


def test_what_exceeds_a_tolerance_is_named_and_what_did_not_run_is_kept() -> None:
    runs = compared_runs(
        {"cpu": ran(CPU), "cuda": {"problem": "no card"}, "tensorrt": ran({"a": CPU["b"], "b": CPU["a"]})}
    )
    assert runs["cpu"]["distance_from_cpu"]["max_probability_error"] == 0
    assert "strays" not in runs["cpu"]
    assert runs["tensorrt"]["strays"] == "a probability differs by 0.350 from the CPU's, the gate is 0.05"
    report = {"bundle": {"name": "tiny", "files": 3}, "profile": "exact", "devices": runs}
    text = "\n".join(report_lines(report))
    assert "tiny: 3 files intact; profile exact" in text
    assert "cuda                -         -         -  not run: no card" in text
    assert "EXCEEDS THE TOLERANCE: a probability" in text
    with pytest.raises(AccuracyGateError, match=r"^tensorrt: a probability differs"):
        require_passed(report, ())
    del runs["tensorrt"]
    with pytest.raises(DeviceError, match=r"^not run: cuda; the report says why"):
        require_passed(report, ())
    runs["cuda"]["absent"] = "no card"
    require_passed(report, ())
    with pytest.raises(DeviceError, match=r"^not run: cuda; the report says why"):
        require_passed(report, ("cuda",))
    runs["tensorrt"] = {"problem": "vision fails its gate", "exit_code": 7}
    with pytest.raises(AccuracyGateError, match=r"^tensorrt: vision fails its gate"):
        require_passed(report, ())


def test_a_bundle_without_labels_is_compared_by_pose() -> None:
    runs = {
        name: ran({"a": {}}) | {"pose": {"a": {"yaw": yaw}}} for name, yaw in (("cpu", 1.0), ("cuda", 1.25), ("x", 9.0))
    }
    found = compared_runs(runs)
    assert found["cuda"]["pose_difference_degrees"] == 0.25
    assert "strays" not in found["cuda"]
    assert found["x"]["strays"] == "a head's pose differs by 8.00 degrees, the gate is 1.0"


def test_times_are_summed_by_round() -> None:
    found = summary(ran(CPU)["stage_ms"])
    assert found["vision"] == {"p50": 3.0, "p90": pytest.approx(3.8), "min": 2.0}
    assert found["total"]["p50"] == 4.0


def test_a_whole_test_writes_one_report(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = [str(tiny_bundle), "--samples", "3", "--rounds", "5", "--device", "cpu", "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    text = out.read_text(encoding="utf-8")
    report = json.loads(text)
    cpu = report["devices"]["cpu"]
    assert list(report["devices"]) == ["cpu"]
    assert (cpu["device"], len(cpu["stage_ms"]), len(cpu["probabilities"])) == ("cpu", 5, 3)
    assert cpu["distance_from_cpu"]["label_agreement"] == 1.0
    assert cpu["peak_memory_bytes"] > 50_000_000
    assert str(tiny_bundle) not in text
    assert sys.prefix not in text
    assert "the baseline" in result.stdout
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 4
    assert "is there already; remove it, choose another name or --overwrite" in again.stderr


def test_a_device_that_is_not_here_is_a_line_and_if_named_an_error(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["--samples", "1", "--rounds", "5", "--device", "tensorrt", "--out", str(out)]
    result = CliRunner().invoke(main, [str(tiny_bundle), *arguments])
    if json.loads(out.read_text(encoding="utf-8"))["devices"]["tensorrt"].get("problem") is None:
        pytest.skip("waits for a machine without TensorRT or CUDA")
    assert result.exit_code == 6
    assert "tensorrt   " in result.stdout
    assert " not run: " in result.stdout


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process ended with code -11: no message"),
        ("print('no json')", "the process ended with code 0: no message"),
        ("raise SystemExit('a reason')", "the process ended with code 1: a reason"),
    ],
)
def test_a_child_that_ends_badly_is_a_line(
    body: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\n{body}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    assert run.run_device({}, 20)["problem"] == problem


def test_folders_are_not_in_a_report() -> None:
    home = str(Path.home())
    text = json.dumps({"a": f"{home}/secret/bundle/x.onnx", "b": sys.prefix, "c": home, "d": f"{home}-other"})
    found = json.loads(without_folders(text, Path.home() / "secret" / "bundle"))
    assert found == {"a": "BUNDLE/x.onnx", "b": "PYTHON", "c": "HOME", "d": f"{home}-other"}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give another place with `out`"):
        write_text(tmp_path / "missing" / "report.json", "{}")
    result = CliRunner().invoke(main, ["no-bundle", "--out", str(tmp_path / "missing" / "report.json")])
    assert result.exit_code == 4
    assert "there is no folder" in result.stderr


class Uninstalled:
    """A finder that knows of no package."""

    def find_spec(self, name: str, *_: object) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("device", ["cuda", "tensorrt", "openvino"])
def test_a_device_whose_package_is_missing_has_the_command_that_installs_it(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cuda", "llama_cpp")
    for name in [name for name in sys.modules if name.partition(".")[0] in engines]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Uninstalled()])
    answer = worker.run_order({"device": device, "language": True})
    assert answer["absent"] == answer["problem"] and 'pip install "emo-edge[' in answer["problem"], answer


@pytest.mark.parametrize(("jetson", "words"), [(False, 'pip install "emo-edge[cuda]"'), (True, "emo-edge doctor")])
def test_a_build_without_the_card_has_the_command_too(
    jetson: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nv_tegra_release").touch()
    monkeypatch.setattr(device_choice, "TEGRA_RELEASE", tmp_path / ("nv_tegra_release" if jetson else "none"))
    monkeypatch.setitem(device_choice.PROBLEMS, "cuda", lambda: device_choice.NO_PROVIDER)
    assert words in worker.run_order({"device": "cuda", "language": False})["problem"]


@pytest.mark.parametrize(
    "wrong", [{"minutes": float("nan")}, {"minutes": float("inf")}, {"samples": 0}, {"rounds": -1}]
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="above 0"):
        run.SelftestSettings(**wrong)
