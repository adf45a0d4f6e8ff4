"""Joules of a piece of work, from whatever counter the machine has; without one, the reason.

Counters are of whole parts of the machine, so what else runs on it, and idling, is in the figure. RAPL and the sums of
Jetson's sensors follow the kernel's documents (power/powercap/powercap.rst, hwmon/ina3221.rst), NVML its API reference.
Not yet run on a card or a Jetson.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from emo_edge.runtimes.base.device_names import GPU_DEVICES
from emo_edge.utils.processes import read_number, read_text

ROOT = Path("/")
SHORTEST_S = 1.0
"""Counters step every millisecond (RAPL) to tenths of a second: shorter work is repeated."""
SAMPLED_EVERY_S = 0.05
INPUT_RAILS = ("VDD_IN", "VIN_SYS_5V0", "VDD_GPU_SOC", "VDD_CPU_CV")
"""Of Jetson modules, by NVIDIA's Jetson Linux Developer Guide: Orin NX and Nano measure their whole input."""


class Meter(Protocol):
    """Counts joules."""

    source: str

    def start(self) -> None:
        """Begin."""

    def joules(self) -> float:
        """Return the joules used since, and stop."""


@dataclass(frozen=True)
class _Domain:
    energy: Path
    last: int
    """Largest value, after which the counter starts from 0."""


class RaplMeter:
    """Packages of an x86 processor, in microjoules."""

    def __init__(self, domains: list[_Domain], names: list[str]) -> None:
        self._domains, self.source = domains, f"RAPL {', '.join(names)}"
        self._begun: list[int] = []

    def start(self) -> None:
        """Read the counters."""
        self._begun = [read_number(domain.energy) or 0 for domain in self._domains]

    def joules(self) -> float:
        """Read them again; one wrap is corrected."""
        total = 0
        for domain, before in zip(self._domains, self._begun, strict=True):
            used = (read_number(domain.energy) or 0) - before
            total += used if used >= 0 else used + domain.last
        return total / 1e6


class NvmlMeter:
    """The first card's counter, in millijoules; Volta and later."""

    source = "NVML total energy of card 0"

    def __init__(self, library: Any, card: Any) -> None:
        self._library, self._card, self._begun = library, card, 0

    def start(self) -> None:
        """Read the counter."""
        self._begun = self._read()

    def joules(self) -> float:
        """Read it again."""
        return (self._read() - self._begun) / 1000

    def _read(self) -> int:
        value = ctypes.c_ulonglong()
        self._library.nvmlDeviceGetTotalEnergyConsumption(self._card, ctypes.byref(value))
        return value.value


class SensorMeter:
    """A Jetson's rails: volts times amperes, sampled by a thread of its own and summed over time."""

    def __init__(self, rails: dict[str, tuple[Path, Path]]) -> None:
        self._rails, self.source = rails, f"INA3221 {', '.join(rails)}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._joules = 0.0

    def start(self) -> None:
        """Begin sampling."""
        self._thread.start()

    def joules(self) -> float:
        """End sampling and return the sum."""
        self._stop.set()
        self._thread.join()
        return self._joules

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._stop.is_set():
            self._stop.wait(SAMPLED_EVERY_S)
            now = time.monotonic()
            self._joules += (now - before) * self._watts()
            before = now

    def _watts(self) -> float:
        return sum((read_number(volt) or 0) * (read_number(ampere) or 0) for volt, ampere in self._rails.values()) / 1e6


def energy_of(call: Callable[[], object], readings: int, device: str, root: Path = ROOT) -> dict[str, Any]:
    """Return ``energy`` of a row: joules of one of ``readings`` calls, at least `SHORTEST_S` of them together."""
    meter = open_meter(device, root)
    if isinstance(meter, str):
        return {"joules_per_reading": None, "source": None, "reason": meter}
    meter.start()
    begun, done = time.monotonic(), 0
    while done < readings or time.monotonic() - begun < SHORTEST_S:
        call()
        done += 1
    used = meter.joules() / done
    return {"joules_per_reading": used, "source": f"{meter.source}, everything on it included", "reason": None}


def open_meter(device: str, root: Path = ROOT) -> Meter | str:
    """Open the meter of this device's energy, or return the reason why there is none."""
    rails = _rails(root)
    if rails:
        return SensorMeter(rails)
    return _nvml() if device in GPU_DEVICES else _rapl(root)


def _rapl(root: Path) -> Meter | str:
    """Find the packages; their parts (cores, memory) are domains below them and not added again."""
    folder = root / "sys/class/powercap"
    zones = sorted(folder.glob("intel-rapl:[0-9]")) + sorted(folder.glob("intel-rapl:[0-9][0-9]"))
    if not zones:
        return "this machine has no RAPL counter (sys/class/powercap)"
    read = [(zone, read_number(zone / "energy_uj")) for zone in zones]
    there = [zone for zone, value in read if value is not None]
    if not there:
        return "RAPL's counters are readable by root alone here"
    # psys is the whole platform, packages included.
    packages = [zone for zone in there if read_text(zone / "name").startswith("package")] or there[:1]
    names = [read_text(zone / "name").strip() or zone.name for zone in packages]
    last = [read_number(zone / "max_energy_range_uj") or 0 for zone in packages]
    return RaplMeter([_Domain(zone / "energy_uj", end) for zone, end in zip(packages, last, strict=True)], names)


def _nvml() -> Meter | str:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        card = ctypes.c_void_p()
        codes = (library.nvmlInit_v2(), library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(card)))
    except (OSError, AttributeError) as error:
        return f"NVML cannot be loaded: {error}"
    value = ctypes.c_ulonglong()
    if any(codes) or library.nvmlDeviceGetTotalEnergyConsumption(card, ctypes.byref(value)):
        return "the card's driver reports no total energy"
    return NvmlMeter(library, card)


def _rails(root: Path) -> dict[str, tuple[Path, Path]]:
    """Find a Jetson's input rails, in millivolts and milliamperes; empty elsewhere."""
    rails: dict[str, tuple[Path, Path]] = {}
    for sensor in (root / "sys/class/hwmon").glob("hwmon*"):
        if read_text(sensor / "name").strip() == "ina3221":
            for label in sensor.glob("in[1-3]_label"):
                channel = label.name[2]
                rails[read_text(label).strip()] = (sensor / f"in{channel}_input", sensor / f"curr{channel}_input")
    if INPUT_RAILS[0] in rails:
        return {INPUT_RAILS[0]: rails[INPUT_RAILS[0]]}
    return {name: rails[name] for name in INPUT_RAILS if name in rails}
