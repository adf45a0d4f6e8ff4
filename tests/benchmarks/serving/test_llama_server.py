"""llama-server beside the server: what it is asked, and the table; a small program answers in its place.

llama.cpp's own program is not built for tests.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.serving.llama_server import completion, main
from emo_edge.bundle.reader import read_manifest

PROGRAM = """#!{python}
import http.server, json, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
open(options["-m"], "rb").read(4) == b"GGUF" or sys.exit(1)
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())
    def do_GET(self):
        self.answer({{"status": "ok"}})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/completion" and asked["n_predict"] == 1
        self.answer({{"timings": {{"prompt_ms": 3.0, "predicted_ms": 1.0, "prompt_n": len(asked["prompt"])}}}})
    def log_message(self, *_): pass
http.server.HTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program that stands for llama-server."""
    path = tmp_path / "llama-server"
    path.write_text(PROGRAM.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return path


def test_both_sides_are_measured(tiny_bundle: Path, program: Path, tmp_path: Path) -> None:
    target = tmp_path / "times.json"
    options = ["--llama-server", str(program), "--readings", "3", "--json", str(target)]
    done = CliRunner().invoke(main, [str(tiny_bundle), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "| llama-server: prompt and one token, by its own clock, p50 and p90 | 4.0 and 4.0 ms |" in done.output
    kept = json.loads(target.read_text(encoding="utf-8"))
    assert len(kept["ours_text"]) == len(kept["theirs_trip"]) > 0
    assert min(kept["ours_text"]) > 0


def test_a_request_has_a_token_for_each_position_and_the_question(tiny_bundle: Path) -> None:
    manifest, draw = read_manifest(tiny_bundle), random.Random(1)
    labels = manifest.label_sets["rafdb7"]
    first, second = (json.loads(completion(manifest, draw, labels)) for _ in range(2))
    *tokens, question = first["prompt"]
    assert len(tokens) == manifest.frames_segment.tokens_per_frame
    assert "happiness" in question
    assert tokens != second["prompt"][:-1], "a prompt that is known costs nothing"
    assert first["n_probs"] == len(labels)


def test_without_the_program_the_step_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path), "--llama-server", str(tmp_path / "none")])
    assert done.exit_code == 4
    assert "build llama-server" in done.output


def test_a_program_that_ends_is_an_error(tiny_bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    done = CliRunner().invoke(main, [str(tiny_bundle), "--llama-server", str(broken)])
    assert done.exit_code == 1
    assert "did not start" in done.output
