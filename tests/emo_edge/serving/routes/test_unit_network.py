"""A server of a bundle of action units alone: what it says of itself, what it answers and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import emo_edge
from emo_edge.assets.packaged import packaged_samples
from emo_edge.export.bundles.face_network import bundle_from_face_network
from tests.export.bundles.test_au_network import au_checkpoint
from tests.served import ask

PNG = {"Content-Type": "image/png"}
SCHEMA = Path(emo_edge.__file__).parent / "schemas" / "result-2.json"


@pytest.fixture(scope="module")
def bundle(tracing_once: Callable[[], AbstractContextManager[None]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = au_checkpoint(tmp_path_factory.mktemp("au"))
    with tracing_once():
        target = tmp_path_factory.mktemp("bundle") / "new"
        return bundle_from_face_network(checkpoint, target, ("fp32",), packaged_samples(2)).directory


def test_it_answers_with_action_units_and_no_label(
    in_process: Callable[..., Any], bundle: Path, drawing: bytes
) -> None:
    with in_process(bundle=bundle) as server:
        info = ask(f"{server.url}/v1/info").json
        assert info["label_sets"] == {} and info["has_face_facts"] is False
        answer = ask(f"{server.url}/v1/readings", drawing, PNG)
        assert answer.status == 200, answer.body
        (result,) = answer.json["results"]
        jsonschema.validate(result, json.loads(SCHEMA.read_text(encoding="utf-8")))
        (reading,) = result["readings"]
        assert list(reading["action_units"]) == ["AU1", "AU4", "AU12"] and reading["label"] is None
        refused = ask(f"{server.url}/v1/readings?labels=joy,fear", drawing, PNG)
        assert refused.status == 400 and "a network of action units alone" in str(refused.body)
        assert ask(f"{server.url}/").status == 200
