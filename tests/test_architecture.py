"""Imports go one way, along an ordered list of layers; folders stay small and say what they hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("emo_edge", "runtimes", "export", "calibration", "benchmarks")
LAYERS = (
    ("emo_edge",),
    ("emo_edge.utils",),
    ("emo_edge.console", "emo_edge.storage"),
    ("emo_edge.metrics",),
    ("emo_edge.media.headers", "emo_edge.media.readers"),
    ("emo_edge.machine", "emo_edge.media"),
    ("emo_edge.faces", "emo_edge.assets"),
    ("emo_edge.inference.signals",),
    ("emo_edge.media.live", "emo_edge.faces.live"),
    ("emo_edge.graphs",),
    ("emo_edge.bundle.tasks",),
    ("emo_edge.bundle",),
    ("emo_edge.inference.tasks",),
    ("emo_edge.bundle.checks", "emo_edge.runtimes.base"),
    ("emo_edge.runtimes", "emo_edge.runtimes.tensorrt", "emo_edge.runtimes.llama_cpp"),
    ("emo_edge.runtimes.mtmd",),
    ("emo_edge.runtimes.loading",),
    ("emo_edge.inference",),
    ("emo_edge.inference.live",),
    ("emo_edge.planning.cost",),
    ("emo_edge.planning",),
    ("emo_edge.planning.probes",),
    ("emo_edge.rendering", "emo_edge.diagnostics.trials"),
    ("emo_edge.rendering.live", "emo_edge.rendering.tables"),
    ("emo_edge.rendering.tracks",),
    ("emo_edge.batch", "emo_edge.tracking"),
    ("emo_edge.diagnostics.doctor",),
    ("emo_edge.diagnostics.selftest",),
    ("emo_edge.serving.engine",),
    ("emo_edge.serving.access",),
    ("emo_edge.serving.routes",),
    ("emo_edge.serving.live",),
    ("emo_edge.serving",),
    ("emo_edge.export.configs",),
    ("emo_edge.export.models",),
    ("emo_edge.export.models.action_units",),
    ("emo_edge.export.user_graphs",),
    ("emo_edge.export.reference",),
    ("emo_edge.export.onnx", "emo_edge.export.gguf"),
    ("emo_edge.export.importers.tokenizers",),
    ("emo_edge.export.importers",),
    ("emo_edge.export.importers.llava", "emo_edge.export.importers.labels"),
    ("emo_edge.export.bundles", "emo_edge.export.triton"),
    ("emo_edge.export.vlm",),
    ("emo_edge.calibration.samples", "emo_edge.calibration.int8", "emo_edge.calibration.language"),
    ("emo_edge.calibration.workflow",),
    ("emo_edge.calibration.vlm",),
    ("emo_edge.benchmarks.random_vlm",),
    ("emo_edge.benchmarks.synthetic",),
    ("emo_edge.benchmarks.synthetic.pulse",),
    ("emo_edge.benchmarks.synthetic.micro",),
    ("emo_edge.benchmarks.emo_tiny",),
    ("emo_edge.benchmarks.datasets",),
    (
        "emo_edge.benchmarks.datasets.action_units",
        "emo_edge.benchmarks.datasets.affective",
        "emo_edge.benchmarks.datasets.pulse",
    ),
    ("emo_edge.benchmarks.action_units",),
    ("emo_edge.benchmarks.workload",),
    ("emo_edge.benchmarks.measure",),
    ("emo_edge.benchmarks.report",),
    ("emo_edge.benchmarks.report.html", "emo_edge.benchmarks.report.compare"),
    ("emo_edge.benchmarks.runner",),
    (
        "emo_edge.benchmarks.affective",
        "emo_edge.benchmarks.affective_tasks",
        "emo_edge.benchmarks.batch",
        "emo_edge.benchmarks.device_speed",
        "emo_edge.benchmarks.endurance",
        "emo_edge.benchmarks.hostile",
        "emo_edge.benchmarks.live",
        "emo_edge.benchmarks.peers",
        "emo_edge.benchmarks.pulse",
        "emo_edge.benchmarks.serving",
        "emo_edge.benchmarks.studies",
        "emo_edge.benchmarks.visual_tokens",
    ),
    (
        "emo_edge.benchmarks.hostile.checkpoints",
        "emo_edge.benchmarks.hostile.tables",
        "emo_edge.benchmarks.signals",
    ),
    ("emo_edge.cli",),
    (
        "emo_edge.cli.detectors",
        "emo_edge.cli.diagnostics",
        "emo_edge.cli.live",
        "emo_edge.cli.serving",
        "emo_edge.cli.signals",
    ),
)
"""From the lowest to the highest. A package imports itself and what stands in a line above it, never a sibling."""
RANK = {package: number for number, line in enumerate(LAYERS) for package in line}
CALIBRATION = ("emo_edge.calibration.samples", "emo_edge.calibration.int8", "emo_edge.calibration.language")
ABOVE_INFERENCE = ("emo_edge.planning", "emo_edge.rendering", "emo_edge.diagnostics")
UNUSED_BY = {
    **dict.fromkeys(CALIBRATION, ("emo_edge.export", *ABOVE_INFERENCE)),
    "emo_edge.calibration.workflow": ABOVE_INFERENCE,
    "emo_edge.calibration.vlm": ABOVE_INFERENCE,
    "emo_edge.export": ABOVE_INFERENCE,
}
"""Packages that the layers would allow and that stay independent of each other all the same."""
NAMESPACES = ("emo_edge.diagnostics", "emo_edge.export", "emo_edge.calibration", "emo_edge.benchmarks")
"""Packages of packages: they hold no module of their own."""
PUBLIC = "emo_edge"
"""Its `__init__` names the public API lazily; no module of the package imports from there but `__version__`."""
MOST_MODULES = 15


@cache
def modules() -> dict[str, Path]:
    """Map import names to files, packages under their own name."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return {import_name(path): path for path in paths}


