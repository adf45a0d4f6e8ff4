"""The doctor: facts of machines from their files, advice, and the whole report.

What users recorded is inside the trees where a source is named: of Orin Nano, Orin NX, AGX Orin, Thor and Xavier NX the
release, model and compatible strings, of some the memory and the table of power modes. The rest is made up to fit:
frequencies, Jetsons' cpuinfo. The x86 server is recorded whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge.cli.app import main
from emo_edge.diagnostics.doctor import facts as doctor_facts
from emo_edge.diagnostics.doctor.examine import conclude
from emo_edge.diagnostics.doctor.facts import Facts
from emo_edge.diagnostics.doctor.report import DoctorReport, Step
from emo_edge.diagnostics.doctor.text import report_text
from emo_edge.diagnostics.trials import cuda, llama
from emo_edge.diagnostics.trials.check import ENGINES, EngineReport
from emo_edge.diagnostics.trials.llama import NO_MODEL
from emo_edge.machine.hardware import Camera, CudaDevice, Drive, Machine, read_machine
from emo_edge.machine.jetson import PowerMode, fastest_mode
from emo_edge.utils import processes
from emo_edge.utils.processes import ProcessResult

ARM = "processor\t: 0\nBogoMIPS\t: 62.50\nFeatures\t: {}\nCPU implementer\t: {}\nCPU part\t: {}\n\n"
ORIN_CPU = ARM.format("fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimddp", "0x41", "0xd42")
SUPER_MODES = "".join(
    f"< POWER_MODEL ID={number} NAME={name} >\nCPU_ONLINE CORE_0 1\n"
    for number, name in enumerate(("15W", "25W", "MAXN_SUPER", "7W"))
)


def clocks(gpu: str, low: int, high: int) -> dict[str, str]:
    policy = "sys/devices/system/cpu/cpufreq/policy0/scaling_"
    return {
        f"sys/class/devfreq/{gpu}/min_freq": f"{low}000\n",
        f"sys/class/devfreq/{gpu}/max_freq": f"{high}000\n",
        "sys/class/devfreq/15340000.vic/min_freq": "1\n",
        "sys/class/devfreq/15340000.vic/max_freq": "2\n",
        f"{policy}min_freq": f"{low}\n",
        f"{policy}max_freq": f"{high}\n",
    }


def release(line: str) -> str:
    return f"# R{line}\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"


TREES: dict[str, dict[str, str]] = {
    # Release, model, compatible: github.com/rbonghi/jetson_stats/issues/400.
    "orin-nano-jetpack-5": {
        "etc/nv_tegra_release": release(
            "35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref, EABI: aarch64, "
            "DATE: Sun Mar 19 15:19:21 UTC 2023"
        ),
        "proc/device-tree/model": "NVIDIA Orin Nano Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0003\0nvidia,p3768-0000+p3767-0005\0"
        "nvidia,p3767-0003\0nvidia,p3767-0005\0nvidia,tegra234\0nvidia,tegra23x\0",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n< PM_CONFIG DEFAULT=0 >\n",
        "var/lib/nvpmodel/status": "pmode:0000",
        "proc/cpuinfo": ORIN_CPU * 6,
        "proc/meminfo": "MemTotal:        7619972 kB\nMemAvailable:    5412340 kB\nSwapTotal:       3809984 kB\n",
        **clocks("17000000.ga10b", 306000, 625000),
    },
    # Model and compatible: posts of users whose Orin Nano sits on a carrier board for the NX; modes: the Super kit's.
    "orin-nano-super": {
        "etc/nv_tegra_release": release("39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64"),
        "proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0003-super\0nvidia,p3767-0003\0nvidia,tegra234\0",
        "etc/nvpmodel.conf": f"< PARAM TYPE=FILE NAME=CPU_ONLINE >\n{SUPER_MODES}< PM_CONFIG DEFAULT=1 >\n",
        "var/lib/nvpmodel/status": "pmode:0001 fmode:fan_mode_quiet\n",
        "proc/cpuinfo": ORIN_CPU * 6,
        "proc/meminfo": "MemTotal:        7619972 kB\nMemAvailable:    5412340 kB\nSwapTotal:       3809984 kB\n",
        "usr/local/cuda/version.json": '{\n   "cuda" : {\n      "name" : "CUDA SDK",\n      "version" : "13.2.0"\n}}',
        "dev/video0": "",
        "dev/video1": "",
        "sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
        "sys/class/video4linux/video0/index": "0\n",
        "sys/class/video4linux/video1/index": "1\n",
        **clocks("17000000.gpu", 306000, 1020000),
    },
    # Release and memory: recorded by a user (2026-08-11); model and compatible: by that one and another (2026-04-17).
    "orin-nx": {
        "etc/nv_tegra_release": release(
            "36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64, "
            "DATE: Mon Jun 16 16:07:13 UTC 2025"
        ),
        "proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0",
        "proc/meminfo": "MemTotal:       16031334 kB\nMemAvailable:   12784128 kB\nSwapTotal:             0 kB\n",
        "proc/cpuinfo": ORIN_CPU * 8,
        **clocks("17000000.gpu", 1173000, 1173000),
    },
    # Release, model, compatible, memory: recorded by a user of one board (FathomDB's platform reference, 2026-08-19).
    "agx-orin": {
        "etc/nv_tegra_release": release("36 (release), REVISION: 5.2, GCID: 46426093, BOARD: generic, EABI: aarch64"),
        "proc/meminfo": "MemTotal:       64335836 kB\nMemAvailable:   60000000 kB\nSwapTotal:             0 kB\n",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
        "etc/nvpmodel.conf": "".join(
            f"< POWER_MODEL ID={number} NAME={name} >\n"
            for number, name in enumerate(("MAXN", "MODE_15W", "MODE_30W", "MODE_50W"))
        ),
        "var/lib/nvpmodel/status": "pmode:0002",
        "proc/cpuinfo": ORIN_CPU * 12,
    },
    # Release, model, compatible: github.com/rbonghi/jetson_stats/issues/711; modes: a test of another project.
    "agx-thor": {
        "etc/nv_tegra_release": release(
            "38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
            "DATE: Fri Aug 22 00:55:42 UTC 2025"
        ),
        "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n",
        "proc/cpuinfo": ARM.format("fp asimd asimdhp asimddp sve sve2 i8mm bf16", "0x41", "0xd83") * 14,
        **clocks("gpu-gpc-0", 315000, 1575000),
    },
    # Release, model, compatible: github.com/rbonghi/jetson_stats/issues/525.
    "xavier-nx": {
        "etc/nv_tegra_release": release(
            "35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref, EABI: aarch64, "
            "DATE: Sun Mar 19 15:19:21 UTC 2023"
        ),
        "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3449-0000+p3668-0000\0nvidia,p3509-0000+p3668-0000\0nvidia,tegra194\0",
        "proc/cpuinfo": ARM.format("fp asimd evtstrm aes crc32 fphp asimdhp", "0x4e", "0x004") * 6,
    },
    # Model: posts about L4T 32.2 and later; release line: a test of another project.
    "agx-xavier": {
        "etc/nv_tegra_release": release("35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64"),
        "proc/device-tree/model": "Jetson-AGX\0",
        "proc/device-tree/compatible": "nvidia,galen\0nvidia,jetson-xavier\0"
        "nvidia,p2822-0000+p2888-0004\0nvidia,tegra194\0",
        "proc/cpuinfo": ARM.format("fp asimd evtstrm aes crc32 fphp asimdhp", "0x4e", "0x004") * 8,
        **clocks("17000000.gv11b", 114750, 1377000),
    },
    # Recorded: the 2-core server that this project's figures are from; each core has the same lines.
    "x86-recorded": {
        "proc/cpuinfo": "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t\t: "
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse "
        "sse2 ht syscall nx mmxext fxsr_opt pdpe1gb rdtscp lm constant_tsc rep_good nopl xtopology "
        "nonstop_tsc cpuid extd_apicid tsc_known_freq pni pclmulqdq ssse3 fma cx16 pcid sse4_1 sse4_2 "
        "x2apic movbe popcnt tsc_deadline_timer aes xsave avx f16c rdrand hypervisor lahf_lm cmp_legacy "
        "cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw topoext vmmcall fsgsbase tsc_adjust bmi1 "
        "avx2 smep bmi2 erms invpcid avx512f avx512dq rdseed adx smap avx512ifma clflushopt clwb "
        "avx512cd sha_ni avx512bw avx512vl xsaveopt xsavec xgetbv1 xsaves avx512_bf16 clzero xsaveerptr "
        "arat avx512vbmi umip avx512_vbmi2 gfni vaes vpclmulqdq avx512_vnni avx512_bitalg "
        "avx512_vpopcntdq rdpid fsrm "
        "\nbogomips\t: 5192.25\npower management:\n\n" * 2,
        "proc/meminfo": "MemTotal:       24684084 kB\nMemAvailable:   23461932 kB\nSwapTotal:             0 kB\n",
    },
    "x86": {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C\n"
        "flags\t\t: fpu avx2 avx512f avx_vnni avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8\n\n" * 2,
        "proc/meminfo": "MemTotal:       32878080 kB\nMemAvailable:   30000000 kB\nSwapTotal:             0 kB\n",
        "sys/fs/cgroup/memory.max": "8589934592\n",
    },
    # Model, four Cortex-A76, memory: recorded by users of this board.
    "arm64": {
        "proc/meminfo": "MemTotal:        8255488 kB\nMemAvailable:    6159360 kB\nSwapTotal:       2097136 kB\n",
        "proc/cpuinfo": ARM.format("fp asimd evtstrm aes atomics fphp asimdhp cpuid asimddp", "0x41", "0xd0b") * 4,
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
        "sys/fs/cgroup/memory.max": "max\n",
    },
}


class Tools:
    """Answers in the place of nvidia-smi and nvpmodel; what is not among them is not installed."""

    def __init__(self, **answers: ProcessResult) -> None:
        self.answers = answers

    def __call__(self, command: Sequence[str], seconds: float) -> ProcessResult:
        return self.answers.get(command[0].replace("-", "_"), ProcessResult("", "", "not found", started=False))


def machine(
    root: Path, files: dict[str, str], tools: Tools | None = None, architecture: str = "aarch64", **facts: Any
) -> Machine:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    read = read_machine(root, run=tools or Tools(), architecture=architecture)
    fixed: dict[str, Any] = {"system": "Linux 6.8.12-tegra", "python": "3.12.3", "closed_environment": None}
    return replace(read, **(fixed | facts))


def report_of(machine: Machine, engines: Sequence[EngineReport]) -> DoctorReport:
    return conclude(Facts(machine, tuple(engines)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orin-nano-jetpack-5", ("Orin Nano 8GB", 87, "35.3.1", "5.1.1", PowerMode(0, "15W"), 0, False)),
        ("orin-nano-super", ("Orin Nano 8GB", 87, "39.2.0", "7.2", PowerMode(1, "25W"), 2, False)),
        ("orin-nx", ("Orin NX 16GB", 87, "36.4.4", "6.2.1", None, None, True)),
        ("agx-orin", ("AGX Orin 64GB", 87, "36.5.2", "6.x", PowerMode(2, "MODE_30W"), 0, None)),
        ("agx-thor", ("Thor T5000", 110, "38.2.0", "7.0", None, 0, False)),
        ("xavier-nx", ("Xavier NX", 72, "35.3.1", "5.1.1", None, None, None)),
        ("agx-xavier", ("AGX Xavier", 72, "35.4.1", "5.1.2", None, None, False)),
    ],
)
def test_a_jetson_is_known_by_its_module(tmp_path: Path, name: str, expected: tuple[object, ...]) -> None:
    jetson = machine(tmp_path, TREES[name]).jetson
    assert jetson is not None
    fastest = fastest_mode(jetson.power_modes)
    found = (jetson.module, jetson.gpu_architecture, jetson.l4t, jetson.jetpack, jetson.power_mode)
    assert (*found, fastest.number if fastest else None, jetson.clocks_fixed) == expected
    assert jetson.model == TREES[name]["proc/device-tree/model"].rstrip("\0")


@pytest.mark.parametrize(
    ("name", "architecture", "cpu", "cores", "features"),
    [
        ("x86-recorded", "x86_64", "AMD EPYC", 2, "AVX2 AVX-512"),
        ("x86", "x86_64", "Intel(R) Xeon(R) Platinum 8481C", 2, "AVX2 AVX-VNNI AVX-512 AMX"),
        ("arm64", "aarch64", "Cortex-A76", 4, "NEON FP16 DOTPROD"),
        ("orin-nx", "aarch64", "Cortex-A78AE", 8, "NEON FP16 DOTPROD"),
        ("agx-thor", "aarch64", "Neoverse-V3AE", 14, "NEON I8MM BF16 SVE SVE2"),
        ("agx-xavier", "aarch64", "NVIDIA Carmel", 8, "NEON FP16"),
    ],
)
def test_the_processor_is_named_with_its_features(
    tmp_path: Path, name: str, architecture: str, cpu: str, cores: int, features: str
) -> None:
    processor = machine(tmp_path, TREES[name], architecture=architecture).processor
    assert (processor.name, processor.cores) == (cpu, cores)
    assert processor.features is not None
    assert set(features.split()) <= set(processor.features)


def test_plain_machines_are_no_jetson_and_a_container_has_its_limit(tmp_path: Path) -> None:
    x86, arm = (machine(tmp_path / name, TREES[name]) for name in ("x86", "arm64"))
    assert x86.jetson is None and arm.jetson is None
    assert x86.memory is not None
    assert (x86.memory.total, x86.memory.limit, x86.memory.swap) == (32878080 * 1024, 1 << 33, 0)


def test_a_machine_without_any_file_is_still_described(tmp_path: Path) -> None:
    found = machine(tmp_path, {}, architecture="x86_64")
    assert (found.memory, found.jetson, found.cuda_devices, found.cuda_problem, found.cameras) == (
        None,
        None,
        (),
        None,
        (),
    )
    assert found.processor.features is None
    assert machine(tmp_path, {}, architecture="arm64").processor.features == ("NEON",)
    text = report_text(report_of(found, []))
    assert "memory    unknown" in text and "features unknown" in text


def test_hostile_files_are_nothing(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/compatible": "\xff\xfe\x00nvidia,\x1b[2Jtegra234\0nvidia,tegra234\0",
        "proc/device-tree/model": "\x01\x02\xff\0",
        "etc/nv_tegra_release": "\0" * 5000,
        "etc/nvpmodel.conf": "< POWER_MODEL ID=99999999999 NAME=\x07 >",
        "var/lib/nvpmodel/status": "pmode:" + "9" * 5000,
        "proc/meminfo": "MemTotal: " + "9" * 5000 + " kB\n",
        "sys/class/devfreq/17000000.gpu/min_freq": "fast",
        "usr/local/cuda/version.json": "{" * 5000,
        "dev/video-loopback": "",
    }
    (tmp_path / "proc/cpuinfo").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").symlink_to(tmp_path / "sys/fs/cgroup/memory.max")
    found = machine(tmp_path, files)
    assert found.memory is None and found.cameras == () and found.cuda_toolkit is None
    assert found.jetson is not None
    assert (found.jetson.model, found.jetson.module, found.jetson.gpu_architecture) == (None, None, 87)
    assert found.jetson.compatible == ("nvidia,tegra234",)
    assert (found.jetson.l4t, found.jetson.jetpack, found.jetson.power_mode) == (None, None, None)
    json.dumps(asdict(report_of(found, [])))


def test_an_unreadable_file_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, mode: str) -> None:
        # Permissions alone do not stop root, whom tests in a container often run as.
        raise PermissionError(13, "Permission denied", str(path))

    assert machine(tmp_path, TREES["orin-nx"]).jetson is not None
    monkeypatch.setattr(Path, "open", forbidden)
    assert machine(tmp_path, {}).jetson is None


def smi(output: str, problem: str | None = None) -> Tools:
    return Tools(nvidia_smi=ProcessResult(output, "", problem))


def test_cards_are_read_from_nvidia_smi(tmp_path: Path) -> None:
    found = machine(tmp_path, {}, smi("NVIDIA GeForce RTX 4070, 12282, 570.86, 8.9\n"))
    assert found.cuda_devices == (CudaDevice("NVIDIA GeForce RTX 4070", 12282 << 20, "570.86", "8.9"),)


@pytest.mark.parametrize("row", ["Orin (nvgpu), [N/A], 540.4.0, 8.7", "Orin (nvgpu), [Not Supported], [N/A], [N/A]"])
def test_a_jetson_whose_nvidia_smi_knows_little(tmp_path: Path, row: str) -> None:
    found = machine(tmp_path, TREES["orin-nx"], smi(row + "\n"))
    assert [(card.name, card.memory) for card in found.cuda_devices] == [("Orin (nvgpu)", None)]
    assert "Orin (nvgpu), shares the memory above" in report_text(report_of(found, []))


def test_an_old_driver_is_asked_again_without_the_word_it_refuses(tmp_path: Path) -> None:
    def run(command: Sequence[str], seconds: float) -> ProcessResult:
        if "compute_cap" in command[1]:
            return ProcessResult('Field "compute_cap" is not a valid field to query.\n', "", "failed with code 2")
        return ProcessResult("Tesla T4, 15109, 470.57\n", "", None)

    found = read_machine(tmp_path, run=run)
    assert found.cuda_devices == (CudaDevice("Tesla T4", 15109 << 20, "470.57", None),)


def test_a_card_without_nvidia_smi_is_known_from_the_driver(tmp_path: Path) -> None:
    file = "proc/driver/nvidia/gpus/0000:01:00.0/information"
    found = machine(tmp_path, {file: "Model: \t\t NVIDIA RTX A2000\nIRQ:   \t 24\n"})
    assert found.cuda_devices == (CudaDevice("NVIDIA RTX A2000", None, None, None),)


def test_a_driver_that_fails_is_a_line_with_its_fix(tmp_path: Path) -> None:
    mismatch = "failed with code 18: Failed to initialize NVML: Driver/library version mismatch"
    report = report_of(machine(tmp_path, {}, smi("", mismatch)), [])
    assert report.steps == (Step("broken", f"nvidia-smi {mismatch}; the driver was updated: restart", "sudo reboot"),)


def test_nvpmodel_is_asked_where_it_left_no_file(tmp_path: Path) -> None:
    answer = "NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n"
    found = machine(tmp_path, TREES["agx-thor"], Tools(nvpmodel=ProcessResult(answer, "", None)))
    assert found.jetson is not None
    assert found.jetson.power_mode == PowerMode(0, "MAXN")


def test_the_fastest_mode_of_a_module_without_maxn_has_most_watts_and_cores() -> None:
    names = ("MODE_15W_2CORE", "MODE_15W_4CORE", "MODE_10W_2CORE", "MODE_20W_2CORE", "MODE_20W_6CORE")
    assert fastest_mode([PowerMode(number, name) for number, name in enumerate(names)]) == PowerMode(
        4, "MODE_20W_6CORE"
    )
    assert fastest_mode([]) is None


@pytest.mark.skipif(sys.platform == "win32", reason="waits for a system with shell scripts")
def test_a_tool_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nsleep 60 &\nsleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(processes, "TOOL_SECONDS", 0.2)
    start = time.monotonic()
    found = read_machine(tmp_path)
    assert time.monotonic() - start < 30
    assert (found.cuda_devices, found.cuda_problem) == ((), "nvidia-smi gave no answer in 0.2 s")


def test_cameras_are_listed_without_their_second_devices(tmp_path: Path) -> None:
    found = machine(tmp_path, TREES["orin-nano-super"])
    assert found.cameras == (Camera("/dev/video0", "vi-output, imx219 9-0010", True),)


def test_disk_space_is_measured_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    found = read_machine(tmp_path, run=Tools(), folders=[tmp_path / "not/yet", tmp_path])
    assert [drive.folder for drive in found.drives] == [str(tmp_path / "not/yet")]
    assert 0 <= found.drives[0].free <= found.drives[0].total


def engine(module: str, state: str = "works", **facts: Any) -> EngineReport:
    needed = module in ("onnxruntime", "llama_cpp", "tokenizers", "cv2")
    texts = {name: str(value) for name, value in facts.items() if name not in ("packages", "problem", "version")}
    return EngineReport(
        module,
        needed,
        state,  # type: ignore[arg-type]
        facts.get("version"),
        facts.get("packages", {}),
        texts,
        facts.get("problem"),
    )


def healthy(**changes: EngineReport) -> list[EngineReport]:
    engines = {
        "onnxruntime": engine("onnxruntime", version="1.32.0", packages={"onnxruntime": "1.32.0"}, cpu="works"),
        "llama_cpp": engine(
            "llama_cpp", version="0.3.36", gpu="not built in", model="q4_k_m of demo computes a prompt"
        ),
        "tokenizers": engine("tokenizers", version="0.22.2"),
        "cv2": engine("cv2", version="4.14.0", gstreamer="no", ffmpeg="yes", cascades="work"),
        "tensorrt": engine("tensorrt", "missing"),
        "tensorrt_rtx": engine("tensorrt_rtx", "missing"),
        "cuda.bindings": engine("cuda.bindings", version="13.1.0"),
        "torch": engine("torch", "missing"),
    }
    return list((engines | changes).values())


RTX = (CudaDevice("NVIDIA GeForce RTX 4070", 12282 << 20, "570.86", "8.9"),)
REBUILD = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
NO_LIBRARY = "cannot open shared object file: No such file or directory"
TWO_RUNTIMES = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.32.0"}


@pytest.mark.parametrize(
    ("changed", "cards", "commands"),
    [
        (engine("tensorrt", "broken", problem="no GPU"), (), []),
        (
            engine("tensorrt_rtx", "broken", problem=f"builds a small graph, which {cuda.NOT_TAKEN}: 9.0"),
            RTX,
            [
                'pip install "emo-edge[tensorrt]"',
                f'CMAKE_ARGS="-DGGML_CUDA=on" {REBUILD}',
                "pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
            ],
        ),
        (engine("cv2", "missing"), (), ['pip install "emo-edge[cpu]"']),
        (engine("llama_cpp", "broken", problem="ended by SIGILL"), (), [REBUILD]),
        (
            engine("llama_cpp", amx="avoided: its probe failed"),
            (),
            [f'CXXFLAGS="-fno-tree-dse -fno-dse -frecord-gcc-switches" {REBUILD}'],
        ),
        (engine("llama_cpp", amx="built in, not proved"), (), ["emo-edge doctor --bundle BUNDLE"]),
        (
            engine("onnxruntime", "broken", packages={"onnxruntime-gpu": "1.32.0"}, problem="ended by SIGSEGV"),
            (),
            ["pip install --force-reinstall --no-deps onnxruntime-gpu"],
        ),
        (
            engine("llama_cpp", "broken", problem=f"RuntimeError: Failed: libgomp.so.1: {NO_LIBRARY}"),
            (),
            ["sudo apt install libgomp1"],
        ),
        (
            engine("av", "broken", packages={"av": "18.1.0"}, problem=f"ImportError: libfoo.so.1: {NO_LIBRARY}"),
            (),
            ["pip install --force-reinstall --no-deps av"],
        ),
        (
            engine("pillow_heif", "broken", packages={"pillow-heif": "1.8.1"}, problem=f"libfoo.so.1: {NO_LIBRARY}"),
            (),
            ["pip install --force-reinstall --no-deps pillow pillow-heif"],
        ),
        (
            engine("cv2", "broken", problem="/lib/libgomp.so.1: cannot allocate memory in static TLS block"),
            (),
            ["export LD_PRELOAD=/lib/libgomp.so.1"],
        ),
        (
            engine("cv2", "broken", packages={"opencv-python": "4.14.0"}, problem=f"libGL.so.1: {NO_LIBRARY}"),
            (),
            ['pip uninstall -y opencv-python && pip install "opencv-python-headless<5"'],
        ),
        (
            engine("tokenizers", "broken", problem="ModuleNotFoundError: No module named 'huggingface_hub'"),
            (),
            ["pip install tokenizers"],
        ),
        (
            engine("onnxruntime", packages=TWO_RUNTIMES),
            (),
            ["pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime"],
        ),
        (
            engine("onnxruntime", packages=TWO_RUNTIMES, cpu="works", cuda="works"),
            RTX,
            [
                "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
                f'CMAKE_ARGS="-DGGML_CUDA=on" {REBUILD}',
            ],
        ),
        (
            engine("onnxruntime", cpu="works", cuda="does not start: libcublasLt.so.12 is missing"),
            RTX,
            ['pip install "onnxruntime-gpu[cuda,cudnn]"', f'CMAKE_ARGS="-DGGML_CUDA=on" {REBUILD}'],
        ),
        (engine("onnxruntime", cpu="works", cuda="does not start"), (), []),
        (
            engine("cv2", version="5.0.0", packages={"opencv-python": "5.0.0"}, cascades="no CascadeClassifier"),
            (),
            ['pip install "opencv-python<5"'],
        ),
        (engine("cv2", cascades="no files: not in /usr/share"), (), ["sudo apt install opencv-data"]),
        (
            engine("cv2", "broken", packages={"opencv-python": "4.14.0"}, problem="ImportError: libGL.so.1"),
            (),
            ['pip uninstall -y opencv-python && pip install "opencv-python-headless<5"'],
        ),
    ],
)
def test_each_fault_has_its_command(
    tmp_path: Path, changed: EngineReport, cards: tuple[CudaDevice, ...], commands: list[str]
) -> None:
    found = machine(tmp_path, {}, cuda_devices=cards)
    report = report_of(found, healthy(**{changed.module: changed}))
    assert [step.command for step in report.steps] == commands
    unusable = changed.module == "cv2" or (changed.needed and changed.state != "works")
    assert report.devices == (() if unusable else ("cpu",))


def test_a_cpu_with_amx_gets_the_compiler_flags_that_its_kernels_need(tmp_path: Path) -> None:
    found = machine(tmp_path, TREES["x86"], architecture="x86_64")
    report = report_of(found, healthy(llama_cpp=engine("llama_cpp", "missing")))
    command = 'CXXFLAGS="-fno-tree-dse -fno-dse -frecord-gcc-switches" pip install "emo-edge[cpu]"'
    assert [step.command for step in report.steps] == [command]


def test_a_closed_environment_on_a_jetson_is_opened_after_its_opencv_is_removed(tmp_path: Path) -> None:
    found = machine(tmp_path, TREES["orin-nx"], closed_environment="/home/me/.venv")
    pip = engine("cv2", packages={"opencv-python-headless": "4.14"}, gstreamer="no", cascades="work")
    commands = [step.command for step in report_of(found, healthy(cv2=pip)).steps]
    opening = "python3 -m venv --system-site-packages /home/me/.venv"
    assert commands[:2] == [opening, f"pip uninstall -y opencv-python-headless && {opening}"]


def test_two_runtimes_on_a_jetson_are_removed_and_none_is_chosen(tmp_path: Path) -> None:
    found = machine(tmp_path, TREES["orin-nx"])
    report = report_of(found, healthy(onnxruntime=engine("onnxruntime", packages=TWO_RUNTIMES, cpu="works")))
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in [step.command for step in report.steps]


def test_a_machine_without_a_home_or_a_folder_is_still_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert len(doctor_facts.written_folders()) == 1
    assert llama.demo_bundle_folder() is None


def test_little_disk_space_and_a_closed_camera_are_things_to_do(tmp_path: Path) -> None:
    full, camera = Drive("/", 8_000_000_000, 300_000_000), Camera("/dev/video0", None, False)
    report = report_of(machine(tmp_path, {}, drives=(full,), cameras=(camera,)), healthy())
    assert [step.command for step in report.steps] == ['sudo usermod -aG video "$USER"', None]
    assert "camera    /dev/video0, no name, may not be opened" in report_text(report)
    assert "disk space: 0.3 GB free at /" in report_text(report)


def test_a_language_engine_that_computed_nothing_only_starts(tmp_path: Path) -> None:
    idle = engine("llama_cpp", version="0.3.36", gpu="not built in", model=NO_MODEL)
    text = report_text(report_of(machine(tmp_path, {}), healthy(llama_cpp=idle)))
    assert "llama_cpp     0.3.36      starts; " in text
    assert "nothing: all that a reading needs works, as far as it was tried\n" in text


def test_cuda_is_offered_where_both_engines_have_it(tmp_path: Path) -> None:
    engines = healthy(
        onnxruntime=engine("onnxruntime", cpu="works", cuda="works"), llama_cpp=engine("llama_cpp", gpu="built in")
    )
    report = report_of(machine(tmp_path, {}, cuda_devices=RTX), engines)
    assert (report.devices, report.steps) == (("cpu", "cuda"), ())


@pytest.mark.parametrize("state", ["missing", "broken", "works"])
@pytest.mark.parametrize("environment", [None, "/home/me/my env"])
@pytest.mark.parametrize("module", ["cv2", "tensorrt", "torch"])
def test_on_a_jetson_pip_never_installs_what_jetpack_brings(
    tmp_path: Path, module: str, environment: str | None, state: str
) -> None:
    found = machine(tmp_path, TREES["orin-nano-super"], closed_environment=environment)
    kinds: list[dict[str, Any]] = [
        {"packages": {}},
        {"packages": {"opencv-python": "5", "opencv-python-headless": "5"}},
    ]
    kinds += [{"packages": {"opencv-python": "5.0"}, "cascades": "no CascadeClassifier", "gstreamer": "no"}]
    for facts in kinds:
        problem = "ended by SIGSEGV" if state == "broken" else None
        report = report_of(found, healthy(**{module: engine(module, state, problem=problem, **facts)}))
        for step in report.steps:
            words = (step.command or "").partition("pip install")[2]
            assert not any(word in words for word in ("opencv", "tensorrt", "torch", "emo-edge[")), step
    if state == "missing" and module != "torch":
        command = report.steps[0].command or ""
        shown = (
            "python3 -m venv --system-site-packages '/home/me/my env'"
            if environment
            else "sudo apt install nvidia-jetpack"
        )
        assert command == shown


def test_tensorrt_can_be_asked_for_where_all_it_needs_works(tmp_path: Path) -> None:
    found = machine(tmp_path, TREES["orin-nano-super"])
    language = engine("llama_cpp", gpu="built in", model="q4_k_m of demo computes a prompt")
    ready = {"tensorrt": engine("tensorrt", version="10.3.0"), "llama_cpp": language}
    assert report_of(found, healthy(**ready)).devices == ("cpu", "tensorrt")
    report = report_of(found, healthy(**ready, **{"cuda.bindings": engine("cuda.bindings", "missing")}))
    assert report.devices == ("cpu",)
    assert any(step.command == 'pip install "cuda-bindings==13.*"' for step in report.steps)


def invoke(monkeypatch: pytest.MonkeyPatch, found: Machine, engines: list[EngineReport], *arguments: str) -> Any:
    monkeypatch.setattr(doctor_facts, "read_machine", lambda **_: found)
    monkeypatch.setattr(doctor_facts, "check_engines", lambda _: engines)
    return CliRunner().invoke(main, ["doctor", *arguments], prog_name="emo-edge")


ORIN_REPORT = f"""\
emo-edge {emo_edge.__version__}, Python 3.12.3, Linux 6.8.12-tegra

