"""What pip says of an extra for a Jetson is read, distrusted where it speaks of another machine, and judged."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.studies import resolve_extras
from emo_edge.benchmarks.studies.resolve_extras import (
    TARGETS,
    Package,
    Target,
    main,
    packages_of,
    require_no_vendor,
    stand_in,
    table,
)
from emo_edge.errors import EmoEdgeError, InputError

JETPACK = TARGETS["jetpack-6"]
METADATA = "Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 0.3.36\nRequires-Dist: numpy>=1.20.0\n\nIts page.\n"


def item(name: str, version: str = "1.0", *wants: str, place: str = "https://index/") -> dict[str, Any]:
    """Build one entry of pip's report, as its reference describes them."""
    file = f"{name}-{version}-py3-none-any.whl"
    metadata = {"name": name, "version": version, "requires_dist": list(wants)}
    return {"download_info": {"url": place + file, "archive_info": {}}, "metadata": metadata}


def report(*items: dict[str, Any], target: Target = JETPACK, **markers: str) -> dict[str, Any]:
    metadata = {"name": "emo-edge", "version": "0.1.0", "provides_extra": ["cpu", "jetson"]}
    own = {"download_info": {"url": "file:///checkout", "dir_info": {}}, "metadata": metadata}
    return {"install": [own, *items], "environment": {**target.markers(), **markers}}


def sdist(folder: Path, metadata: str = METADATA, name: str = "llama_cpp_python-0.3.36") -> Path:
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, content in ((f"{name}/PKG-INFO", metadata), (f"{name}/vendor/PKG-INFO", "Name: another\n")):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return path


def test_a_report_is_read_and_the_project_itself_left_out() -> None:
    read = packages_of(
        report(
            item("tokenizers", "0.23.3", "huggingface_hub>=0.16", "torch; extra == 'all'"),
            item("llama_cpp_python", "0.3.36", "numpy>=1.20", place="file:///tmp/"),
        ),
        "jetson",
        JETPACK,
    )
    assert read == [
        Package("llama-cpp-python", "0.3.36", None, ("numpy",)),
        Package("tokenizers", "0.23.3", "tokenizers-0.23.3-py3-none-any.whl", ("huggingface-hub", "torch")),
    ]
    require_no_vendor(read, JETPACK)
    assert table(read).splitlines() == [
        "  llama-cpp-python        0.3.36      compiled on the device",
        "  tokenizers              0.23.3      tokenizers-0.23.3-py3-none-any.whl",
    ]


def test_a_wheel_that_the_index_has_is_not_called_compiled() -> None:
    (read,) = packages_of(report(item("llama-cpp-python")), "jetson", JETPACK)
    assert read.file == "llama-cpp-python-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    "marker", [{"platform_machine": "x86_64"}, {"python_version": "3.11"}, {"sys_platform": "darwin"}]
)
def test_a_report_of_another_machine_is_refused(marker: dict[str, str]) -> None:
    ((name, value),) = marker.items()
    with pytest.raises(EmoEdgeError, match=rf"for another machine \({name} {value}\)"):
        packages_of(report(item("tokenizers"), **marker), "jetson", JETPACK)


def test_an_extra_that_the_project_lacks_proves_nothing() -> None:
    with pytest.raises(InputError, match="no extra 'jetsen' in this project; there are: cpu, jetson"):
        packages_of(report(item("click")), "jetsen", JETPACK)


@pytest.mark.parametrize(
    "name",
    [
        "tensorrt",
        "tensorrt-cu12-libs",
        "tensorrt_rtx",
        "torch",
        "torchvision",
        "opencv-python-headless",
        "onnxruntime",
        "onnxruntime-gpu",
        "nvidia-cudnn-cu12",
        "nvidia_cuda_runtime",
        "cuda-toolkit",
    ],
)
def test_what_jetpack_brings_is_named_with_who_asks_for_it(name: str) -> None:
    packages = packages_of(report(item(name), item("asking", "2", f"{name}>=1")), "jetson", JETPACK)
    shown = name.replace("_", "-")
    with pytest.raises(EmoEdgeError, match=f"JetPack 6 pip would replace .*: {shown} 1.0, asked for by asking$"):
        require_no_vendor(packages, JETPACK)


@pytest.mark.parametrize("name", ["cuda-bindings", "cuda-pathfinder", "numpy", "tokenizers", "hf-xet"])
def test_what_the_device_needs_is_no_vendors(name: str) -> None:
    require_no_vendor([Package(name, "1.0", f"{name}.whl")], JETPACK)


