"""The command line: whole output, exit codes, one message an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge import errors
from emo_edge.cli.app import main
from emo_edge.console.commands import EdgeCommand, LazyCommand, LazyGroup, with_flags
from emo_edge.console.signals import EndingSignal
from emo_edge.utils.extras import EXTRAS, missing_extra, unloadable

HELP = """\
Usage: emo-edge [OPTIONS] COMMAND [ARGS]...

  Take a full-precision facial-emotion multimodal LLM to the edge.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  demo           Export emo-tiny, read the packaged drawings, print the cost of
                 each profile.
  import         Turn an upstream model's pieces into one checkpoint, or a GGUF
                 and its mmproj into a bundle.
  export         Turn CHECKPOINT into one verified bundle.
  export-triton  Write BUNDLE as a model repository of NVIDIA's Triton server.
  calibrate      Quantize BUNDLE with statistics of its own prompts and frames,
                 inside gates.
  infer          Read the faces in SOURCES with BUNDLE.
  label          Write a row for every face in SOURCES to Parquet files, with
                 BUNDLE.
  track          Write a row for every face in every frame of VIDEOS, with the
                 face network of BUNDLE.
  pulse          Measure the pulse of the faces in SOURCES from the colour of
                 their skin. Not a medical device.
  live           Show the faces of SOURCE as they are now, with BUNDLE.
  serve          Serve BUNDLE: a web page, REST, OpenAI's chat API and a
                 WebSocket.
  inspect        Print the contents of BUNDLE and its measured accuracy.
  verify         Check every file of BUNDLE against its manifest.
  bench          Measure BUNDLE's profiles against its full-precision
                 checkpoint, on the same samples.
  plan           Estimate whether BUNDLE, or a model of known sizes, fits a
                 device, and how long each stage takes there.
  engines        Build, list and clear the TensorRT engines of this machine.
  selftest       Build, compare and time BUNDLE on every device of this machine.
  detector       Fetch the weights of a face detector, or measure detectors on
                 pictures with boxes.
  doctor         Examine this machine: its hardware, the engines that work here,
                 and how to fix the rest.
"""


def run(group: click.Command, *arguments: str) -> Any:
    return CliRunner().invoke(group, list(arguments), prog_name="emo-edge")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_whole(flag: str) -> None:
    result = run(main, flag)
    assert (result.exit_code, result.stdout, result.stderr) == (0, HELP, "")


def test_without_a_command_the_help_is_shown() -> None:
    result = run(main)
    assert HELP.strip() in result.output


def test_version() -> None:
    result = run(main, "--version")
    assert (result.exit_code, result.stdout) == (0, f"emo-edge, version {emo_edge.__version__}\n")


def test_an_unknown_command_is_a_usage_error() -> None:
    result = run(main, "fly")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: emo-edge [OPTIONS] COMMAND [ARGS]...\n")
    assert "No such command 'fly'." in result.stderr


def test_an_unknown_option_is_a_usage_error() -> None:
    result = run(main, "--fly")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_every_command_of_the_table_exists() -> None:
    context = click.Context(main)
    assert isinstance(main, LazyGroup)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        assert leaves and all(isinstance(leaf, EdgeCommand) for leaf in leaves), name
        assert command is not None
        assert (command.help or "").splitlines()[0] == main.lazy[name].help


def failing(error: BaseException) -> click.Command:
    @click.command(cls=EdgeCommand)
    def command() -> None:
        click.echo("working")
        raise error

    return command


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EmoEdgeError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_ends_with_its_own_code_and_one_message(kind: type[errors.EmoEdgeError]) -> None:
    result = run(failing(kind("the eyes are missing")))
    assert result.exit_code == kind.exit_code
    assert (result.stdout, result.stderr) == ("working\n", "Error: the eyes are missing\n")


def test_every_kind_of_error_has_its_own_code() -> None:
    kinds_of_others = {errors.BundleError, errors.DeviceMemoryError, errors.EngineError, errors.UnsupportedCardError}
    # A skipped entry is no failure: its code is that of success.
    kinds_of_others |= {errors.PipelineStateError, errors.SkippedError}
    # A task that cannot be asked so is wrong usage, and has the code of that.
    kinds_of_others |= {errors.TaskError}
    assert errors.TaskError.exit_code == click.UsageError.exit_code
    kinds_alone = set(KINDS) - kinds_of_others
    codes = [kind.exit_code for kind in kinds_alone]
    assert len(codes) == 6
    assert errors.BundleError.exit_code == errors.CheckpointError.exit_code, "one code for both, as the design says"
    assert len(set(codes)) == len(codes)
    assert not {0, 2} & set(codes), "0 is success, 2 is click's usage error"


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    result = run(failing(ZeroDivisionError("oops")))
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with a command that imports what its ``needs`` says, when it runs."""
    module = ModuleType("emo_edge_plugin")

    @click.command(cls=EdgeCommand)
    def see() -> None:
        __import__(module.__dict__["needs"])
        click.echo("seen")

    module.__dict__.update(see=see, needs="json")
    monkeypatch.setitem(sys.modules, "emo_edge_plugin", module)
    return module


