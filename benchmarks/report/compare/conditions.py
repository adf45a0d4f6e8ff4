"""Conditions of two reports, and the figures that can be compared under them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emo_edge.benchmarks.report.schema import BundleId, Report

OWN = "emo-edge"
"""The software under test: its version may differ in a comparison."""


@dataclass(frozen=True)
class Condition:
    """A condition that is not the same in both."""

    what: str
    before: str
    after: str
    spoils_times: bool
    spoils_accuracy: bool = False

    def __str__(self) -> str:
        """Return the condition in one line."""
        return f"{self.what}: {self.before} / {self.after}"


def conditions(before: Report, after: Report) -> list[Condition]:
    """Compare machine, data set, versions and models."""
    return [*_data(before, after), *_machine(before, after), *_versions(before, after), *_models(before, after)]


def disturbances(report: Report) -> list[str]:
    """List the disturbances that make the times of a report unusable."""
    machine = report.machine
    because = f": {machine.busy_reason}" if machine.busy_reason else ""
    return [*([f"busy machine{because}"] if machine.busy else []), *(["throttled"] if machine.throttled else [])]


def _data(before: Report, after: Report) -> Iterator[Condition]:
    first, second = before.dataset, after.dataset
    for key in ("name", "split", "fold", "source"):
        yield from _unlike(f"data set, {key}", getattr(first, key), getattr(second, key), accuracy=True)
    # Models have orders of their own; a sample's label is compared by name.
    if sorted(first.labels) != sorted(second.labels):
        yield from _unlike("data set, labels", first.labels, second.labels, accuracy=True)
    yield from _unlike("samples", first.samples, second.samples, times=False)


def _machine(before: Report, after: Report) -> Iterator[Condition]:
    first, second = before.machine, after.machine
    yield from _unlike("memory", first.memory, second.memory, times=False)
    for key in ("cpu", "cores", "gpu", "system", "governor", "power_mode"):
        yield from _unlike(key.replace("_", " "), getattr(first, key), getattr(second, key))
    for engine in dict.fromkeys((*first.threads, *second.threads)):
        yield from _unlike(f"threads of {engine}", first.threads.get(engine), second.threads.get(engine))


def _versions(before: Report, after: Report) -> Iterator[Condition]:
    first, second = before.machine.versions, after.machine.versions
    for name in dict.fromkeys((*first, *second)):
        yield from _unlike(name, first.get(name), second.get(name), times=name != OWN)
    sources = [report.machine.git and report.machine.git.revision for report in (before, after)]
    yield from _unlike("source", *sources, times=False)


def _models(before: Report, after: Report) -> Iterator[Condition]:
    bundles = [_named(report.bundle) for report in (before, after)]
    yield from _unlike("bundle", *bundles, times=False)
    weights = [report.checkpoint and report.checkpoint.weights_sha256 for report in (before, after)]
    yield from _unlike("full-precision weights", *weights, times=False)


def _named(bundle: BundleId) -> str:
    return f"{bundle.name}, sha256 {bundle.manifest_sha256}" if bundle.manifest_sha256 else bundle.name


def _unlike(what: str, before: Any, after: Any, *, times: bool = True, accuracy: bool = False) -> Iterator[Condition]:
    if before != after:
        yield Condition(what, _shown(before), _shown(after), times, accuracy)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "not reported" if value is None else str(value)
