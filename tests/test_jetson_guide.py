"""Every ``emo-edge`` command that the Jetson guide, the Dockerfile and the service show is one the program takes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.studies.resolve_extras import main as resolve_extras
from tests.shown_commands import leaf_commands, options_of, parse, program_arguments, shell_lines

DOCS = Path(__file__).parent.parent / "docs"
GUIDE, DOCKERFILE, SERVICE = (
    (DOCS / name).read_text(encoding="utf-8")
    for name in ("get-started/jetson.md", "deploy/Dockerfile.jetson", "deploy/emo-edge.service")
)
AWAITED: tuple[str, ...] = ()
"""Commands the guide shows before they are in the table; a test fails for each that is there by now: take it out."""
IMAGE = "emo-edge:jetpack6"


def shown() -> list[tuple[str, ...]]:
    """Collect the arguments of every command that is shown."""
    inline = [text for text in re.findall(r"`([^`\n]+)`", GUIDE) if text.startswith("emo-edge ")]
    service = re.findall(r"^ExecStart=(.*)$", SERVICE, re.MULTILINE)
    lines = [*shell_lines(GUIDE), *inline, *service]
    found = [program_arguments(shlex.split(line, comments=True), IMAGE) for line in lines if "emo-edge" in line]
    found.append(json.loads(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[0]))
    return sorted({tuple(arguments) for arguments in found if arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(
            arguments, marks=[pytest.mark.xfail(strict=True, reason="awaited")] if arguments[0] in AWAITED else []
        )
        for arguments in shown()
    ],
    ids=" ".join,
)
def test_a_shown_command_is_understood(arguments: tuple[str, ...]) -> None:
    parse(arguments)


def test_the_commands_are_found_where_they_are_shown() -> None:
    found = {arguments[0] for arguments in shown()}
    assert found == {"doctor", "engines", "export", "infer", "live", "plan", "selftest", "verify"}
    service = "live /opt/emo-edge/bundle 0 --device tensorrt --jsonl --every 500ms"
    assert tuple(service.split()) in shown(), "of the service"
    assert ("infer", "/bundle", "0", "--device", "tensorrt", "--fps", "2", "--jsonl") in shown(), "of a container"
    assert ("engines", "build", "/opt/emo-edge/bundle") in shown(), "behind sudo"
    assert any(" ! " in word for arguments in shown() for word in arguments), "with a pipeline as its source"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("infer BUNDLE 0 --devise tensorrt", "No such option"),
        ("infer BUNDLE 0 --device jetson", "is not one of"),
        ("infer BUNDLE", "Missing"),
        ("infer BUNDLE 0 --fps quick", "not a valid float"),
        ("observe BUNDLE", "no such command"),
    ],
)
def test_a_wrong_command_would_not_pass(line: str, complaint: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        parse(tuple(line.split()))
    assert complaint in str(caught.value) or complaint in caught.value.format_message()


def test_options_named_in_the_text_exist() -> None:
    options = options_of(leaf_commands()["infer"])
    text = re.sub(r"^```.*?^```", "", GUIDE, flags=re.MULTILINE | re.DOTALL)
    for option in ("--no-demographics", "--profile", "--device"):
        assert option in options and f"`{option}" in text


def test_the_proof_that_the_page_names_can_be_started() -> None:
    assert "python -m emo_edge.benchmarks.studies.resolve_extras" in GUIDE
    usage = CliRunner().invoke(resolve_extras, ["--help"])
    assert usage.exit_code == 0 and "--uv" in usage.stdout


def test_the_image_is_made_from_the_folders_that_are_packaged() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert copied == {"emo_edge", "runtimes", "export", "calibration", "benchmarks"}
    assert re.search(r"^USER \d+$", DOCKERFILE, re.MULTILINE), "never as root"


def test_the_service_leaves_the_devices_open() -> None:
    settings = re.findall(r"^(\w+)=", SERVICE, re.MULTILINE)
    closing = {"PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock", "PrivateTmp", "MemoryDenyWriteExecute"}
    assert closing.isdisjoint(settings)
    assert {"User", "MemoryMax", "Restart", "NoNewPrivileges", "ProtectSystem"} <= set(settings)


def test_the_pages_say_what_was_not_run() -> None:
    for text in (GUIDE, DOCKERFILE, SERVICE):
        assert re.search(r"[Nn]ot yet run|nor run yet", text)
