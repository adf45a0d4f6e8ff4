"""Devices that a plan can be made for without having one, each figure with its document.

NVIDIA's documents are cited as public pages quote them. A figure that no document has is derived or assumed, and says
so. No figure of this file was measured by this project: not yet run on any of these devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from emo_edge.errors import InputError
from emo_edge.planning.cost.work import KINDS, Precision
from emo_edge.planning.roofline import Device, Engine, Interval, Speed, constant
from emo_edge.utils.suggestions import did_you_mean

GB = 1e9
GIB = float(1 << 30)
TERA = 1e12


@dataclass(frozen=True)
class Figure:
    """A number and its source."""

    value: float
    source: str


@dataclass(frozen=True)
class Entry:
    """A device as its documents describe it; rates are dense, in operations a second."""

    title: str
    memory: Figure
    system: Figure
    """Bytes that the hardware's carve-outs, the system and a desktop keep."""
    bandwidth: Figure
    rates: dict[Precision, Figure]


TENSOR_CORE = (
    "Jetson AGX Orin Series Technical Brief: 170 sparse INT8 TOPS of 64 tensor cores at 1.3 GHz are 1,024 dense INT8 "
    "or 512 FP16 operations a clock and core"
)
ORIN_SYSTEM = Figure(
    8 * GIB - 5.2 * GB, "an Orin Nano 8 GB with its desktop leaves 5.2 GB (NVIDIA/TensorRT issue 4493)"
)
SAME_SYSTEM = Figure(ORIN_SYSTEM.value, f"assumed to be as much as where {ORIN_SYSTEM.source}")
THOR = "developer.nvidia.com/blog/introducing-nvidia-jetson-thor-the-ultimate-platform-for-physical-ai"
ADA = "NVIDIA Ada GPU Architecture whitepaper, appendix A"

