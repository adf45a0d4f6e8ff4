"""What our code uses of TensorRT is there, and takes our arguments, in every version we run on.

The bindings' own classes and signatures are recorded beside this file by record_tensorrt_surface.py. Our sources are
read, not run: variables that hold TensorRT's objects are named after their class, what they return is known from the
signatures, so every attribute, call, assignment and override can be looked up, without TensorRT and without a GPU.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("record_tensorrt_surface.py")
RECORDED = sorted(Path(__file__).with_name("tensorrt_surface").glob("*.json"))
SOURCES = sorted(ROOT.glob("runtimes/tensorrt/*.py"))
OBJECTS = {
    "trt": "module", "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser",
    "config": "IBuilderConfig", "profile": "IOptimizationProfile", "timing": "ITimingCache",
    "plan_memory": "IHostMemory", "runtime": "Runtime", "engine": "ICudaEngine", "context": "IExecutionContext",
}  # fmt: skip
"""What a variable of this name, or an attribute of self with a _ before it, holds unless it is annotated otherwise."""
Surface = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """What an expression is, as far as TensorRT goes: its module, a class, an object of a class, or a function."""

    kind: str
    name: str
    signatures: tuple[str, ...] = ()
    drops_self: bool = False
    """Whether the first argument is the object itself, as in ``trt.ILogger.__init__(self)``."""


@dataclass
class Walk(ast.NodeVisitor):
    """Look up in one surface all that a source uses."""

    surface: Surface
    names: dict[str, Known | None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    probed: set[str] = field(default_factory=set)
    missing: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """List what this version lacks or does not take, but for what the source itself asks for with getattr."""
        found = {name: line for name, line in self.missing.items() if name not in self.probed}
        where = f"{self.surface['module']} {self.surface['version']}"
        lacks = [f"line {line}: {where} has no {name}" for name, line in found.items()]
        return lacks + [f"line {line}: {where}: {text}" for text, line in self.wrong.items()]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outside, self.names = self.names, dict(self.names)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            self.names.pop(argument.arg, None)
            if argument.annotation is not None and ast.unparse(argument.annotation) != "Any":
                self.names[argument.arg] = None
        self.generic_visit(node)
        self.names = outside

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in filter(None, map(self.known, node.bases)):
            methods = self.surface["classes"][base.name]["methods"]
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name in methods and inner.name != "__init__":
                    count = len(inner.args.args) - 1
                    if not any(fits(text, count, []) for text in methods[inner.name]):
                        self.wrong[f"{base.name}.{inner.name} is called with {methods[inner.name]}"] = inner.lineno
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._bind(target, node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        base = self.known(node.value)
        self.known(node)
        if base and base.kind == "object" and isinstance(node.ctx, ast.Store):
            told = self.surface["classes"][base.name].get("properties", {}).get(node.attr, "settable")
            if not told.endswith("settable"):
                self.wrong[f"{base.name}.{node.attr} cannot be set"] = node.lineno

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self.known(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("memoryview", "bytes") and node.args:
            given = self.known(node.args[0])
            if given and given.kind == "object" and not self.surface["classes"][given.name].get("buffer"):
                self.wrong[f"{given.name} is no buffer"] = node.lineno

    def known(self, node: ast.expr) -> Known | None:
        """Tell what an expression is; None for what is not TensorRT's, or not there."""
        if isinstance(node, ast.Name):
            return self.names[node.id] if node.id in self.names else convention(node.id)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr.startswith("_"):
                return convention(node.attr[1:])
            base = self.known(node.value)
            return self._member(base, node.attr, node.lineno) if base else None
        return self._returned(node) if isinstance(node, ast.Call) else None

    def _returned(self, node: ast.Call) -> Known | None:
        if isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr") and len(node.args) > 1:
            return self._asked_for(node)
        function = self.known(node.func)
        if function and function.kind == "class":
            self._check_call(node, f"{function.name}.__init__", self._signatures(function.name, "__init__"))
            return Known("object", function.name)
        if function is None or function.kind != "function":
            return None
        self._check_call(node, function.name, function.signatures, drop=int(function.drops_self))
        kinds = {text.rpartition(" -> ")[2].rpartition("::")[2] for text in function.signatures}
        return self._object(kinds.pop()) if len(kinds) == 1 else None

    def _asked_for(self, node: ast.Call) -> Known | None:
        base, name = self.known(node.args[0]), node.args[1]
        if base is None or not isinstance(name, ast.Constant):
            return None
        self.probed.add(f"{base.name}.{name.value!s}")
        return self._member(base, str(name.value), node.lineno)

    def _member(self, base: Known, name: str, line: int) -> Known | None:
        """Look an attribute up; what is there but leads nowhere, such as a number, is None, too."""
        path = f"{base.name}.{name}"
        self.used.add(path)
        if base.kind == "module":
            if name in self.surface["classes"]:
                return Known("class", name)
            if name in self.surface["functions"]:
                return Known("function", path, tuple(self.surface["functions"][name]))
            if name in self.surface["values"] or name in ("__name__", "__version__"):
                return None
        elif base.kind in ("class", "object"):
            found = self.surface["classes"][base.name]
            if name in found.get("methods", {}):
                return Known("function", path, self._signatures(base.name, name), base.kind == "class")
            if name in found.get("properties", {}):
                return self._object(found["properties"][name].partition(",")[0])
            if path in self.surface["classes"]:
                return Known("class", path)
            if name in found.get("values", {}):
                return self._object(found["values"][name])
        self.missing.setdefault(path, line)
        return None

    def _signatures(self, name: str, method: str) -> tuple[str, ...]:
        return tuple(self.surface["classes"][name]["methods"].get(method, ()))

    def _object(self, name: str) -> Known | None:
        return Known("object", name) if name in self.surface["classes"] else None

    def _check_call(self, node: ast.Call, name: str, signatures: tuple[str, ...], drop: int = 0) -> None:
        keywords = [word.arg for word in node.keywords]
        if any(isinstance(given, ast.Starred) for given in node.args) or None in keywords:
            self.wrong[f"{name} is called with arguments that cannot be counted"] = node.lineno
        elif not any(fits(text, len(node.args) - drop, keywords) for text in signatures):
            self.wrong[f"{name} takes {' or '.join(signatures)}, not {ast.unparse(node)}"] = node.lineno

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, other in zip(target.elts, value.elts, strict=True):
                self._bind(one, other)
        elif isinstance(target, ast.Name):
            self.names.pop(target.id, None)
            if (found := self.known(value)) or makes_another_class(value):
                self.names[target.id] = found


