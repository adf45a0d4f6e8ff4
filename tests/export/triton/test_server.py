"""A real server loads the Python model and gives the pipeline's numbers; ``EMO_EDGE_TRITON`` names one."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge import EmotionPipeline, read_image
from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.export.triton.repository import RepositorySettings, write_repository

HOME = os.environ.get("EMO_EDGE_TRITON", "")
READY = "Started GRPCInferenceService"
pytestmark = [
    pytest.mark.skipif(not HOME, reason="needs EMO_EDGE_TRITON, the folder with bin/tritonserver and backends"),
    # The server's own files and the client's channel are closed by neither at once.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def free_port() -> int:
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.fixture(scope="module")
def client(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import tritonclient.grpc

    repository = tmp_path_factory.mktemp("triton") / "models"
    write_repository(Bundle.open(tiny_bundle), repository, RepositorySettings(device="cpu"))
    port = free_port()
    options = {
        "model-repository": repository, "backend-directory": f"{HOME}/backends", "grpc-address": "127.0.0.1",
        "grpc-port": port, "model-control-mode": "explicit", "load-model": "emo_edge",
    }  # fmt: skip
    command = [f"{HOME}/bin/tritonserver", *(f"--{name}={value}" for name, value in options.items())]
    process = subprocess.Popen(
        [*command, "--allow-http=false", "--allow-metrics=false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if READY in line:
            break
    else:
        pytest.fail("".join(said))
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        with closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")) as opened:
            yield opened
    finally:
        process.terminate()
        process.wait(60)


def test_a_server_gives_the_pipeline_s_numbers_for_pixels_and_for_files(client: Any, tiny_bundle: Path) -> None:
    from tritonclient.grpc import InferInput

    with EmotionPipeline.open(tiny_bundle, device="cpu") as pipeline:
        for path in [sample.source for sample in packaged_samples(7) if isinstance(sample.source, Path)]:
            picture, faces = read_image(path), pipeline.read(path)
            expected = [list(face.probabilities.values()) for face in faces]
            pixels = InferInput("image", [1, *picture.shape], "UINT8")
            pixels.set_data_from_numpy(picture[None])
            coded = InferInput("encoded", [1, 1], "BYTES")
            coded.set_data_from_numpy(np.array([[path.read_bytes()]], np.object_))
            for given in (pixels, coded):
                answer = client.infer("emo_edge", [given])
                np.testing.assert_allclose(
                    answer.as_numpy("probabilities")[0], np.array(expected, np.float32).reshape(-1, 7), atol=1e-6
                )
                assert [label.decode() for label in answer.as_numpy("label")[0]] == [face.label for face in faces]


def test_a_server_returns_the_error_of_a_picture(client: Any) -> None:
    from tritonclient.grpc import InferInput
    from tritonclient.utils import InferenceServerException

    coded = InferInput("encoded", [1, 1], "BYTES")
    coded.set_data_from_numpy(np.array([[b"no picture"]], np.object_))
    with pytest.raises(InferenceServerException, match="not an image") as caught:
        client.infer("emo_edge", [coded])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
