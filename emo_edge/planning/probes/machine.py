"""Measure the speed of this machine, with the engines that inference uses, in some seconds.

The probes have nothing to do with the bundle that is planned: graphs of equal nodes and language models of random
weights, each in a small and a large size. So the rates hold the cost of starting a node, and a prediction stays one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from emo_edge.bundle.engine_settings import CudaSettings
from emo_edge.errors import DeviceError
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.hardware import Machine, read_machine
from emo_edge.machine.load import BusyWatch, watched_load
from emo_edge.planning.cost.work import Precision
from emo_edge.planning.device_catalogue import THIS, catalogue_device
from emo_edge.planning.models import PlannedModel
from emo_edge.planning.probes.graph_rates import graph_engine
from emo_edge.planning.probes.language_rates import label_seconds, language_engine, softmax_seconds
from emo_edge.planning.roofline import Device
from emo_edge.runtimes.loading.device_choice import PROBLEMS

RUNTIME = {"cpu": 0.25e9, "cuda": 1.2e9}
"""Bytes of Python and two engines, without weights and activations: assumed."""
DRIVER = 1e9
"""Bytes of a card that its driver and a desktop keep: assumed."""


def device_for(
    subject: PlannedModel,
    name: str = THIS,
    *,
    profile: str | None = None,
    threads: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Device:
    """Return a device of the catalogue, or measure this machine for the types of the profiles that are planned.

    Args:
        subject: the model that is planned.
        name: of the device; ``this`` is this machine.
        profile: the one that is planned alone; None measures the types of all.
        threads: of each engine that is measured; None leaves it to the engine.
        report: called with one line before each measurement.
    """
    if name != THIS:
        return catalogue_device(name)
    planned = {profile} if profile in subject.profiles else set(subject.profiles)
    variants = {profile_variants["language"] for key, profile_variants in subject.profiles.items() if key in planned}
    types = {variant: number for variant, number in subject.file_types().items() if variant in variants}
    return measured_device(subject.precisions(), types, threads=threads, cuda=subject.cuda, report=report)


def measured_device(
    precisions: Iterable[Precision],
    file_types: Mapping[str, int],
    *,
    device: str | None = None,
    threads: int | None = None,
    cuda: CudaSettings | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Device:
    """Measure this machine.

    Args:
        precisions: of the graphs' matmuls.
        file_types: variant of the language model to llama.cpp's number of its type.
        device: ``cpu`` or ``cuda``; None takes CUDA where both engines can use it. TensorRT is not measured.
        threads: of each engine; None leaves it to the engine.
        cuda: how a card runs the graphs that are planned: a captured graph's nodes cost less.
        report: called with one line before each measurement.

    Raises MissingExtraError for an engine that is not there, DeviceError for one that does not start.
    """
    chosen = device or ("cpu" if PROBLEMS["cuda"]() else "cuda")
    machine = read_machine()
    with watched_load() as watch, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        report("measuring graphs on this machine")
        graphs = graph_engine(directory, precisions, chosen, threads, cuda)
        language = {}
        for variant, file_type in file_types.items():
            report(f"measuring the language model's {variant} on this machine")
            language[variant] = language_engine(directory, file_type, chosen, threads)
        label_s = label_seconds(directory)
    total, available = device_memory(machine, chosen)
    return Device(
        name=THIS,
        title=_title(machine, chosen, threads),
        memory=total,
        left=available,
        runtime=RUNTIME[chosen],
        graphs=graphs,
        language=language,
        label_s=label_s,
        softmax_s=softmax_seconds(),
        half_is_native="FP16" in (machine.processor.features or ()) or chosen == "cuda",
        measured=True,
        notes=("measured on this machine just now, with probes that are not the model", *_busy(watch)),
    )


def device_memory(machine: Machine, device: str) -> tuple[float, float]:
    """Return the bytes that the device has, and those that are free for us now."""
    card = machine.cuda_devices[0].memory if device == "cuda" and machine.cuda_devices else None
    if card is not None and machine.jetson is None:
        return float(card), float(card) - DRIVER
    if machine.memory is None:
        raise DeviceError("the memory of this machine is unknown; plan for a named `device`")
    limit = machine.memory.limit or machine.memory.total
    return float(min(machine.memory.total, limit)), float(min(machine.memory.available or limit, limit))


def _busy(watch: BusyWatch) -> Iterator[str]:
    """Warn of rates that are too low, as `emo-edge bench` does."""
    if watch.reasons:
        yield f"the machine was busy with other work: {'; '.join(watch.reasons)}. Measure again before you trust a time"


def _title(machine: Machine, device: str, threads: int | None) -> str:
    if device != "cpu":
        return machine.cuda_devices[0].name
    return f"{machine.processor.name}, {threads or usable_cpus()} threads"
