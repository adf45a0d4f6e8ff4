"""Record which classes, methods and flags the Python bindings of TensorRT have, one JSON file a version.

``python tests/runtimes/tensorrt/record_tensorrt_surface.py --download`` fetches the pinned wheels with pip and records
them; ``--check`` compares them with the files instead and exits with 1 on a difference; ``WHEEL...`` takes wheels that
are there already; ``--walk tensorrt`` prints the surface of an installed module. Wheels need Linux, a C compiler,
binutils and Python 3.10 to 3.12, the last that 10.3 has wheels for.

A wheel of bindings lacks the libraries they are linked with, and those need no GPU to be stood in for: every function
they would bring gets a stub, so that the module imports and can be looked at, in a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "tensorrt_surface"
WHEELS = (
    # JetPack 6 has TensorRT 10.3: https://developer.nvidia.com/embedded/jetpack-sdk-62
    "tensorrt-cu12-bindings==10.3.0",
    "tensorrt-cu12-bindings==10.16.1.11",
    "tensorrt-cu12-bindings==11.4.0.106",
    "tensorrt-rtx-cu13-bindings==1.7.1.116",
)
CLASSES = (
    "Builder", "BuilderFlag", "DataType", "Dims", "EngineCapability", "ExecutionContextAllocationStrategy",
    "HardwareCompatibilityLevel", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "ILogger",
    "ILogger.Severity", "INetworkDefinition", "IOptimizationProfile", "IOutputAllocator", "IProgressMonitor",
    "IRuntimeCache", "IRuntimeConfig", "ISerializationConfig", "ITensor", "ITimingCache", "Logger", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "OnnxParserFlag", "ParserError", "PreviewFeature",
    "ProfilingVerbosity", "Runtime", "RuntimePlatform", "SerializationFlag", "TempfileControlFlag", "TensorIOMode",
    "TensorLocation", "CudaGraphStrategy", "DynamicShapesKernelSpecializationStrategy", "ComputeCapability",
    "EngineValidity",
)  # fmt: skip
"""Those that build, keep and run an engine; the layers of a network are the parser's business."""


def surface(trt: Any) -> dict[str, Any]:
    """Describe an imported TensorRT: ``{module, version, classes, functions, values}``, sorted.

    A class has ``methods`` (each overload's parameters without self, and what it returns), ``properties`` (type, and
    whether they can be set), ``values`` (members of an enum and other attributes, with their type) and ``buffer``
    (whether memoryview takes an instance).
    """
    found = {name: _attribute(trt, name) for name in CLASSES}
    # What gives the bindings their ``with`` statement is left over in the module.
    names = [name for name in dir(trt) if not name.startswith(("_", "common_"))]
    others = {name: getattr(trt, name) for name in names if not inspect.isclass(getattr(trt, name))}
    return {
        "module": trt.__name__.removesuffix("_bindings"),
        "version": trt.__version__,
        "classes": {name: _class(kind) for name, kind in sorted(found.items()) if kind is not None},
        "functions": {name: _signatures(value, name) for name, value in others.items() if callable(value)},
        "values": {name: "DataType" for name, value in others.items() if isinstance(value, trt.DataType)},
    }


def _attribute(trt: Any, path: str) -> Any:
    for name in path.split("."):
        trt = getattr(trt, name, None)
    return trt


def _class(kind: Any) -> dict[str, Any]:
    methods, properties, values = {}, {}, {}
    for name in ["__init__", *(name for name in dir(kind) if not name.startswith("_"))]:
        value = inspect.getattr_static(kind, name)
        if isinstance(value, property):
            properties[name] = _property(value)
        elif callable(getattr(kind, name)) and not inspect.isclass(value):
            methods[name] = _signatures(getattr(kind, name), name, bound=not isinstance(value, staticmethod))
        else:
            values[name] = type(value).__name__
    described = {"methods": methods, "properties": properties, "values": values, "buffer": _has_buffer(kind)}
    return {name: found for name, found in described.items() if found}


def _has_buffer(kind: Any) -> bool:
    """Tell without an object: none can be made without the libraries, so ask an empty instance what its type has."""
    return bool(ctypes.pythonapi.PyObject_CheckBuffer(ctypes.py_object(kind.__new__(kind))))


def _property(value: property) -> str:
    kind = _clean((value.fget.__doc__ or "").strip()).rpartition(" -> ")[2]
    return f"{kind or 'object'}{'' if value.fset is None else ', settable'}"


def _signatures(function: Any, name: str, *, bound: bool = False) -> list[str]:
    """Read the overloads off the docstring that pybind11 writes, or off a function of Python."""
    if inspect.isfunction(function):
        return [_clean(str(inspect.signature(function)))]
    lines = [re.sub(r"^\d+\. ", "", line) for line in (function.__doc__ or "").splitlines()]
    found = [_clean(line[len(name) :]) for line in lines if line.startswith(f"{name}(") and " -> " in line]
    return [re.sub(r"^\(\w+: [\w.]+(, |(?=\)))", "(", text) for text in found] if bound else found


