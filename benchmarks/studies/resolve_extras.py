"""Packages that an extra installs on a Jetson: ``python -m emo_edge.benchmarks.studies.resolve_extras``.

pip's dry run for another machine has two gaps. It takes environment markers from the Python that runs it, so here it
gets the target's, and its report must show them. It refuses packages without a wheel, so a wheel of their metadata
alone replaces them; the device compiles them.
"""

from __future__ import annotations

import email
import json
import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

from emo_edge.console.children import code_command, module_command
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import EmoEdgeError, InputError

VENDOR = (
    *("tensorrt*", "torch*", "triton*", "opencv*", "onnxruntime*", "nvidia-*", "pycuda"),
    *("cuda-toolkit*", "cuda-runtime*", "cudnn*", "cupy*", "jax-cuda*"),
)
"""Names of packages that JetPack brings or that are built for it; pip's would replace them or not find the GPU."""
COMPILED = ("llama-cpp-python",)
"""Published as source alone."""
OLDEST_GLIBC = 5
"""manylinux_2_5 is the oldest tag there is (PEP 600)."""
PIP_AS_TARGET = """
import json, sys
from pip._vendor.packaging import markers
there = {**markers.default_environment(), **json.loads(sys.argv[1])}
markers.default_environment = lambda: dict(there)
from pip._internal.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
LINES_SHOWN = 4


@dataclass(frozen=True)
class Target:
    """A machine that pip resolves for: its title, Python (``3.10``) and the minor number of its glibc."""

    title: str
    python: str
    glibc: int

    def markers(self) -> dict[str, str]:
        """Return the environment markers of PEP 508 that differ from this machine's."""
        full = f"{self.python}.0"
        python = {"python_version": self.python, "python_full_version": full, "implementation_version": full}
        linux = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
        return {**python, **linux, "platform_machine": "aarch64"}

    def platforms(self) -> list[str]:
        """Return the platform tags whose wheels this machine installs, the newest glibc first."""
        many = [f"manylinux_2_{minor}_aarch64" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1)]
        return [*many, "manylinux2014_aarch64", "linux_aarch64"]


TARGETS = {"jetpack-6": Target("JetPack 6", "3.10", 35), "jetpack-7": Target("JetPack 7", "3.12", 39)}
"""Ubuntu 22.04 and 24.04, whose Python and glibc these are (packages.ubuntu.com)."""


@dataclass(frozen=True)
class Package:
    """A package to install: ``file`` is None where the device compiles it; ``wants`` are its own requirements."""

    name: str
    version: str
    file: str | None
    wants: tuple[str, ...] = ()


def resolve(project: Path, extra: str, target: Target) -> list[Package]:
    """Ask pip what ``project[extra]`` installs on a target, sorted by name.

    Raises InputError for a folder without a project, EmoEdgeError where pip finds no answer.
    """
    if not (project / "pyproject.toml").is_file():
        raise InputError(f"{project}: no pyproject.toml; name the folder of a checkout with `project`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in COMPILED:
            _run(module_command("pip", *_sdist_arguments(package, folder)))
        for sdist in sorted(folder.glob("*.tar.gz")):
            stand_in(sdist, folder)
        report = folder / "report.json"
        arguments = [*_arguments(target, folder, report), f"{project.resolve()}[{extra}]"]
        _run(code_command(PIP_AS_TARGET, json.dumps(target.markers()), *arguments))
        return packages_of(json.loads(report.read_text(encoding="utf-8")), extra, target)


def packages_of(report: Mapping[str, Any], extra: str, target: Target) -> list[Package]:
    """Read pip's report (pip.pypa.io/en/stable/reference/installation-report), the project itself left out.

    Raises InputError for an extra the project does not have, which pip only warns of, and EmoEdgeError for a report
    for another machine than the target.
    """
    environment, required = report["environment"], target.markers()
    wrong = [f"{key} {environment.get(key)}" for key, value in required.items() if environment.get(key) != value]
    if wrong:
        raise EmoEdgeError(f"pip resolved for another machine ({', '.join(wrong)}): try another release of pip")
    own = [item for item in report["install"] if "dir_info" in item["download_info"]]
    extras = [name for item in own for name in item["metadata"].get("provides_extra", ())]
    if extra not in extras:
        raise InputError(f"no extra {extra!r} in this project; there are: {', '.join(extras) or 'none'}")
    others = [_package(item) for item in report["install"] if item not in own]
    return sorted(others, key=lambda package: package.name)


def _package(item: Mapping[str, Any]) -> Package:
    name, url = normalized(item["metadata"]["name"]), item["download_info"]["url"]
    wants = (re.match(r"[\w.-]+", text) for text in item["metadata"].get("requires_dist", ()))
    names = tuple(normalized(match[0]) for match in wants if match)
    compiled = name in COMPILED and url.startswith("file:")
    return Package(name, item["metadata"]["version"], None if compiled else url.rpartition("/")[2], names)


def require_no_vendor(packages: Sequence[Package], target: Target) -> None:
    """Raise EmoEdgeError that names every vendor's package and the packages that require it."""
    lines = []
    for package in packages:
        if any(fnmatch(package.name, pattern) for pattern in VENDOR):
            asking = [other.name for other in packages if package.name in other.wants] or ["the extra itself"]
            lines.append(f"{package.name} {package.version}, asked for by {', '.join(asking)}")
    if lines:
        raise EmoEdgeError(f"on {target.title} pip would replace what the vendor brings: {'; '.join(lines)}")


def stand_in(sdist: Path, folder: Path) -> Path:
    """Write a wheel that holds a source distribution's metadata and nothing else; raise InputError without any."""
    with tarfile.open(sdist) as archive:
        names = [name for name in archive.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name)]
        file = archive.extractfile(names[0]) if names else None
        content = file.read() if file else b""
    facts = email.message_from_bytes(content)
    if not facts["Name"] or not facts["Version"]:
        raise InputError(f"{sdist.name}: no metadata in it; download it again")
    stem = f"{normalized(facts['Name']).replace('-', '_')}-{facts['Version']}"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", content)
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return wheel


