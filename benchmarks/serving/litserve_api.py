"""LitServe around the same pipeline, to set beside ``emo-edge serve``. Needs litserve, which no extra brings."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from typing import Any

import litserve

from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult, SourceResult
from emo_edge.media.crops import Image
from emo_edge.media.images import image_from_bytes

BATCH = 16
"""As many pictures as a batch of ``emo-edge serve`` holds."""
WINDOW_S = 0.005
Read = tuple[Image, list[EmotionResult]]


class PipelineApi(litserve.LitAPI):  # type: ignore[misc]
    """Takes a picture as base64 in JSON, as LitServe's examples do, and answers as ``/v1/readings``."""

    def __init__(self, bundle: str, profile: str | None) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WINDOW_S)
        self.bundle, self.profile = bundle, profile

    def setup(self, device: str) -> None:
        """Open the pipeline, in the worker's process."""
        self.pipeline = EmotionPipeline.open(self.bundle, device="cpu", profile=self.profile)

    def decode_request(self, request: dict[str, str]) -> Image:
        """Decode a picture."""
        return image_from_bytes(base64.b64decode(request["image"]), "picture")

    def predict(self, images: Sequence[Image]) -> list[Read]:
        """Read a batch."""
        return list(zip(images, self.pipeline.read_many(images), strict=True))

    def encode_response(self, read: Read) -> dict[str, Any]:
        """Return the results of one picture."""
        image, faces = read
        return {"results": [SourceResult("image", "image", faces, image).to_dict()]}


def main() -> None:
    """Serve ``BUNDLE PORT [PROFILE]``, with one worker on the CPU."""
    bundle, port, *profile = sys.argv[1:]
    api = PipelineApi(bundle, profile[0] if profile else None)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=120)
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, log_level="error", generate_client_file=False)