def import_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "emo_edge" else ("emo_edge", *parts))


def package_of(module: str) -> str:
    return module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]


def imported(module: str) -> Iterator[str]:
    """Yield the modules of ours that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.module in modules():
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules() else node.module for name in names)


def started(module: str) -> Iterator[str]:
    """Yield the modules of ours that a module names in strings: engines by name, child processes, lazy commands."""
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("emo_edge."):
            name = node.value.partition(":")[0]
            if name in modules():
                yield name


def rank_of(package: str) -> int:
    """Return a package's layer; a package of packages is imported before all of its own."""
    if package not in NAMESPACES:
        return RANK[package]
    return min(rank for name, rank in RANK.items() if name.startswith(f"{package}."))


@pytest.mark.parametrize("module", [name for name in modules() if name != PUBLIC])
def test_no_import_runs_back(module: str) -> None:
    own = package_of(module)
    for name in imported(module):
        other = package_of(name)
        if name == PUBLIC or other == own:
            continue
        assert RANK[other] < rank_of(own), f"{module} imports {name}"
        for users, unused in UNUSED_BY.items():
            if own == users or own.startswith(f"{users}."):
                assert not other.startswith(unused), f"{module} imports {name}: they stay independent"


def test_every_package_has_its_layer() -> None:
    packages = {package_of(module) for module in modules()}
    assert packages - set(NAMESPACES) == set(RANK)


def test_there_is_no_cycle() -> None:
    graph = {module: {name for name in imported(module) if name != PUBLIC} - {module} for module in modules()}
    graph[PUBLIC] = set()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_the_registry_names_engines_in_strings() -> None:
    engines = {
        module
        for module in modules()
        for name in started(module)
        if name.startswith("emo_edge.runtimes.") and name != module
    }
    assert engines <= {"emo_edge.runtimes.loading.device_choice"}


@pytest.mark.parametrize("package", sorted({package_of(module) for module in modules()}))
def test_a_folder_is_small_and_says_what_it_holds(package: str) -> None:
    held = [name for name in modules() if package_of(name) == package and name != package]
    assert len(held) <= MOST_MODULES, f"{package} holds {len(held)} modules: a sub-package hides in them"
    text = ast.get_docstring(ast.parse(modules()[package].read_text(encoding="utf-8")))
    assert text and len(text.splitlines()) <= 8, f"{package} says in a few lines what it holds and may import"
