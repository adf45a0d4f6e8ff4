"""Children import nothing from the folder where a command is started."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from emo_edge.console.children import SAFE_PATH, guarded_start, module_command, safe_path

ROOT = Path(__file__).parents[3]
FOLDERS = ("emo_edge", "runtimes", "export", "calibration", "benchmarks")


def test_a_module_of_the_current_folder_is_not_imported(tmp_path: Path) -> None:
    for name in ("json", "runpy", "llama_cpp", "emo_edge", "shown"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    inside = subprocess.run(
        module_command("json.tool", "--help"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert inside.returncode == 0 and "usage" in inside.stdout
    ours = module_command("emo_edge.diagnostics.trials.child", "cv2")
    ended = subprocess.run(ours, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    missing = subprocess.run(module_command("shown"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No module named shown" in missing.stderr


def test_arguments_and_the_main_name_are_as_with_python_m(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text("import sys; print(__name__, sys.argv[1:], sys.path)")
    command = module_command("shown", "--a", "b c")
    command[2] = command[2].replace("import sys;", f"import sys; sys.path.append({str(tmp_path)!r});")
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("__main__ ['--a', 'b c'] [") and "''" not in shown


@pytest.mark.parametrize("guard", [safe_path, guarded_start, nullcontext])
def test_workers_of_multiprocessing_import_nothing_from_the_current_folder(
    guard: type[AbstractContextManager[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource_tracker.ensure_running()  # the third case would have it die
    for name in ("random", "pickle", "struct", "multiprocessing", "emo_edge"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(SAFE_PATH, raising=False)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    with guard():
        process = multiprocessing.get_context("spawn").Process(target=print, args=("read",))
        process.start()
    process.join(60)
    assert process.exitcode == (7 if guard is nullcontext else 0)


@pytest.mark.parametrize(
    "path", [path for name in FOLDERS for path in (ROOT / name).rglob("*.py")], ids=lambda p: p.name
)
def test_no_child_is_started_another_way(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    allowed = path.name in ("children.py", "gguf_converters.py")
    assert allowed or "sys.executable" not in text, (
        "use `module_command` or `code_command` of emo_edge.console.children"
    )
