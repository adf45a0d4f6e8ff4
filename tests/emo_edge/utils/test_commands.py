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
from emo_edge.utils.commands import EdgeCommand, LazyCommand, LazyGroup, with_flags
from emo_edge.utils.extras import EXTRAS, missing_extra

HELP = """\
Usage: emo-edge [OPTIONS] COMMAND [ARGS]...

  Take a full-precision facial-emotion multimodal LLM to the edge.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  demo       Export emo-tiny, read the packaged drawings, print the cost of each
             profile.
  import     Turn an upstream model's pieces into one checkpoint.
  export     Turn CHECKPOINT into one verified bundle.
  calibrate  Quantize BUNDLE with statistics of its own prompts and frames,
             inside gates.
  infer      Read the faces in SOURCES with BUNDLE.
  inspect    Print the contents of BUNDLE and its measured accuracy.
  verify     Check every file of BUNDLE against its manifest.
  bench      Measure BUNDLE's profiles beside its full-precision checkpoint, on
             the same samples.
  plan       Say whether BUNDLE, or a model of known sizes, fits a device, and
             how long each stage takes there.
  engines    Build, list and clear the TensorRT engines of this machine.
  selftest   Build, compare and time BUNDLE on every device of this machine.
  doctor     Say what this machine is, which engines work here, and how to fix
             the rest.
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
    kinds_of_others.add(errors.PipelineStateError)
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
