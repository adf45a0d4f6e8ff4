"""The machine's state and energy, from copied trees of its files; nothing is invented where they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from emo_edge.benchmarks.measure import energy, machine
from emo_edge.benchmarks.measure.energy import energy_of, open_meter
from emo_edge.benchmarks.measure.machine import State, busy_reasons, machine_section, read_state, watched_state
from emo_edge.utils.processes import ProcessResult


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")


def no_tool(command: Sequence[str], seconds: float) -> ProcessResult:
    return ProcessResult("", "", "not found", started=False)


def state(load: float = 0.1, used: float | None = 0.0, own: float = 0.0, moment: float = 0.0) -> State:
    return State({"load": [load, 0.0, 0.0], "mhz": None, "temperatures": {}}, None, used, own, moment)


def test_a_state_is_read_from_the_systems_files(tmp_path: Path) -> None:
    throttle = "sys/devices/system/cpu/cpu0/thermal_throttle"
    write(
        tmp_path,
        {
            "proc/loadavg": "0.42 0.30 0.20 1/100 4711",
            "proc/stat": "cpu  100 0 50 800 20 0 0 30 0 0\ncpu0 1 2 3",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000",
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
            "sys/class/thermal/thermal_zone0/temp": "61500",
            "sys/class/thermal/thermal_zone1/temp": "nonsense",
            f"{throttle}/core_throttle_count": "2",
            f"{throttle}/package_throttle_count": "3",
        },
    )
    found = read_state(tmp_path)
    assert found.shown == {"load": [0.42, 0.3, 0.2], "mhz": 2500.0, "temperatures": {"x86_pkg_temp": 61.5}}
    assert found.throttles == 5
    assert found.used == pytest.approx(1.8), "stolen ticks count, idle and waiting ones do not"


def test_what_a_machine_does_not_tell_is_not_invented(tmp_path: Path) -> None:
    found = read_state(tmp_path)
    assert found.shown == {"load": None, "mhz": None, "temperatures": {}}
    assert (found.throttles, found.used) == (None, None)
    section = machine_section(found, found, "cpu", None, tmp_path, no_tool)
    for name in ("gpu", "governor", "power_mode", "git", "throttled", "busy_reason"):
        assert section[name] is None, name
    assert section["busy"] is False and "python" in section["versions"]


def test_a_jetsons_power_mode_and_throttling_are_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
            "var/lib/nvpmodel/status": "pmode:0002",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
        },
    )
    before = State({"load": None, "mhz": None, "temperatures": {}}, 4, None, 0.0, 0.0)
    after = State(before.shown, 5, None, 0.0, 1.0)
    section = machine_section(before, after, "cuda", 4, tmp_path, no_tool)
    assert (section["power_mode"], section["governor"], section["throttled"]) == ("MAXN_SUPER", "schedutil", True)
    assert set(section["threads"].values()) == {4}


def test_a_busy_machine_says_so() -> None:
    assert busy_reasons(state(), state(used=10.0, own=9.9, moment=10.0), cores=2) == []
    assert busy_reasons(state(load=3.0), state(), cores=2) == [], "left by the run before this one"
    assert busy_reasons(state(load=0.9, used=None), state(), cores=2) == []
    assert busy_reasons(state(load=1.1, used=None), state(), cores=2) == ["load 1.10 at the start"]
    watched = replace(state(), others=0.5)
    assert busy_reasons(watched, state(), cores=8) == ["others took 6% of the CPU time before the start"]
    assert busy_reasons(watched, state(), cores=16) == []
    assert busy_reasons(state(), state(used=12.0, own=4.0, moment=10.0), cores=2) == ["others took 40% of the CPU time"]
    assert busy_reasons(state(used=None), state(used=None, moment=1.0), cores=2) == []


def test_what_others_take_is_watched_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [state(used=10.0, own=1.0, moment=0.0), state(used=12.0, own=1.5, moment=1.5)]
    monkeypatch.setattr(machine, "read_state", lambda root: moments.pop(0))
    assert watched_state(tmp_path, watch_s=0.0).others == pytest.approx(1.0)
    moments[:] = [state(used=None), state(used=None, moment=1.5)]
    assert watched_state(tmp_path, watch_s=0.0).others is None


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "SHORTEST_S", 0.0)


@pytest.mark.usefixtures("instant")
def test_rapl_counts_packages_alone_and_sees_a_wrap(tmp_path: Path) -> None:
    zones = {"intel-rapl:0": "package-0", "intel-rapl:1": "psys", "intel-rapl:0:0": "core"}
    for zone, name in zones.items():
        folder = f"sys/class/powercap/{zone}"
        write(tmp_path, {f"{folder}/name": name, f"{folder}/energy_uj": "9000000"})
        write(tmp_path, {f"{folder}/max_energy_range_uj": "10000000"})
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    found = energy_of(lambda: counter.write_text("3000000\n"), 2, "cpu", tmp_path)
    assert found["joules_per_reading"] == pytest.approx(2.0), "4 J in two readings"
    assert found["source"].startswith("RAPL package-0,") and found["reason"] is None


@pytest.mark.usefixtures("instant")
def test_a_jetsons_input_rail_is_summed_over_time(tmp_path: Path) -> None:
    sensor = "sys/class/hwmon/hwmon1"
    write(tmp_path, {f"{sensor}/name": "ina3221", f"{sensor}/in1_label": "VDD_IN", f"{sensor}/in2_label": "VDD_SOC"})
    write(tmp_path, {f"{sensor}/in1_input": "5000", f"{sensor}/curr1_input": "2000"})
    found = energy_of(lambda: None, 1, "cuda", tmp_path)
    assert found["joules_per_reading"] > 0 and found["source"].startswith("INA3221 VDD_IN,")


def test_without_a_counter_there_is_a_reason(tmp_path: Path) -> None:
    found = energy_of(lambda: None, 1, "cpu", tmp_path)
    assert found["joules_per_reading"] is None and "no RAPL counter" in found["reason"]
    write(tmp_path, {"sys/class/powercap/intel-rapl:0/name": "package-0"})
    assert open_meter("cpu", tmp_path) == "RAPL's counters are readable by root alone here"
    assert open_meter("openvino", tmp_path) == open_meter("cpu", tmp_path), "the same chip"
    assert isinstance(open_meter("cuda", tmp_path), str), "no card here, or one that tells nothing"
