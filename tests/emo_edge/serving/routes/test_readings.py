"""``POST /v1/readings``: the numbers of the pipeline, of one picture, of several, of a clip; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import emo_edge
from emo_edge import EmotionPipeline, Request
from emo_edge.assets.packaged import packaged_samples
from tests.served import ask, form

SCHEMAS = {
    version: json.loads(
        (Path(emo_edge.__file__).parent / "schemas" / f"result-{version}.json").read_text(encoding="utf-8")
    )
    for version in (1, 2)
}
"""By the version of a result: 2 where a face has action units."""
PNG = {"Content-Type": "image/png"}
CLOSE = 1e-4
"""Of probabilities that were rounded to five digits, and read alone or with others."""


@pytest.fixture(scope="module")
def files() -> list[tuple[str, bytes]]:
    paths = [sample.source for sample in packaged_samples(4)]
    return [(path.name, path.read_bytes()) for path in paths if isinstance(path, Path)]


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> Any:
    with EmotionPipeline.open(tiny_bundle, device="cpu") as opened:
        yield opened


def results_of(answer: Any) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    results: list[dict[str, Any]] = answer.json["results"]
    for result in results:
        jsonschema.validate(result, SCHEMAS[result["result_version"]])
    return results


def assert_read_alike(result: dict[str, Any], faces: list[Any]) -> None:
    assert len(result["readings"]) == len(faces) > 0
    for reading, face in zip(result["readings"], faces, strict=True):
        expected = face.to_dict()
        assert reading["box"] == expected["box"]
        assert reading["label"] == expected["label"]
        assert reading["probabilities"] == pytest.approx(expected["probabilities"], abs=CLOSE)


def test_a_picture_is_read_as_the_pipeline_reads_it(server_url: str, drawing: bytes, pipeline: EmotionPipeline) -> None:
    (result,) = results_of(ask(f"{server_url}/v1/readings", drawing, PNG))
    assert result["source"] == "image"
    source = packaged_samples(1)[0].source
    assert_read_alike(result, pipeline.read(source))  # type: ignore[arg-type]


def test_labels_and_face_facts_of_the_query(server_url: str, drawing: bytes, pipeline: EmotionPipeline) -> None:
    (result,) = results_of(ask(f"{server_url}/v1/readings?labels=joy,fear&face_facts=true", drawing, PNG))
    reading = result["readings"][0]
    assert list(reading["probabilities"]) == ["joy", "fear"]
    assert reading["face"]["attributes"]
    assert not reading["face"]["demographics"], "shown only when asked for"
    source = packaged_samples(1)[0].source
    assert_read_alike(result, pipeline.read(source, Request(labels=("joy", "fear"), face_facts=True)))  # type: ignore[arg-type]


def test_several_pictures_in_a_form(server_url: str, files: list[tuple[str, bytes]], pipeline: EmotionPipeline) -> None:
    broken = ("broken.png", files[0][1][:200])
    body, headers = form({"faces": "largest"}, [*files, broken])
    results = results_of(ask(f"{server_url}/v1/readings", body, headers))
    assert [result["source"] for result in results] == [name for name, _ in [*files, broken]]
    for sample, result in zip(packaged_samples(4), results, strict=False):
        assert_read_alike(result, pipeline.read(sample.source, faces="largest"))  # type: ignore[arg-type]
    assert "broken.png" in results[-1]["error"]
    assert results[-1]["readings"] == []


def test_frames_of_a_clip(server_url: str, files: list[tuple[str, bytes]], pipeline: EmotionPipeline) -> None:
    body, headers = form({"clip": "true"}, files[:1] * 3)
    (result,) = results_of(ask(f"{server_url}/v1/readings", body, headers))
    assert result["kind"] == "clip"
    assert result["readings"][0]["frames"] == 3
    expected = pipeline.read_clip([packaged_samples(1)[0].image] * 3)
    assert expected is not None
    assert_read_alike(result, [expected])
    assert result["readings"][0]["frame"] == expected.frame == 1


@pytest.mark.parametrize(
    ("query", "body", "headers", "status", "said"),
    [
        ("", b"", PNG, 422, "0 bytes"),
        ("", b"no picture", PNG, 422, "not an image"),
        ("", b"{}", {"Content-Type": "application/json"}, 415, "Content-Type: image/jpeg"),
        ("?colour=red", b"x", PNG, 400, "no option 'colour'"),
        ("?labels=joy", b"x", PNG, 400, "joy"),
        ("?faces=some", b"x", PNG, 400, "all or largest"),
        ("?face_facts=maybe", b"x", PNG, 400, "true or false"),
        (f"?labels={'a,' * 2000}", b"x", PNG, 400, "at most 2000 characters"),
        ("", b"--x\r\n", {"Content-Type": "multipart/form-data"}, 400, "cannot be read"),
        ("", b"--x\r\nnonsense", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "no picture"),
        ("", form({"labels": "rafdb7"}, [])[0], form({}, [])[1], 400, "no picture"),
        ("", form({}, [("a.png", b"x")] * 17)[0], form({}, [])[1], 400, "cannot be read"),
    ],
)
def test_what_is_refused(
    server_url: str, query: str, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = ask(f"{server_url}/v1/readings{query}", body, headers)
    assert answer.status == status, answer.body
    assert said in answer.json["error"]["message"]
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}


def test_a_task_answers_as_the_pipeline_does(server_url: str, drawing: bytes, pipeline: EmotionPipeline) -> None:
    query = "task=expression&answer=judgement&label=happiness"
    (result,) = results_of(ask(f"{server_url}/v1/readings?{query}", drawing, PNG))
    request = Request(task="expression", answer="judgement", label="happiness")
    (face,) = pipeline.read(packaged_samples(1)[0].source, request)  # type: ignore[arg-type]
    expected = face.to_dict()["task"]
    assert result["readings"][0]["task"] == {
        **expected,
        "probability": pytest.approx(expected["probability"], abs=CLOSE),
    }


@pytest.mark.parametrize(
    ("query", "param", "said"),
    [
        ("task=mood", "task", "no task 'mood'"),
        ("task=deception", "task", "refused"),
        ("task=compound", "task", "untrained"),
        ("task=heart-rate", "task", "reads a clip"),
        ("task=expression&answer=poem", "answer", "has the answers"),
        ("task=expression&answer=judgement&label=hunger", "label", "no label 'hunger'"),
        ("task=expression&label=joy", "label", "goes with"),
        ("answer=open", "answer", "go with a `task`"),
        (f"task={'x' * 2001}", "task", "at most 2000 characters"),
        ("task=expression&labels=joy,fear", "task", "leave `labels`"),
    ],
)
def test_a_task_that_cannot_be_asked_names_the_field(
    server_url: str, drawing: bytes, query: str, param: str, said: str
) -> None:
    answer = ask(f"{server_url}/v1/readings?{query}", drawing, PNG)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["param"] == param
    assert said in answer.json["error"]["message"]


def test_a_heart_rate_is_measured_elsewhere(server_url: str, files: list[tuple[str, bytes]]) -> None:
    body, headers = form({"clip": "true", "task": "heart-rate"}, files[:1] * 2)
    answer = ask(f"{server_url}/v1/readings", body, headers)
    assert answer.status == 400
    assert answer.json["error"]["param"] == "task"
    assert "emo-edge infer measure" in answer.json["error"]["message"]


def test_a_network_of_labels_and_values(
    in_process: Callable[..., Any], label_graph_bundle: Path, drawing: bytes
) -> None:
    with in_process(bundle=label_graph_bundle) as server:
        info = ask(f"{server.url}/v1/info").json
        (result,) = results_of(ask(f"{server.url}/v1/readings", drawing, PNG))
        assert [model["id"] for model in ask(f"{server.url}/v1/models").json["data"]] == [info["name"]]
        facts = ask(f"{server.url}/v1/readings?face_facts=true", drawing, PNG)
    assert info["values"]
    assert not info["has_answers"]
    assert not info["has_face_facts"]
    assert facts.status == 400
    assert facts.json["error"]["param"] == "face_facts"
    assert "has no network of face facts: leave `face_facts`" in facts.json["error"]["message"]
    assert list(result["readings"][0]["values"]) == info["values"]
    assert list(result["readings"][0]["probabilities"]) == info["labels"]


def test_a_clip_with_a_broken_frame_is_refused(server_url: str, files: list[tuple[str, bytes]]) -> None:
    body, headers = form({"clip": "true"}, [files[0], ("cut.png", files[1][1][:100])])
    answer = ask(f"{server_url}/v1/readings", body, headers)
    assert answer.status == 422
    assert "cut.png" in answer.json["error"]["message"]


def test_a_clip_of_more_frames_than_the_context_holds_is_refused(
    server_url: str, files: list[tuple[str, bytes]]
) -> None:
    body, headers = form(
        {"clip": "true", "labels": ",".join(f"label {number}" for number in range(200))}, files[:1] * 16
    )
    answer = ask(f"{server_url}/v1/readings", body, headers)
    assert answer.status == 422, answer.body
    assert "positions" in answer.json["error"]["message"]