machine
  CPU       Cortex-A78AE, 6 cores, aarch64
            NEON, FP16, DOTPROD
  memory    7.8 GB, 5.5 GB free, swap 3.9 GB
  CUDA      Orin (nvgpu), shares the memory above, compute capability 8.7, driver 595.58
            toolkit 13.2.0
  disk      120.0 of 500.0 GB free at /home/me
  camera    /dev/video0, vi-output, imx219 9-0010

Jetson
  module    Orin Nano 8GB
  model     NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super
  GPU       sm_87, shares the 7.8 GB
  L4T       39.2.0, JetPack 7.2
  power     mode 1, 25W; there are 0 15W, 1 25W, 2 MAXN_SUPER, 3 7W
  clocks    follow the load

engines
  onnxruntime   1.32.0      works; cpu: works
  llama_cpp     0.3.36      works; gpu: not built in; model: q4_k_m of demo computes a prompt
  tokenizers    0.22.2      works
  cv2           4.14.0      works; gstreamer: no; cascades: work
  tensorrt                  not installed
  tensorrt_rtx              not installed
  cuda.bindings 13.1.0      works
  torch                     not installed

what to do
  missing  JetPack brings tensorrt
           $ sudo apt install nvidia-jetpack
  broken   opencv-python-headless from pip hides JetPack's OpenCV, whose GStreamer opens CSI cameras
           $ pip uninstall -y opencv-python-headless
  slow     llama.cpp was built without CUDA
           $ CMAKE_ARGS="-DGGML_CUDA=on" {REBUILD}
  slow     onnxruntime has no CUDA; NVIDIA builds onnxruntime-gpu for each JetPack
  slow     power mode 25W; MAXN_SUPER is the fastest and takes the most power
           $ sudo nvpmodel -m 2
  slow     clocks follow the load: fix them before measuring
           $ sudo jetson_clocks

