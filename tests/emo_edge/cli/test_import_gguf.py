"""``emo-edge import gguf``: its options as a shell passes them."""

from __future__ import annotations

import pytest

from emo_edge.cli.import_gguf import main
from emo_edge.export.vlm.prompt import EXAMPLE


@pytest.mark.parametrize(
    ("typed", "template"),
    [
        (EXAMPLE.strip("'"), "USER: <image>\n{demographics}{question} ASSISTANT:"),
        ("USER: <image>\n{demographics}{question}", "USER: <image>\n{demographics}{question}"),
    ],
    ids=["as the errors write it", "with a real newline"],
)
def test_a_template_has_newlines(typed: str, template: str) -> None:
    arguments = ["--model", "m.gguf", "--mmproj", "p.gguf", "--out", "b", "--template", typed]
    assert main.make_context("gguf", arguments).params["template"] == template