def uv_names(uv: str, project: Path, extra: str, target: Target) -> set[str]:
    """Ask uv, which reads markers and source distributions for another machine by itself, for the names alone."""
    platform = ["--python-version", target.python, "--python-platform", f"aarch64-manylinux_2_{target.glibc}"]
    options = ["--quiet", "--no-header", "--no-annotate"]
    output = _run([uv, "pip", "compile", *platform, *options, "--extra", extra, str(project / "pyproject.toml")])
    return {normalized(line.partition("==")[0]) for line in output.splitlines() if "==" in line}


def normalized(name: str) -> str:
    """Return a distribution's name as PEP 503 compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def table(packages: Sequence[Package]) -> str:
    """Write one package a line, with the file it is installed from."""
    rows = [(item.name, item.version, item.file or "compiled on the device") for item in packages]
    return "\n".join(f"  {name:<23} {version:<11} {file}" for name, version, file in rows)


def _arguments(target: Target, folder: Path, report: Path) -> list[str]:
    platforms = [word for tag in target.platforms() for word in ("--platform", tag)]
    machine = ["--only-binary", ":all:", "--python-version", target.python, "--implementation", "cp", *platforms]
    places = ["--find-links", str(folder), "--target", str(folder / "target"), "--report", str(report)]
    return ["install", "--dry-run", "--ignore-installed", "--quiet", *machine, *places]


def _sdist_arguments(package: str, folder: Path) -> list[str]:
    return ["download", "--quiet", "--no-deps", "--no-binary", package, "--dest", str(folder), package]


def _run(command: Sequence[str]) -> str:
    """Run a resolver and return its output; raise EmoEdgeError with its last lines where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise EmoEdgeError(f"{command[0]}: cannot be started: {error}") from error
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")][-LINES_SHOWN:]
        raise EmoEdgeError("\n".join(["no answer; it needs a package index and pip 22.2 or newer:", *last]))
    return done.stdout


@click.command(cls=EdgeCommand)
@click.option("--extra", default="jetson", show_default=True, help="Extra that is resolved.")
@click.option("--target", "names", multiple=True, type=click.Choice(list(TARGETS)), help="All of them if left out.")
@click.option(
    "--project", type=click.Path(path_type=Path), default=Path(), show_default=True, help="Folder of a checkout."
)
@click.option("--uv", help="Command of uv, to ask a second resolver.")
def main(extra: str, names: tuple[str, ...], project: Path, uv: str | None) -> None:
    """Print what an extra installs on a Jetson; fail if that holds anything JetPack brings itself."""
    for target in (TARGETS[name] for name in names or TARGETS):
        click.echo(f"emo-edge[{extra}] on {target.title}: Python {target.python}, aarch64, glibc 2.{target.glibc}")
        packages = resolve(project, extra, target)
        click.echo(table(packages))
        require_no_vendor(packages, target)
        agreed = _agreed(packages, uv_names(uv, project, extra, target)) if uv else ""
        click.echo(f"  {len(packages)} packages, none of them a vendor's{agreed}\n")


def _agreed(packages: Sequence[Package], others: set[str]) -> str:
    different = {package.name for package in packages} ^ others
    if different:
        raise EmoEdgeError(f"pip and uv differ in {', '.join(sorted(different))}: trust neither before you know why")
    return "; uv names the same"


if __name__ == "__main__":
    main()