def _clean(text: str) -> str:
    """Drop modules' names, which differ from wheel to wheel and from Python to Python, and addresses."""
    return re.sub(r"\b(tensorrt\w*\.|typing\w*\.|collections\.abc\.)+| object at 0x[0-9a-f]+", "", text)


def surface_of_wheel(wheel: Path) -> dict[str, Any]:
    """Unpack a wheel of bindings, stand in for their libraries and describe them.

    Raises ValueError for another wheel, OSError without a compiler or binutils, CalledProcessError where the import
    fails: the wheel is another Python's.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not zipfile.is_zipfile(wheel):
            raise ValueError(f"{wheel} is not a wheel, or is not there")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        extension = next(folder.glob("tensorrt*_bindings/tensorrt*.so"), None)
        if extension is None:
            raise ValueError(f"{wheel.name} does not hold TensorRT's bindings for Linux")
        for library in _missing_libraries(extension):
            _write_stub(folder / library, _missing_functions(extension))
        return walked(extension.parent.name, {"PYTHONPATH": name, "LD_LIBRARY_PATH": name})


def walked(module: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Describe a module in a process of its own, with nothing imported but this file."""
    command = [sys.executable, __file__, "--walk", module]
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, check=True, stdout=subprocess.PIPE)
    described: dict[str, Any] = json.loads(done.stdout)
    return described


def _missing_libraries(extension: Path) -> list[str]:
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", _output("readelf", "-d", str(extension)))
    return [name for name in needed if re.match(r"lib(nv|tensorrt)", name)]


def _missing_functions(extension: Path) -> list[str]:
    """Names of the functions that neither Python nor the C library has; C++'s carry a version."""
    names = re.findall(r" U ([A-Za-z]\w*)$", _output("nm", "-D", "--undefined-only", str(extension)), re.MULTILINE)
    here = ctypes.CDLL(None)
    return [name for name in names if not hasattr(here, name)]


def _write_stub(target: Path, functions: Sequence[str]) -> None:
    source = "".join(f"long {name}(void) {{ return 0; }}\n" for name in functions)
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-x", "c", "-", "-o", str(target)]
    subprocess.run(command, input=source, text=True, check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def downloaded(folder: Path) -> Iterator[Path]:
    """Fetch the pinned wheels for this Python; pip says what it cannot find."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    for requirement in WHEELS:
        # One at a time: pip refuses two versions of a package in one call.
        subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
    yield from sorted(folder.glob("*.whl"))


def text_of(described: dict[str, Any]) -> str:
    """Write a surface as JSON, a method or property a line, so that a diff shows what changed."""
    return json.dumps(described, sort_keys=True, indent=0, separators=(",", ":")) + "\n"


def path_of(described: dict[str, Any]) -> Path:
    """Where the surface of this module and version is kept."""
    return HERE / f"{described['module']}-{described['version']}.json"


def differences(described: dict[str, Any]) -> list[str]:
    """List what differs from the kept file, a line each; empty if nothing does."""
    path = path_of(described)
    if not path.is_file():
        return [f"{path.name}: not recorded"]
    kept, found = (dict(_leaves(value)) for value in (json.loads(path.read_text(encoding="utf-8")), described))
    names = sorted(name for name in kept.keys() | found.keys() if kept.get(name) != found.get(name))
    return [f"{path.name}: {name}: {kept.get(name)} is now {found.get(name)}" for name in names]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{path}.{name}" if path else name)


def main() -> int:
    """Record or check what the command line names; return the exit code, 2 for what cannot be looked at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", nargs="*", type=Path, metavar="WHEEL")
    parser.add_argument("--download", action="store_true", help="fetch the pinned wheels and record them")
    parser.add_argument("--check", action="store_true", help="compare with the recorded files, write nothing")
    parser.add_argument("--walk", metavar="MODULE", help="print the surface of an installed module")
    options = parser.parse_args()
    if not (options.wheels or options.download or options.check or options.walk):
        parser.error("name wheels, or --download, --check or --walk")
    try:
        if options.walk:
            print(text_of(surface(importlib.import_module(options.walk))), end="")
            return 0
        with tempfile.TemporaryDirectory() as folder:
            found = [surface_of_wheel(wheel) for wheel in options.wheels or downloaded(Path(folder))]
    except (ImportError, OSError, ValueError, subprocess.CalledProcessError) as error:
        parser.error(f"{error}; recording needs Linux, Python 3.10 to 3.12, a C compiler and binutils")
    return _check(found) if options.check else _record(found)


def _check(found: Sequence[dict[str, Any]]) -> int:
    changed = [line for described in found for line in differences(described)]
    print("\n".join(changed) or f"{len(found)} surfaces are as recorded")
    return 1 if changed else 0


def _record(found: Sequence[dict[str, Any]]) -> int:
    HERE.mkdir(exist_ok=True)
    for described in found:
        path_of(described).write_text(text_of(described), encoding="utf-8")
        print(path_of(described).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
