"""Properties of the machine that an engine depends on, and problems that keep this machine from TensorRT."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from emo_edge.errors import DeviceError, MissingExtraError
from emo_edge.machine.jetson import read_jetson
from emo_edge.runtimes.tensorrt import api as tensorrt_api
from emo_edge.runtimes.tensorrt.cuda import CudaDevice, CudaFacts, cuda_module
from emo_edge.utils.processes import ProcessResult, read_text


def engine_machine(trt: Any, facts: CudaFacts, root: Path = Path("/")) -> dict[str, str]:
    """Name TensorRT, GPU, driver and system; an engine built under one such set is used under no other."""
    driver = re.search(r"Kernel Module.*?(\d+\.\d[\d.]*)", read_text(root / "proc/driver/nvidia/version"))
    # Its release is in a file; nvpmodel, which takes its time, is not run at each start.
    jetson = read_jetson(root, lambda command, seconds: ProcessResult("", "", "not run", started=False))
    return {
        "library": tensorrt_api.library_name(trt),
        "gpu": facts.name,
        "compute_capability": facts.compute_capability,
        "driver": f"{driver[1] if driver else 'unknown'}, CUDA {facts.driver // 1000}.{facts.driver % 1000 // 10}",
        "system": f"L4T {jetson.l4t}" if jetson and jetson.l4t else f"{platform.system()} {platform.machine()}",
        "host": hashlib.sha256(read_text(root / "etc/machine-id").encode()).hexdigest()[:12],
    }


def tensorrt_problem() -> str | None:
    """Describe what keeps this machine from TensorRT, in a few words; None if nothing does.

    Raises MissingExtraError where a package is missing.
    """
    if not any(_installed(name) for name in tensorrt_api.MODULES):
        raise MissingExtraError(tensorrt_api.NOT_INSTALLED)
    try:
        device_count(cuda_module())
    except DeviceError as error:
        return str(error)
    tensorrt_api.tensorrt_module()
    return None


def device_count(module: Any) -> int:
    """Count the CUDA devices; raise DeviceError where there is none, or no driver."""
    try:
        code, count = module.cudaGetDeviceCount()
    except RuntimeError as error:
        # cuda-python before 12.9 raises where it finds no driver.
        raise DeviceError(f"there is no CUDA driver ({' '.join(str(error).split())[:200]})") from error
    if int(code) != 0 or not count:
        reason = "" if int(code) == 0 else f" ({getattr(code, 'name', code)})"
        raise DeviceError(f"there is no CUDA device{reason}")
    return int(count)


def open_device() -> CudaDevice:
    """Open the first CUDA device; raise DeviceError where there is none, or no driver."""
    device_count(cuda_module())
    return CudaDevice()


def _installed(name: str) -> bool:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(name) is not None
    return False
