"""Read which NVIDIA Jetson a machine is: module, JetPack, power mode, clocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_edge.utils import processes
from emo_edge.utils.processes import Run, read_number, read_strings, read_text

TEGRA = {"tegra210": 53, "tegra186": 62, "tegra194": 72, "tegra234": 87, "tegra264": 110}
"""CUDA architecture of the GPU in TX1 and Nano, TX2, Xavier, Orin, Thor; 110 is CUDA 13's number, CUDA 12's was 101."""
JETSON_MODULES = {
    "p2888": "AGX Xavier",
    "p3668": "Xavier NX",
    "p3701": "AGX Orin",
    "p3701-0004": "AGX Orin 32GB",
    "p3701-0005": "AGX Orin 64GB",
    "p3701-0008": "AGX Orin Industrial",
    "p3767-0000": "Orin NX 16GB",
    "p3767-0001": "Orin NX 8GB",
    "p3767-0003": "Orin Nano 8GB",
    "p3767-0004": "Orin Nano 4GB",
    "p3767-0005": "Orin Nano 8GB (developer kit)",
    "p3834": "Thor",
    "p3834-0008": "Thor T5000",
}
"""Board numbers: NVIDIA's Jetson Linux Developer Guide. The model string names the carrier board, so that an Orin Nano
on some carriers calls itself an Orin NX; the module's number in ``compatible`` does not."""
JETPACKS = {
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "36.2.0": "6.0 DP",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
}
JETPACK_LINES = {"32": "4.x", "35": "5.x", "36": "6.x", "38": "7.x", "39": "7.x"}
"""JetPack of each L4T release, and of releases not listed: NVIDIA's JetPack archive, developer.nvidia.com. 36.5 and
39.2 are from users' posts that quote it, not from the archive itself."""


@dataclass(frozen=True)
class PowerMode:
    """A power mode of nvpmodel; its number differs from module to module, MAXN is not always 0."""

    number: int
    name: str


@dataclass(frozen=True)
class Jetson:
    """An NVIDIA Jetson; its GPU uses the main memory."""

    module: str | None
    model: str | None
    compatible: tuple[str, ...]
    gpu_architecture: int | None
    l4t: str | None
    jetpack: str | None
    power_mode: PowerMode | None
    power_modes: tuple[PowerMode, ...]
    clocks_fixed: bool | None
    """True where every clock's lowest frequency is its highest, as jetson_clocks sets them."""


def read_jetson(root: Path, run: Run) -> Jetson | None:
    """Read which Jetson this is from the device tree and ``etc/nv_tegra_release``; None where neither names one."""
    compatible = read_strings(root / "proc/device-tree/compatible")
    release = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", read_text(root / "etc/nv_tegra_release"))
    chips = [TEGRA[name[7:]] for name in compatible if name.startswith("nvidia,tegra") and name[7:] in TEGRA]
    if not chips and not release:
        return None
    l4t = f"{release[1]}.{release[2]}" if release else None
    l4t = f"{l4t}.0" if l4t and l4t.count(".") == 1 else l4t
    modes = _power_modes(read_text(root / "etc/nvpmodel.conf"))
    return Jetson(
        _module(compatible),
        next(iter(read_strings(root / "proc/device-tree/model")), None),
        compatible,
        chips[0] if chips else None,
        l4t,
        JETPACKS.get(l4t or "") or JETPACK_LINES.get((l4t or "").partition(".")[0]),
        _power_mode(root, modes, run),
        modes,
        _clocks_fixed(root / "sys"),
    )


def fastest_mode(modes: Sequence[PowerMode]) -> PowerMode | None:
    """Choose the mode without limits, else the one of most watts and cores."""

    def speed(mode: PowerMode) -> tuple[bool, bool, int, int, int]:
        watts, cores = (re.search(pattern, mode.name) for pattern in (r"(\d{1,4})W", r"(\d{1,3})CORE"))
        limits = [int(match[1]) if match else 0 for match in (watts, cores)]
        return "MAXN_SUPER" in mode.name, "MAXN" in mode.name, limits[0], limits[1], -mode.number

    return max(modes, key=speed, default=None)


def _module(compatible: Sequence[str]) -> str | None:
    boards = [board for text in compatible for board in re.findall(r"p\d{4}-\d{4}", text)]
    known = [JETSON_MODULES.get(board) or JETSON_MODULES.get(board[:5]) for board in boards]
    return next((name for name in known if name), None)


def _power_modes(configuration: str) -> tuple[PowerMode, ...]:
    modes = re.findall(r"^<\s*POWER_MODEL\s+ID=(\d{1,3})\s+NAME=(\w+)\s*>", configuration, re.MULTILINE)
    return tuple(PowerMode(int(number), name) for number, name in modes)


def _power_mode(root: Path, modes: Sequence[PowerMode], run: Run) -> PowerMode | None:
    """Read the mode that nvpmodel noted in its status file (``pmode:0002``), else ask it."""
    status = re.search(r"pmode:(\d{1,4})\b", read_text(root / "var/lib/nvpmodel/status"))
    if status:
        names = {mode.number: mode.name for mode in modes}
        return PowerMode(int(status[1]), names.get(int(status[1]), "unnamed"))
    answer = re.search(r"NV Power Mode:\s*(\w+)\s+(\d{1,3})\b", run(["nvpmodel", "-q"], processes.TOOL_SECONDS).output)
    return PowerMode(int(answer[2]), answer[1]) if answer else None


def _clocks_fixed(folder: Path) -> bool | None:
    """Compare lowest and highest frequency of each CPU policy and of the GPU, named differently by JetPack and chip."""
    gpus = [path for path in (folder / "class/devfreq").glob("*") if re.search(r"gpu|ga10b|gv11b|gp10b", path.name)]
    cpus = (folder / "devices/system/cpu/cpufreq").glob("policy*")
    files = [(path / "min_freq", path / "max_freq") for path in gpus]
    files += [(path / "scaling_min_freq", path / "scaling_max_freq") for path in cpus]
    pairs = [(read_number(low), read_number(high)) for low, high in files]
    known = [low == high for low, high in pairs if low is not None and high is not None]
    return all(known) if known else None
