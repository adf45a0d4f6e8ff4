"""The Python model gives the pipeline's numbers. A stand-in is the server's own module; `test_server` has a server."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge import EmotionPipeline, read_image
from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.export.triton import server_model
from emo_edge.export.triton.repository import RepositorySettings, write_repository

DRAWINGS = [sample.source for sample in packaged_samples(4) if isinstance(sample.source, Path)]


def module_from(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def utils() -> Iterator[Any]:
    name = "triton_python_backend_utils"
    yield module_from(Path(__file__).with_name(f"{name}.py"), name)
    del sys.modules[name]


@pytest.fixture(scope="module")
def opened(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.fixture(scope="module")
def model(opened: Bundle, utils: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    repository = tmp_path_factory.mktemp("triton") / "models"
    write_repository(opened, repository, RepositorySettings(device="cpu"))
    made = module_from(repository / "emo_edge" / "1" / "model.py", "triton_model").TritonPythonModel()
    made.initialize(start_arguments(repository))
    yield made
    made.finalize()


def start_arguments(repository: Path) -> dict[str, str]:
    """Return what a server hands to a model: its config as JSON, among others."""
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2

    text = (repository / "emo_edge" / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    return {
        "model_config": json_format.MessageToJson(config, preserving_proto_field_name=True),
        "model_repository": str(repository / "emo_edge"),
        "model_version": "1",
        "model_name": "emo_edge",
    }


def outputs(response: Any) -> dict[str, np.ndarray]:
    assert response.error is None
    return {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors}


def test_its_numbers_are_those_of_the_pipeline(model: Any, utils: Any, opened: Bundle) -> None:
    pixels = [[utils.Tensor("image", read_image(path)[None])] for path in DRAWINGS]
    coded = [[utils.Tensor("encoded", np.array([[path.read_bytes()]], np.object_))] for path in DRAWINGS]
    blank = [utils.Tensor("image", np.zeros((1, 64, 64, 3), np.uint8))]
    alone = [outputs(model.execute([request])[0]) for request in pixels]
    together = [outputs(response) for response in model.execute([*coded, blank])]
    with EmotionPipeline.open(opened, device="cpu") as pipeline:
        expected = [pipeline.read(path) for path in DRAWINGS]
    assert sum(map(len, expected)) >= 3
    for given, batched, faces in zip(alone, together, expected, strict=False):
        probabilities = np.array([list(face.probabilities.values()) for face in faces], np.float32).reshape(1, -1, 7)
        np.testing.assert_array_equal(given["probabilities"], probabilities)
        np.testing.assert_allclose(batched["probabilities"], probabilities, atol=1e-5)
        assert given["label"].tolist() == [[str(face.label).encode() for face in faces]]
        np.testing.assert_array_equal(
            given["boxes"][0], np.array([face.box for face in faces], np.float32).reshape(-1, 4)
        )
        (text,) = given["json"][0]
        assert [one["label"] for one in json.loads(text)["readings"]] == [face.label for face in faces]
    assert {name: value.shape for name, value in together[-1].items()} == {
        "probabilities": (1, 0, 7), "label": (1, 0), "boxes": (1, 0, 4), "json": (1, 1)
    }  # fmt: skip


def test_an_unforeseen_failure_is_of_its_own_request_alone(
    model: Any, utils: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = server_model.rgb_frame

    def failing(values: np.ndarray) -> np.ndarray:
        if values.shape[0] == 8:
            raise MemoryError("no memory")
        return real(values)

    monkeypatch.setattr(server_model, "rgb_frame", failing)
    good = [utils.Tensor("image", read_image(DRAWINGS[0])[None])]
    responses = model.execute([good, [utils.Tensor("image", np.zeros((1, 8, 8, 3), np.uint8))]])
    assert responses[0].error is None
    assert responses[1].error.code == "INTERNAL" and "MemoryError: no memory" in responses[1].error.text


def test_an_error_is_of_its_own_request_alone(model: Any, utils: Any) -> None:
    good = [utils.Tensor("image", read_image(DRAWINGS[0])[None])]
    requests = [
        good,
        [utils.Tensor("encoded", np.array([[b"no picture"]], np.object_))],
        [],
        [utils.Tensor("image", np.zeros((2, 64, 64, 3), np.uint8))],
        good,
    ]
    responses = model.execute(requests)
    assert [response.error is None for response in responses] == [True, False, False, False, True]
    assert [response.error.code for response in responses[1:4]] == ["INVALID_ARG"] * 3
    assert "not an image" in responses[1].error.text
    assert "give image or encoded, one of them" in responses[2].error.text
    assert "2 pictures in a request" in responses[3].error.text
    assert outputs(responses[0])["label"].tolist() == outputs(responses[4])["label"].tolist()