def group(target: str = "emo_edge_plugin:see") -> LazyGroup:
    return LazyGroup("edge", lazy={"see": LazyCommand(target, "See a face."), "absent": LazyCommand("no.where:x", "?")})


def test_a_command_is_imported_when_it_runs(plugin: ModuleType) -> None:
    assert run(group(), "see").stdout == "seen\n"
    listed = run(group("this.would:fail"), "--help")
    assert listed.exit_code == 0
    assert "  see     See a face.\n" in listed.stdout


@pytest.mark.parametrize(("module", "extra"), sorted(EXTRAS.items()))
def test_a_missing_extra_is_its_install_command(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    plugin.__dict__["needs"] = module
    result = run(group(), "see")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr == f'Error: {module} is not installed. Run: pip install "emo-edge[{extra}]"\n'


def test_an_extra_missing_while_the_commands_module_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run(group("torch.commands:see"), "see")
    assert result.exit_code == 3
    assert result.stderr == 'Error: torch is not installed. Run: pip install "emo-edge[export]"\n'


def test_a_missing_module_of_no_extra_propagates(plugin: ModuleType) -> None:
    plugin.__dict__["needs"] = "emo_edge_no_such_module"
    result = run(group(), "see")
    assert isinstance(result.exception, ModuleNotFoundError)
    assert result.exception.name == "emo_edge_no_such_module"
    absent = run(group(), "absent")
    assert isinstance(absent.exception, ModuleNotFoundError)


def test_a_submodule_names_its_package() -> None:
    error = missing_extra(ModuleNotFoundError("no", name="torch.nn.attention"))
    assert str(error).startswith("torch is not installed")
    with pytest.raises(ModuleNotFoundError):
        missing_extra(ModuleNotFoundError("nameless"))


@pytest.mark.parametrize(
    ("message", "step"),
    [
        (
            "libGL.so.1: cannot open shared object file: No such file or directory",
            "libGL.so.1 is missing. Do: apt install",
        ),
        ("libgomp.so.1: cannot open shared object file: No such file or directory", "apt install libgomp1"),
        ("libcudart.so.12: cannot open shared object file: No such file", "emo-edge[cuda]"),
        ("libcuda.so.1: cannot open shared object file: No such file", "install NVIDIA's driver"),
        (
            "Failed to load shared library '/x/libllama.so': libfoo.so.3: cannot open shared object file: No",
            "libfoo.so.3",
        ),
        ("/lib/libc.so.6: version `GLIBC_2.38' not found", 'pip install --force-reinstall "emo-edge[cpu]"'),
    ],
)
@pytest.mark.parametrize("kind", [ImportError, OSError, RuntimeError])
def test_a_package_that_does_not_load_names_the_library_it_lacks(
    kind: type[Exception], message: str, step: str
) -> None:
    error = unloadable("cv2", kind(message))
    assert isinstance(error, errors.MissingExtraError)
    assert str(error).startswith("cv2 is installed and cannot be loaded") and step in str(error)


def test_a_package_that_memory_is_too_short_for_is_not_missing() -> None:
    error = unloadable("torch", ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert isinstance(error, errors.DeviceMemoryError)


def test_a_library_that_comes_too_late_is_no_lack_of_memory() -> None:
    text = "/usr/lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in static TLS block"
    error = unloadable("cv2", ImportError(text))
    assert isinstance(error, errors.MissingExtraError)
    assert str(error).endswith("Do: export LD_PRELOAD=/usr/lib/aarch64-linux-gnu/libgomp.so.1")


@pytest.mark.parametrize("kind", ["OSError", "RuntimeError", "ImportError"])
@pytest.mark.parametrize("at_import", [True, False])
def test_a_package_that_raises_the_loaders_words_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, at_import: bool
) -> None:
    package = tmp_path / "site-packages" / "torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise {kind}('libfoo.so.1: cannot open shared object file: No such file')")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    lazy = {"needy": LazyCommand("needy:main", "Needs torch.")}
    (tmp_path / "needy.py").write_text(
        "import click\nfrom emo_edge.console.commands import EdgeCommand\n"
        + ("import torch\n" if at_import else "")
        + "@click.command(cls=EdgeCommand)\ndef main():\n    import torch\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "needy", raising=False)
    result = run(LazyGroup("some", lazy=lazy), "needy")
    assert result.exit_code == 3, result.exception
    assert result.stderr.startswith("Error: torch is installed and cannot be loaded: the shared library libfoo.so.1 is")


def test_no_error_of_usage_repeats_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "rtsp://user:secret@host/x"
    monkeypatch.setattr("emo_edge.console.terminal._shown", {address: "rtsp://host/x"})
    for arguments in (
        ["infer", "b", "x.jpg", "--device", address],
        ["infer", "b", "x", "--frames", address],
        [address],
    ):
        result = run(main, *arguments)
        assert result.exit_code == 2 and "rtsp://host/x" in result.stderr and "secret" not in result.stderr


@pytest.mark.parametrize("error", [OSError("no reason"), RuntimeError("no reason")])
def test_other_errors_without_a_reason_propagate(error: Exception) -> None:
    assert run(failing(error)).exception is error


@pytest.mark.parametrize("folder", ["site-packages", "target"])
@pytest.mark.parametrize("module", ["cv2", "onnxruntime", "llama_cpp", "tokenizers", "openvino", "torch"])
def test_every_command_names_the_library_that_a_package_lacks(tmp_path: Path, module: str, folder: str) -> None:
    """Wherever the package is, as with ``pip install --target``."""
    package = tmp_path / folder / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise ImportError('libfoo.so.1: cannot open shared object file: No such file or directory')"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\nimport click\n"
        "from emo_edge.console.commands import EdgeCommand\n@click.command(cls=EdgeCommand)\ndef main():\n"
        f"    {OPENERS.get(module, f'import {module}')}\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.startswith(f"Error: {module} is installed and cannot be loaded: the shared library libfoo.so.1")
    assert len(ended.stderr.splitlines()) == 1


OPENERS = {
    "cv2": "from emo_edge.utils.opencv import open_cv2; open_cv2()",
    "llama_cpp": "from emo_edge.runtimes.llama_cpp.library import library; library()",
}
"""Functions of ours that import a package; the others are imported where they are needed."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 6, "emo-edge: not enough memory; close other programs"),
        (RuntimeError("std::bad_alloc"), 6, "emo-edge: not enough memory (std::bad_alloc)"),
        (PermissionError(13, "Permission denied", "/a/b"), 4, "/a/b: cannot be used (Permission denied)"),
        (OSError(28, "No space left on device", "/a/b"), 4, "/a/b: cannot be written (No space left on device)"),
        (OSError(9, "Bad file descriptor"), 4, "the output: cannot be written (Bad file descriptor)"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (KeyboardInterrupt(), 130, "interrupted"),
        (EndingSignal(15), 143, "interrupted"),
        (EndingSignal(1), 129, "interrupted"),
    ],
    ids=repr,
)
def test_an_error_of_the_system_is_one_message_and_its_exit_code(error: BaseException, code: int, message: str) -> None:
    result = run(failing(error))
    assert (result.exit_code, result.stdout) == (code, "working\n")
    assert result.stderr.removeprefix("Error: ").startswith(message)
    assert len(result.stderr.splitlines()) == (1 if message else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="waits for a system with /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["infer", "--help"], ["import", "gguf", "--help"]])
def test_a_help_that_cannot_be_written_is_one_error(words: list[str]) -> None:
    code = "from emo_edge.cli import main\nmain()"
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", code, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 4, ended.stderr
    assert ended.stderr.startswith("Error: the output: cannot be written (No space left on device)")
    assert len(ended.stderr.splitlines()) == 1


def test_a_damaged_file_is_not_blamed_for_a_failed_allocation() -> None:
    error = errors.CheckpointError("a.pt: truncated or corrupt")
    error.__cause__ = RuntimeError("unable to allocate 1 GiB")
    result = run(failing(error))
    assert (result.exit_code, "truncated" in result.stderr) == (6, False)


def test_a_current_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    code = "import os, shutil\nfrom emo_edge.cli.app import main\nshutil.rmtree(os.getcwd())\nmain()"
    for arguments in (["export", "emo-tiny", "--out", "new"], ["verify", "bundle"]):
        (tmp_path / "gone").mkdir()
        command = [sys.executable, "-c", code, *arguments]
        ended = subprocess.run(command, cwd=tmp_path / "gone", capture_output=True, text=True, check=False)
        assert ended.returncode == 4, ended.stderr
        assert ended.stderr == "Error: the current folder was removed; change to another one, and try again\n"


def test_every_extra_is_declared() -> None:
    import importlib.metadata

    declared = importlib.metadata.metadata("emo-edge").get_all("Provides-Extra") or []
    assert set(EXTRAS.values()) <= set(declared)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="waits for a system with /dev/full")
@pytest.mark.parametrize("arguments", [["inspect"], ["verify"]])
def test_a_full_output_is_one_error_with_its_exit_code(tiny_bundle: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        code = "from emo_edge.cli.app import main; main()"
        command = [sys.executable, "-c", code, *arguments, str(tiny_bundle)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith("Error: the output: cannot be written (No space left on device)")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "told"), [("onnxruntime", "pip install onnxruntime"), ("cv2", "JetPack has OpenCV")]
)
def test_on_a_jetson_no_extra_is_named_that_would_hide_jetpacks_own(
    module: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emo_edge.utils.extras.TEGRA_RELEASE", tmp_path)
    text = str(missing_extra(ModuleNotFoundError("no", name=module)))
    assert told in text
    assert "emo-edge[" not in text


def test_a_field_of_a_librarys_error_is_the_commands_flag() -> None:
    command = click.Command("search", params=[click.Option(["-t", "--target-size", "target_size"])])
    assert (
        with_flags("`target_size` 3: too small; `profile` too", command) == "--target-size 3: too small; `profile` too"
    )


def test_a_flag_that_only_other_commands_have_is_shown_as_a_flag() -> None:
    assert with_flags("use `device` cpu", click.Command("engines")) == "use --device cpu"