def convention(name: str) -> Known | None:
    kind = OBJECTS.get(name)
    return Known("module", "trt") if kind == "module" else Known("object", kind) if kind else None


def makes_another_class(value: ast.expr) -> bool:
    """Whether an expression makes an object of a class of ours or Python's, such as Path."""
    called = [node.func for node in ast.walk(value) if isinstance(node, ast.Call)]
    return any(isinstance(function, ast.Name) and function.id[:1].isupper() for function in called)


def fits(signature: str, positional: int, keywords: list[str | None]) -> bool:
    """Whether a signature such as ``(name: str, shape: tuple = ()) -> bool`` takes these arguments."""
    parameters = list(parameters_of(signature))
    names = [name for name, _ in parameters]
    rest = names[positional:]
    needed = {name for name, optional in parameters[positional:] if not optional}
    return 0 <= positional <= len(names) and set(keywords) <= set(rest) and needed <= set(keywords)


def parameters_of(signature: str) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether it has a default); commas inside brackets belong to a type or a default."""
    inside = signature[1 : signature.rindex(")")]
    depth, start = 0, 0
    for place, letter in enumerate([*inside, ","]):
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and not depth:
            text = inside[start:place].strip()
            start = place + 1
            if text:
                yield re.split(r"[:=]", text)[0].strip(), "=" in text


def surfaces() -> list[Surface]:
    """Read the recorded versions, and look at those that are installed: on a Jetson, JetPack's own."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RECORDED]
    return found + [walked(name) for name in ("tensorrt", "tensorrt_rtx") if importlib.util.find_spec(name)]


