"""``POST /v1/pulse``: the rate of a trace with a pulse, the reason of one without, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest

from tests.served import ask

BPM, FPS, SECONDS = 72.0, 30.0, 12.0


def trace(amplitude: float = 1.0) -> dict[str, Any]:
    times = np.arange(int(FPS * SECONDS)) / FPS
    beat = np.sin(2 * np.pi * BPM / 60 * times) * amplitude
    noise = np.random.default_rng(1).normal(0, 0.05, (len(times), 3))
    colours = np.array([150.0, 110.0, 90.0]) + beat[:, None] * np.array([0.3, 1.0, 0.5]) + noise
    return {"times": times.tolist(), "colours": colours.tolist()}


def posted(url: str, content: Any) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(f"{url}/v1/pulse", body, {"Content-Type": "application/json"})


def test_the_rate_of_a_pulse(server_url: str) -> None:
    answer = posted(server_url, trace())
    assert answer.status == 200, answer.body
    assert answer.json["reliable"]
    assert answer.json["bpm"] == pytest.approx(BPM, abs=1.0)
    assert answer.json["notice"] == "Not a medical device."
    document = ask(f"{server_url}/openapi.json").json
    jsonschema.validate(answer.json, {**document["components"]["schemas"]["HeartRate"], **document})


def test_without_a_pulse_there_is_a_reason_and_no_number(server_url: str) -> None:
    still, short, lost = trace(0.0), trace(), trace()
    short = {name: values[:60] for name, values in short.items()}
    lost["colours"][::3] = [None] * len(lost["colours"][::3])
    for content, reason in ((still, "no clear peak"), (short, "too short"), (lost, "the face is lost")):
        answer = posted(server_url, content).json
        assert not answer["reliable"]
        assert answer["bpm"] is None
        assert reason in answer["reason"]


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"no JSON", None),
        ([], None),
        ({}, "times"),
        ({**trace(), "fps": 30}, "fps"),
        ({"times": ["0"], "colours": [[1, 2, 3]]}, "times"),
        ({"times": [True], "colours": [[1, 2, 3]]}, "times"),
        ({"times": [10**400], "colours": [[1, 2, 3]]}, "times"),
        (b'{"times": [NaN], "colours": [[1, 2, 3]]}', "times"),
        ({"times": [0] * 3601, "colours": [None] * 3601}, "times"),
        ({"times": [0, 1], "colours": [[1, 2, 3]]}, "colours"),
        ({"times": [0], "colours": [[1, 2]]}, "colours"),
        ({"times": [0], "colours": [[1, 2, 256]]}, "colours"),
        ({"times": [0]}, "colours"),
    ],
)
def test_what_is_refused(server_url: str, content: Any, param: str | None) -> None:
    answer = posted(server_url, content)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["param"] == param
