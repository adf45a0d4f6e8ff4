"""Read the facts about a machine from its files: processor, memory, NVIDIA cards, Jetson module, disks, cameras.

Files are looked up below a root directory, so that a copied tree can be read as well as this machine. Nothing here
raises: what is missing, unreadable or nonsense is None or empty, because a report is needed most where things break.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from emo_edge.machine.control_groups import group_folders
from emo_edge.machine.cpus import CpuLimits, read_cpu_limits
from emo_edge.machine.jetson import Jetson, read_jetson
from emo_edge.utils import processes
from emo_edge.utils.processes import Run, closed_environment, read_number, read_text, run_bounded

X86_FEATURES = {
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_tile": "AMX",
    "amx_int8": "AMX INT8",
    "amx_bf16": "AMX BF16",
}
ARM_FEATURES = {
    "asimd": "NEON",
    "asimdhp": "FP16",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
    "bf16": "BF16",
    "sve": "SVE",
    "sve2": "SVE2",
}
"""The kernel's word for each feature that llama.cpp's or ONNX Runtime's kernels ask for, and the usual word."""
ARM_CORES = {
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x4e", "0x004"): "NVIDIA Carmel",
}
"""Implementer and part of cores: Linux, arch/arm64/include/asm/cputype.h."""


@dataclass(frozen=True)
class Processor:
    """The CPU; ``features`` is None where no file lists them."""

    name: str
    architecture: str
    cores: int
    features: tuple[str, ...] | None
    limits: CpuLimits | None = None
    """Affinity, quota and niceness of this process."""


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes; ``limit`` is what a container may use, where that is less."""

    total: int
    available: int | None
    swap: int | None
    limit: int | None


@dataclass(frozen=True)
class CudaDevice:
    """A card by nvidia-smi or the driver's files; ``memory`` in bytes, None where it is the machine's own."""

    name: str
    memory: int | None
    driver: str | None
    compute_capability: str | None


@dataclass(frozen=True)
class Drive:
    """Disk space where this toolkit writes, in bytes."""

    folder: str
    total: int
    free: int


@dataclass(frozen=True)
class Camera:
    """A video device; ``opens`` is whether this user may."""

    device: str
    name: str | None
    opens: bool


@dataclass(frozen=True)
class Machine:
    """Facts about a machine."""

    system: str
    python: str
    processor: Processor
    memory: Memory | None
    cuda_devices: tuple[CudaDevice, ...]
    cuda_problem: str | None
    cuda_toolkit: str | None
    jetson: Jetson | None
    drives: tuple[Drive, ...]
    cameras: tuple[Camera, ...]
    closed_environment: str | None
    """Folder of the virtual environment this runs in, if it hides the system's packages; JetPack's are such."""


def read_machine(
    root: Path = Path("/"), *, run: Run | None = None, architecture: str | None = None, folders: Sequence[Path] = ()
) -> Machine:
    """Read everything below ``root``, and ask nvidia-smi and nvpmodel through ``run``, `run_bounded` if None.

    ``folders`` are those whose disk space is measured.
    """
    run = run or run_bounded
    devices, problem = read_cuda_devices(root, run)
    return Machine(
        f"{platform.system()} {platform.release()}",
        platform.python_version(),
        read_processor(root, architecture or platform.machine() or "unknown", run),
        read_memory(root),
        devices,
        problem,
        read_cuda_toolkit(root),
        read_jetson(root, run),
        read_drives(folders),
        read_cameras(root),
        closed_environment(),
    )


def read_cpu_entries(root: Path = Path("/")) -> dict[str, list[str]]:
    """Read ``proc/cpuinfo``: the values of each key, a core after the other; empty where there is none."""
    entries: dict[str, list[str]] = {}
    for key, _, value in (line.partition(":") for line in read_text(root / "proc/cpuinfo").splitlines()):
        entries.setdefault(key.strip(), []).append(value.strip())
    return entries


def read_processor(root: Path, architecture: str, run: Run) -> Processor:
    """Read ``proc/cpuinfo``; without it macOS reports the name, and an arm64 has the NEON that all of them have."""
    entries = read_cpu_entries(root)
    arm = architecture.lower() in ("aarch64", "arm64")
    words = (entries.get("flags") or entries.get("Features") or [""])[0].split()
    features: tuple[str, ...] | None = ("NEON",) if arm else None
    if words:
        features = tuple(name for word, name in (ARM_FEATURES if arm else X86_FEATURES).items() if word in words)
    known = [
        ARM_CORES.get(pair)
        for pair in zip(*(entries.get(key, []) for key in ("CPU implementer", "CPU part")), strict=False)
    ]
    names = [name for name in known if name] or entries.get("model name", [])
    if not names:
        result = run(["sysctl", "-n", "machdep.cpu.brand_string"], processes.TOOL_SECONDS)
        names = ["" if result.problem else result.output.strip(), platform.processor(), architecture]
    return Processor(
        next(name for name in names if name),
        architecture,
        len(entries.get("processor", [])) or os.cpu_count() or 1,
        features,
        read_cpu_limits(root),
    )


def read_memory(root: Path) -> Memory | None:
    """Read ``proc/meminfo`` and the control group's limit; without them, ask the C library about this machine."""
    kilobytes = dict(re.findall(r"^(\w+):\s*(\d{1,15}) kB", read_text(root / "proc/meminfo"), re.MULTILINE))
    total, available, swap = (
        int(kilobytes[key]) * 1024 if key in kilobytes else None for key in ("MemTotal", "MemAvailable", "SwapTotal")
    )
    if total is None and root == Path("/"):
        with suppress(AttributeError, OSError, ValueError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if not total or total < 0:
        return None
    names = {True: "memory.max", False: "memory.limit_in_bytes"}
    limits = [read_number(folder / names[version_2]) for folder, version_2 in group_folders("memory", root)]
    smaller = [limit for limit in limits if limit and 0 < limit < total]
    return Memory(total, available, swap, min(smaller, default=None))


def read_cuda_devices(root: Path, run: Run) -> tuple[tuple[CudaDevice, ...], str | None]:
    """Ask nvidia-smi for the cards, else read their names from the driver's files; the second value is the problem."""
    fields = "name,memory.total,driver_version"
    for extra in (",compute_cap", ""):
        # Drivers before 510 refuse the whole question for its last word.
        command = ["nvidia-smi", f"--query-gpu={fields}{extra}", "--format=csv,noheader,nounits"]
        result = run(command, processes.TOOL_SECONDS)
        if "compute_cap" not in result.output + result.errors:
            break
    rows = [[_field(field) for field in row.split(",")] for row in result.output.splitlines() if result.problem is None]
    devices = tuple(_cuda_device(row) for row in rows if len(row) >= 3)
    if devices or not result.started:
        files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information")) if not devices else []
        matches = [re.search(r"^Model:\s*(\S.*)$", read_text(file), re.MULTILINE) for file in files]
        return devices or tuple(CudaDevice(match[1].strip(), None, None, None) for match in matches if match), None
    return (), f"nvidia-smi {result.problem}" if result.problem else "nvidia-smi names no card"


def read_cuda_toolkit(root: Path) -> str | None:
    """Read the version of the CUDA toolkit that ``/usr/local/cuda`` names, which JetPack installs."""
    match = re.search(r'"cuda"\s*:\s*{[^}]*"version"\s*:\s*"([\d.]+)"', read_text(root / "usr/local/cuda/version.json"))
    return match[1] if match else None


def read_cameras(root: Path) -> tuple[Camera, ...]:
    """List ``dev/video*`` by number; a camera's further devices, which carry no pictures, are left out."""
    cameras = []
    for device in (root / "dev").glob("video*"):
        details = root / "sys/class/video4linux" / device.name
        if device.name[5:].isdecimal() and read_number(details / "index") in (None, 0):
            name = read_text(details / "name").strip()
            opens = os.access(device, os.R_OK | os.W_OK)
            camera = Camera(f"/dev/{device.name}", name if name and name.isprintable() else None, opens)
            cameras.append((int(device.name[5:]), camera))
    return tuple(camera for _, camera in sorted(cameras, key=lambda pair: pair[0]))


def read_drives(folders: Sequence[Path]) -> tuple[Drive, ...]:
    """Measure the disk space of each folder, or of the nearest one above it that exists; one line a file system."""
    drives: dict[int, Drive] = {}
    for folder in folders:
        with suppress(OSError, RuntimeError, StopIteration):
            existing = next(existing for existing in (folder, *folder.parents) if existing.is_dir())
            usage = shutil.disk_usage(existing)
            drives.setdefault(existing.stat().st_dev, Drive(str(folder), usage.total, usage.free))
    return tuple(drives.values())


def _field(field: str) -> str | None:
    """Return a value of nvidia-smi, which writes ``[N/A]`` or ``[Not Supported]`` for what it does not know."""
    text = field.strip()
    return text if text and not text.startswith("[") and text != "N/A" and text.isprintable() else None


def _cuda_device(row: Sequence[str | None]) -> CudaDevice:
    name, mebibytes, driver, capability = (*row, None)[:4]
    memory = int(mebibytes) << 20 if mebibytes and mebibytes.isdecimal() else None
    return CudaDevice(name or "a card without a name", memory, driver, capability)
