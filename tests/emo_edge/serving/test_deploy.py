"""The command of the container image is one that the program takes, and its user, port and check are the server's."""

from __future__ import annotations

import json
import re
from pathlib import Path

from emo_edge.serving.access.gate import OPEN_PATHS
from tests.shown_commands import parse

FILE = (Path(__file__).parents[3] / "docs" / "deploy" / "Containerfile.serve").read_text(encoding="utf-8")


def test_the_image_starts_a_server_as_an_ordinary_user() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", FILE, re.MULTILINE)
    program, *arguments = json.loads(entry)
    assert program == "emo-edge"
    parse(tuple(arguments))
    assert "--token-file" in arguments, "it listens beyond its own machine"
    assert re.search(r"^USER 10001$", FILE, re.MULTILINE)
    (path,) = re.findall(r"http://127\.0\.0\.1:8080(/\w+)", FILE)
    assert path in OPEN_PATHS, "asked without a token"
    assert "EXPOSE 8080" in FILE