CATALOGUE: dict[str, Entry] = {
    "orin-nano-8gb": Entry(
        "Jetson Orin Nano 8 GB, MAXN_SUPER",
        Figure(8 * GIB, "Jetson Orin Nano Series data sheet"),
        ORIN_SYSTEM,
        Figure(102 * GB, "developer.nvidia.com/blog/nvidia-jetson-orin-nano-developer-kit-gets-a-super-boost"),
        {
            "fp32": Figure(2.09 * TERA, "derived: 1,024 CUDA cores, two operations a clock, 1,020 MHz (same page)"),
            "fp16": Figure(16.7 * TERA, f"derived: 32 tensor cores at 1,020 MHz; {TENSOR_CORE}"),
            "int8": Figure(33.4 * TERA, f"derived: 32 tensor cores at 1,020 MHz; {TENSOR_CORE}"),
        },
    ),
    "orin-nx-16gb": Entry(
        "Jetson Orin NX 16 GB, MAXN",
        Figure(16 * GIB, "Jetson Orin NX Series data sheet"),
        SAME_SYSTEM,
        Figure(102.4 * GB, "Jetson Orin NX Series data sheet"),
        {
            "fp32": Figure(1.88 * TERA, "derived: 1,024 CUDA cores, two operations a clock, 918 MHz (data sheet)"),
            "fp16": Figure(15.0 * TERA, f"derived: 32 tensor cores at 918 MHz; {TENSOR_CORE}"),
            "int8": Figure(30.1 * TERA, f"derived: 32 tensor cores at 918 MHz; {TENSOR_CORE}"),
        },
    ),
    "agx-orin-64gb": Entry(
        "Jetson AGX Orin 64 GB, MAXN",
        Figure(64 * GIB, "Jetson AGX Orin Series Technical Brief"),
        SAME_SYSTEM,
        Figure(204.8 * GB, "Jetson AGX Orin Series Technical Brief"),
        {
            "fp32": Figure(5.3 * TERA, "Jetson AGX Orin Series Technical Brief"),
            "fp16": Figure(42.6 * TERA, f"derived: 64 tensor cores at 1.3 GHz; {TENSOR_CORE}"),
            "int8": Figure(85.0 * TERA, "Jetson AGX Orin Series Technical Brief: half of 170 sparse"),
        },
    ),
    "thor": Entry(
        "Jetson AGX Thor (T5000), MAXN",
        Figure(128 * GIB, THOR),
        SAME_SYSTEM,
        Figure(273 * GB, THOR),
        {
            "fp32": Figure(8.06 * TERA, f"derived: 2,560 CUDA cores, two operations a clock, 1,575 MHz; {THOR}"),
            "fp16": Figure(258.5 * TERA, f"half of 517 sparse; {THOR}"),
            "int8": Figure(517 * TERA, f"half of 1,035 sparse; {THOR}"),
        },
    ),
    "rtx-4090": Entry(
        "GeForce RTX 4090",
        Figure(24 * GIB, ADA),
        Figure(1 * GB, "assumed: a desktop and the driver"),
        Figure(1008 * GB, ADA),
        {
            "fp32": Figure(82.6 * TERA, ADA),
            "fp16": Figure(165.2 * TERA, f"{ADA}, float32 sums"),
            "int8": Figure(660.6 * TERA, ADA),
        },
    ),
}
THIS = "this"
COMPUTE = Interval(0.25, 0.60)
"""Fraction of the dense rate that matmuls reach.

Low: TinyLlama's prompts of 4,096 tokens on an RTX 4090 reach 0.25 (geerlingguy/ai-benchmarks issue 43). High: between
the 0.35 to 0.52 of Thor's fp16 rate and the 0.79 of its fp32 that torch's matmuls reach
(zzc0721/torch-performance-test-data issue 151). For EVA ViT-g on any Orin there is no public measurement.
"""
BANDWIDTH = Interval(0.45, 0.75)
"""Fraction of the bandwidth that reading weights reaches.

Low: llama.cpp on an AGX Orin, 22 to 25 tokens a second at 4 bits of 50 (nvidia-holoscan/holohub issue 170,
OpenBMB/MiniCPM issue 331). High: MLC on an Orin Nano Super, 19 of 25 (NVIDIA's page on the Super); llama.cpp on an RTX
4090 lies between, 0.6 at q6_k (dmatora/LLM-inference-speed-benchmarks issue 10).
"""
NODE_S = Interval(3.4e-6, 9.6e-6)
"""Seconds that a small kernel takes in all: in a CUDA graph, and alone with a wait after each, on a V100
(developer.nvidia.com/blog/cuda-graphs, quoted from memory: not read again). Assumed for every device here, as what each
node takes to start."""
CALL_S = Interval(50e-6, 300e-6)
"""Seconds to call an engine from Python and to copy what goes in and out: assumed."""
LABEL_S = Figure(40e-6, "assumed: three times what a server's processor took")
SOFTMAX_S = Figure(5e-9, "assumed: three times what a server's processor took")
RUNTIME = Figure(1.2 * GB, "assumed: CUDA context, cuBLAS and cuDNN, two engines and Python")


def catalogue_device(name: str) -> Device:
    """Return a device of the catalogue; raise InputError listing those there are."""
    if name not in CATALOGUE:
        known = (*CATALOGUE, THIS)
        raise InputError(f"no device {name!r}; there are: {', '.join(known)}{did_you_mean(name, known)}")
    entry = CATALOGUE[name]
    engine = Engine(
        _speed(entry, COMPUTE.most, BANDWIDTH.most, NODE_S.least, CALL_S.least),
        _speed(entry, COMPUTE.least, BANDWIDTH.least, NODE_S.most, CALL_S.most),
    )
    notes = (
        "estimated, not measured: not yet run on this device",
        f"matmuls at {COMPUTE.least:.0%} to {COMPUTE.most:.0%} of the dense rate, weights at {BANDWIDTH.least:.0%} "
        f"to {BANDWIDTH.most:.0%} of the bandwidth",
        f"memory left: {entry.system.source}",
        f"engines: {RUNTIME.source}",
    )
    left = entry.memory.value - entry.system.value
    return Device(
        name,
        entry.title,
        entry.memory.value,
        left,
        RUNTIME.value,
        engine,
        {"": engine},
        LABEL_S.value,
        SOFTMAX_S.value,
        half_is_native=True,
        measured=False,
        notes=notes,
    )


def _speed(entry: Entry, compute: float, memory: float, node_s: float, call_s: float) -> Speed:
    rates = {str(precision): constant(compute * figure.value) for precision, figure in entry.rates.items()}
    bandwidth = constant(memory * entry.bandwidth.value)
    return Speed(rates, dict.fromkeys(KINDS, bandwidth), node_s, call_s)