def test_a_package_of_source_alone_is_stood_in_for_by_its_own_metadata(tmp_path: Path) -> None:
    wheel = stand_in(sdist(tmp_path), tmp_path)
    assert wheel.name == "llama_cpp_python-0.3.36-py3-none-any.whl"
    held = zipfile.ZipFile(wheel)
    assert held.read("llama_cpp_python-0.3.36.dist-info/METADATA").decode() == METADATA
    assert all(".dist-info/" in name for name in held.namelist()), "no code that could be taken for the real one"


def test_a_source_distribution_without_metadata_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"broken-1\.tar\.gz: no metadata in it"):
        stand_in(sdist(tmp_path, "", "broken-1"), tmp_path)


def test_the_targets_take_wheels_of_their_glibc_and_older() -> None:
    tags = TARGETS["jetpack-6"].platforms()
    assert tags[0] == "manylinux_2_35_aarch64" and "manylinux_2_17_aarch64" in tags
    assert "manylinux_2_36_aarch64" not in tags
    assert "manylinux_2_39_aarch64" in TARGETS["jetpack-7"].platforms()


class Resolvers:
    """Plays pip and uv: keeps the commands, answers with a report and with names."""

    def __init__(self, items: Sequence[dict[str, Any]], names: str = "") -> None:
        self.items, self.names = items, names
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str]) -> str:
        self.commands.append(command)
        if "download" in command:
            sdist(Path(command[command.index("--dest") + 1]))
        elif "--report" in command:
            target = next(
                one for one in TARGETS.values() if one.python == command[command.index("--python-version") + 1]
            )
            answer = report(*self.items, target=target)
            Path(command[command.index("--report") + 1]).write_text(json.dumps(answer), encoding="utf-8")
        return self.names


@pytest.fixture
def project(tmp_path: Path) -> str:
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    return str(tmp_path)


def test_the_command_prints_each_target_and_ends_well(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolvers = Resolvers([item("tokenizers", "0.23.3")], "tokenizers==0.23.2\n")
    monkeypatch.setattr(resolve_extras, "_run", resolvers)
    result = CliRunner().invoke(main, ["--project", project, "--uv", "uv"])
    assert result.exit_code == 0, result.output
    assert result.stdout == "".join(
        f"emo-edge[jetson] on JetPack {name}, aarch64, glibc 2.{glibc}\n"
        "  tokenizers              0.23.3      tokenizers-0.23.3-py3-none-any.whl\n"
        "  1 packages, none of them a vendor's; uv names the same\n\n"
        for name, glibc in (("6: Python 3.10", 35), ("7: Python 3.12", 39))
    )
    asked = next(command for command in resolvers.commands if "--report" in command)
    assert asked[-1] == f"{Path(project).resolve()}[jetson]"
    assert asked[asked.index("--only-binary") + 1] == ":all:"
    assert json.loads(asked[3]) == JETPACK.markers()


@pytest.mark.parametrize(
    ("items", "names", "complaint"),
    [
        ([item("torch")], "torch==1", "on JetPack 6 pip would replace what the vendor brings: torch 1.0"),
        ([item("tokenizers")], "tokenizers==1\ntorch==2", "pip and uv differ in torch"),
    ],
)
def test_the_command_fails_where_there_is_no_proof(
    project: str, monkeypatch: pytest.MonkeyPatch, items: list[dict[str, Any]], names: str, complaint: str
) -> None:
    monkeypatch.setattr(resolve_extras, "_run", Resolvers(items, names))
    result = CliRunner().invoke(main, ["--project", project, "--uv", "uv", "--target", "jetpack-6"])
    assert result.exit_code == 1
    assert complaint in result.stderr


def test_a_folder_without_a_project_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--project", str(tmp_path)])
    assert result.exit_code == 4
    assert "no pyproject.toml; name the folder of a checkout with --project" in result.stderr


def test_a_resolver_that_is_missing_or_fails_says_why(project: str) -> None:
    with pytest.raises(EmoEdgeError, match="no-uv: cannot be started"):
        resolve_extras.uv_names("no-uv", Path(project), "jetson", JETPACK)
    with pytest.raises(EmoEdgeError, match=r"no answer; it needs a package index .*\n"):
        resolve_extras._run(["sh", "-c", "echo WARNING: old >&2; echo no such package >&2; exit 1"])