emo-edge infer runs here on: cpu
"""
X86_REPORT = f"""\
emo-edge {emo_edge.__version__}, Python 3.12.3, Linux 6.1.0

machine
  CPU       Intel(R) Xeon(R) Platinum 8481C, 2 cores, x86_64
            AVX2, AVX-VNNI, AVX-512, AVX-512 VNNI, AVX-512 BF16, AMX, AMX INT8, AMX BF16
  memory    33.7 GB, 30.7 GB free, no swap, this container may use 8.6 GB
  CUDA      no NVIDIA card
  disk      120.0 of 500.0 GB free at /home/me
  camera    none

engines
  onnxruntime   1.32.0      works; cpu: works
  llama_cpp     0.3.36      broken: ended by SIGILL
  tokenizers    0.22.2      works
  cv2           4.14.0      works; gstreamer: no; ffmpeg: yes; cascades: work
  tensorrt                  not installed
  tensorrt_rtx              not installed
  cuda.bindings             not installed
  torch                     not installed

what to do
  broken   llama_cpp: ended by SIGILL; build it on this machine
           $ CXXFLAGS="-fno-tree-dse -fno-dse -frecord-gcc-switches" {REBUILD}

emo-edge infer runs here on: nothing yet
"""
DRIVES = (Drive("/home/me", 500_000_000_000, 120_000_000_000),)


def test_the_whole_report_of_an_orin_nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(tmp_path, TREES["orin-nano-super"], smi("Orin (nvgpu), [N/A], 595.58, 8.7\n"), drives=DRIVES)
    cv2 = engine(
        "cv2", version="4.14.0", packages={"opencv-python-headless": "4.14.0"}, gstreamer="no", cascades="work"
    )
    result = invoke(monkeypatch, found, healthy(cv2=cv2))
    assert result.stdout == ORIN_REPORT
    assert (result.exit_code, result.stderr) == (0, "trying the engines, one after another, each for at most 60 s\n")


def test_the_whole_report_of_a_pc_with_a_broken_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(tmp_path, TREES["x86"], architecture="x86_64", drives=DRIVES, system="Linux 6.1.0")
    broken = engine("llama_cpp", "broken", version="0.3.36", problem="ended by SIGILL")
    absent = engine("cuda.bindings", "missing")
    result = invoke(monkeypatch, found, healthy(llama_cpp=broken, **{"cuda.bindings": absent}))
    assert result.stdout == X86_REPORT
    assert result.exit_code == 0


def test_json_has_what_the_text_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(tmp_path, TREES["orin-nano-super"], drives=DRIVES)
    result = invoke(monkeypatch, found, healthy(), "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert list(told) == ["doctor_version", "emo_edge", "machine", "engines", "devices", "steps"]
    assert told["doctor_version"] == 1
    assert told["machine"]["jetson"]["power_mode"] == {"number": 1, "name": "25W"}
    assert told["machine"]["memory"] == {
        "total": 7619972 << 10,
        "available": 5412340 << 10,
        "swap": 3809984 << 10,
        "limit": None,
    }
    assert {(entry["module"], entry["state"]) for entry in told["engines"]} >= {("cv2", "works"), ("torch", "missing")}
    assert told["devices"] == ["cpu"]
    kinds = [(step["kind"], step["command"]) for step in told["steps"]]
    assert ("slow", "sudo nvpmodel -m 2") in kinds and ("slow", "sudo jetson_clocks") in kinds


def test_the_command_ends_well_on_this_machine_without_any_tool(tmp_path: Path) -> None:
    code = "from emo_edge.cli.app import main; main()"
    environment = {**os.environ, "PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [entry["module"] for entry in told["engines"]] == [engine.module for engine in ENGINES]
    assert "cpu" in told["devices"]


def test_macos_tells_the_name_of_its_processor(tmp_path: Path) -> None:
    found = machine(tmp_path, {}, Tools(sysctl=ProcessResult("Apple M2\n", "", None)), "arm64")
    assert (found.processor.name, found.processor.features) == ("Apple M2", ("NEON",))


def test_a_bundle_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--bundle", str(tmp_path / "none")], prog_name="emo-edge")
    assert result.exit_code == 2