def walked(module: str) -> Surface:
    """Describe an installed module, in a process of its own: importing it here would load its libraries."""
    command = [sys.executable, str(SCRIPT), "--walk", module]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: Surface = json.loads(done.stdout)
    return found


def walk(text: str, surface: Surface) -> Walk:
    result = Walk(surface)
    result.visit(ast.parse(text))
    return result


def recorded(start: str) -> Surface:
    (path,) = [path for path in RECORDED if path.name.startswith(start)]
    surface: Surface = json.loads(path.read_text(encoding="utf-8"))
    return surface


@pytest.fixture(scope="module")
def versions() -> list[Surface]:
    return surfaces()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_version_has_what_our_code_uses(path: Path, versions: list[Surface]) -> None:
    text = path.read_text(encoding="utf-8")
    walks = [walk(text, surface) for surface in versions]
    assert [problem for found in walks for problem in found.problems()] == []
    nowhere = set.intersection(*(found.probed & found.missing.keys() for found in walks))
    assert nowhere == set(), "asked for with getattr, but no version has it"


def test_the_walk_sees_our_code() -> None:
    used = {name for path in SOURCES for name in walk(path.read_text(encoding="utf-8"), recorded("tensorrt-11")).used}
    expected = {
        "trt.Builder", "trt.Runtime", "trt.OnnxParser", "Builder.create_network", "Builder.build_serialized_network",
        "OnnxParser.parse_from_file", "IBuilderConfig.set_memory_pool_limit", "IBuilderConfig.set_timing_cache",
        "IOptimizationProfile.set_shape", "Runtime.deserialize_cuda_engine", "ICudaEngine.create_execution_context",
        "ICudaEngine.get_tensor_name", "IExecutionContext.set_input_shape", "IExecutionContext.set_tensor_address",
        "IExecutionContext.execute_async_v3",
    }  # fmt: skip
    assert expected <= used


def test_jetpacks_versions_and_the_rtx_edition_are_recorded() -> None:
    names = [path.name for path in RECORDED]
    assert [name for name in names if name.startswith("tensorrt-10.3.")]
    assert [name for name in names if re.match(r"tensorrt-10\.1\d", name)]
    assert [name for name in names if name.startswith("tensorrt-11.")]
    assert [name for name in names if name.startswith("tensorrt_rtx-1.")]
    assert sum(path.stat().st_size for path in RECORDED) < 150_000


FP16 = "config.set_flag(trt.BuilderFlag.FP16)"


