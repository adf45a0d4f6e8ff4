"""LitServe beside the server: the part that LitServe calls gives the pipeline's results; both sides are measured.

LitServe itself is not installed for tests: a stand-in has its two classes, and a small server its way of answering.
"""

from __future__ import annotations

import base64
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge import EmotionPipeline
from emo_edge.benchmarks.serving import beside
from emo_edge.benchmarks.serving.__main__ import pictures, table
from emo_edge.benchmarks.serving.clients import LITSERVE, OURS, Served, server
from emo_edge.errors import EmoEdgeError

HEALTHY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


@pytest.fixture
def litserve(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in: keeps what it is given."""
    module = ModuleType("litserve")
    module.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec("litserve", None)

    class LitAPI:
        def __init__(self, **options: Any) -> None:
            self.options = options

    class LitServer:
        last: Any = None

        def __init__(self, api: Any, **options: Any) -> None:
            LitServer.last, self.api, self.options = self, api, options

        def run(self, **options: Any) -> None:
            self.ran = options

    module.LitAPI, module.LitServer = LitAPI, LitServer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litserve", module)
    monkeypatch.delitem(sys.modules, "emo_edge.benchmarks.serving.litserve_api", raising=False)
    return module


def test_what_litserve_calls_gives_the_pipelines_results(
    litserve: Any, label_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_edge.benchmarks.serving import litserve_api

    monkeypatch.setattr(sys, "argv", ["api", str(label_bundle), "1234"])
    litserve_api.main()
    assert litserve.LitServer.last.ran["host"] == "127.0.0.1"
    api = litserve.LitServer.last.api
    assert api.options == {"max_batch_size": 16, "batch_timeout": 0.005}
    api.setup("cpu")
    files = pictures()[:2]
    images = [api.decode_request({"image": base64.b64encode(file).decode()}) for file in files]
    answers = [api.encode_response(read) for read in api.predict(images)]
    api.pipeline.close()
    with EmotionPipeline.open(label_bundle, device="cpu") as pipeline:
        expected = [[face.label for face in pipeline.read(image)] for image in images]
    given = [[face["label"] for face in answer["results"][0]["readings"]] for answer in answers]
    assert given == expected
    assert b'{"image": "' in LITSERVE.encode(files[0]) and OURS.encode(files[0]) == files[0]


def test_both_sides_are_measured(
    litserve: Any, label_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "version", lambda name: "0")
    monkeypatch.setattr(beside, "LITSERVE", OURS)
    with server(label_bundle, ["--device", "cpu"]) as other:
        monkeypatch.setattr(beside, "litserve_server", lambda *_: nullcontext(other))
        options = ["--readings", "4", "--rounds", "1", "--clients", "2", "--json", str(tmp_path / "beside.json")]
        done = CliRunner().invoke(beside.main, [str(label_bundle), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "| LitServe: readings a second, 2 clients |" in done.output
    assert (tmp_path / "beside.json").stat().st_size > 100


def test_a_server_is_waited_for_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "RUN", HEALTHY)
    with beside.litserve_server(Path("bundle"), None) as served:
        assert isinstance(served, Served)
        assert served.resident_bytes() > 0
    assert not Path(f"/proc/{served.pid}").exists()
    monkeypatch.setattr(beside, "RUN", "raise SystemExit(1)")
    with pytest.raises(EmoEdgeError, match="did not start"), beside.litserve_server(Path("bundle"), "exact"):
        pass


def test_without_litserve_the_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside.importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(beside.main, [str(tmp_path)])
    assert done.exit_code == 3
    assert "pip install litserve" in done.output


@pytest.mark.parametrize("name", ["serving", "litserve"])
def test_the_page_shows_what_was_measured(name: str) -> None:
    results = Path(__file__).parents[3] / "docs" / "results"
    page = (results / "serving.md").read_text(encoding="utf-8")
    shown = page.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- /{name} -->")[0]
    kept = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    assert shown == table(list(kept["figures"].items()))