@pytest.mark.parametrize(
    ("snippet", "lacking", "problem"),
    [
        (FP16, "tensorrt-11", "has no BuilderFlag.FP16"),
        (FP16, "tensorrt_rtx", "has no BuilderFlag.FP16"),
        (FP16, "tensorrt-10", ""),
        ("flags = trt.BuilderFlag\nconfig.set_flag(flags.FP16)", "tensorrt-11", "has no BuilderFlag.FP16"),
        ("self._engine.device_memory_size", "tensorrt-11", "has no ICudaEngine.device_memory_size"),
        ("engine.create_runtime_config()", "tensorrt-10.3", "has no ICudaEngine.create_runtime_config"),
        ("made = builder.create_builder_config()\nmade.int8_calibrator = None", "tensorrt-11", "int8_calibrator"),
        ("network.get_input(0).dynamic_range", "tensorrt-11", "has no ITensor.dynamic_range"),
        ("engine.name = 'a'", "tensorrt-11", "ICudaEngine.name cannot be set"),
        ("config.set_timing_cache(timing)", "tensorrt-11", "IBuilderConfig.set_timing_cache takes"),
        ("config.set_timing_cache(timing, ignore_mismatch=True)", "tensorrt-11", ""),
        ("config.set_timing_cache(timing, ignore=True)", "tensorrt-11", "IBuilderConfig.set_timing_cache takes"),
        ("builder.build_serialized_network(network, config, 'a')", "tensorrt-10.3", "build_serialized_network takes"),
        ("builder.build_serialized_network(network, config, 'a')", "tensorrt-11", ""),
        ("trt.OnnxParser(network)", "tensorrt-11", "OnnxParser.__init__ takes"),
        ("trt.IProgressMonitor.__init__()", "tensorrt-11", "IProgressMonitor.__init__ takes"),
        ("trt.IProgressMonitor.__init__(self)", "tensorrt-11", ""),
        ("engine.get_tensor_shape(*names)", "tensorrt-11", "cannot be counted"),
        ("class Log(trt.ILogger):\n def log(self, message): ...", "tensorrt-11", "ILogger.log is called with"),
        ("memoryview(engine)", "tensorrt-11", "ICudaEngine is no buffer"),
        ("memoryview(builder.build_serialized_network(network, config))", "tensorrt-11", ""),
        ("trt.float16, trt.nptype(trt.int8), trt.ILogger.Severity.ERROR, trt.__version__", "tensorrt-11", ""),
        ("def f(timing: Path): timing.exists()", "tensorrt-11", ""),
        ("def f():\n timing = Path('a')\n timing.exists()", "tensorrt-11", ""),
        ("def f(timing: Any): timing.exists()", "tensorrt-11", "has no ITimingCache.exists"),
    ],
)
def test_what_a_version_lacks_is_told_with_its_name(snippet: str, lacking: str, problem: str) -> None:
    versions = [json.loads(path.read_text(encoding="utf-8")) for path in RECORDED if path.name.startswith(lacking)]
    assert versions
    for surface in versions:
        found = walk(snippet, surface).problems()
        if not problem:
            assert found == []
        else:
            (told,) = found
            assert problem in told
            assert f"{surface['module']} {surface['version']}" in told


def test_what_the_code_asks_for_itself_may_be_missing() -> None:
    snippet = "if hasattr(engine, 'create_runtime_config'):\n engine.create_runtime_config().cuda_graph_strategy"
    old, new = walk(snippet, recorded("tensorrt-10.3")), walk(snippet, recorded("tensorrt-11"))
    assert old.problems() == []
    assert [text.partition(": ")[2] for text in new.problems()] == [
        "tensorrt 11.4.0.106 has no IRuntimeConfig.cuda_graph_strategy"
    ]
    nowhere = walk("getattr(config, 'no_such_thing', None)", recorded("tensorrt-11"))
    assert nowhere.problems() == []
    assert nowhere.probed & nowhere.missing.keys() == {"IBuilderConfig.no_such_thing"}


@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx"])
def test_the_recorded_surface_is_the_installed_ones(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"waits for a system with {module}")
    found = walked(module)
    name = f"{module}-{found['version']}.json"
    if name not in [path.name for path in RECORDED]:
        pytest.skip(f"{name} is not among the recorded surfaces; {SCRIPT.name} --walk {module} prints it")
    assert recorded(name) == found


def test_a_change_of_the_bindings_is_told() -> None:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    surface = recorded("tensorrt-11")
    assert script.differences(surface) == []
    surface["classes"]["Runtime"]["methods"]["new"] = ["() -> None"]
    del surface["classes"]["BuilderFlag"]["values"]["TF32"]
    assert script.differences(surface) == [
        "tensorrt-11.4.0.106.json: classes.BuilderFlag.values.TF32: BuilderFlag is now None",
        "tensorrt-11.4.0.106.json: classes.Runtime.methods.new: None is now ['() -> None']",
    ]
    assert script.differences({**surface, "version": "11.9"}) == ["tensorrt-11.9.json: not recorded"]
