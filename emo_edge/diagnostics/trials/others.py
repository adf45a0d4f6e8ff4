"""Trials of the tokenizers, OpenCV, PyAV, pillow-heif and PyTorch."""

from __future__ import annotations

import io
import re
from typing import Any, Literal

from emo_edge.diagnostics.trials.small_graph import SMALL_INPUT
from emo_edge.faces import haar
from emo_edge.utils import opencv


def try_tokenizers() -> dict[str, str]:
    """Encode one word."""
    import tokenizers

    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"fear": 0, "[UNK]": 1}, unk_token="[UNK]"))
    if words.encode("fear").ids != [0]:
        raise RuntimeError(f"reads 'fear' as {words.encode('fear').ids} instead of [0]")
    return {"version": str(tokenizers.__version__)}


def try_opencv() -> dict[str, str]:
    """Resize an image, load the face cascades, and read which video backends were built in."""
    import numpy as np

    cv2 = opencv.open_cv2()
    if cv2.resize(np.full((4, 4, 3), 7, np.uint8), (2, 2)).tolist() != [[[7, 7, 7]] * 2] * 2:
        raise RuntimeError("resizes a grey picture to another colour")
    built = cv2.getBuildInformation()
    facts = {"version": str(cv2.__version__)}
    for name in ("GStreamer", "FFMPEG"):
        match = re.search(rf"^\s*{name}:\s*(\w+)", built, re.MULTILINE)
        facts[name.lower()] = match[1].lower() if match else "unknown"
    facts["cascades"] = _cascades(cv2, np.zeros((64, 64, 3), np.uint8))
    return facts


def try_av() -> dict[str, str]:
    """Look up the decoder and the encoder of most videos."""
    import av

    facts = {"version": str(av.__version__)}
    uses: tuple[tuple[Literal["r", "w"], str], ...] = (("r", "decoder"), ("w", "encoder"))
    for mode, name in uses:
        try:
            av.codec.Codec("h264", mode)
        except av.codec.codec.UnknownCodecError:
            facts[f"H.264 {name}"] = "no"
        else:
            facts[f"H.264 {name}"] = "yes"
    return facts


def try_pillow_heif() -> dict[str, str]:
    """Read a picture that is written in memory, if the build writes any."""
    import numpy as np
    import pillow_heif

    facts = {"version": str(pillow_heif.__version__)}
    if not pillow_heif.libheif_info()["encoders"]:
        return facts
    picture = pillow_heif.from_bytes("RGB", (64, 64), bytes(np.full((64, 64, 3), 200, np.uint8)))
    stream = io.BytesIO()
    picture.save(stream, quality=90)
    values = np.asarray(pillow_heif.open_heif(stream.getvalue()).to_pillow())
    if abs(int(values.mean()) - 200) > 4:
        raise RuntimeError(f"reads a grey of 200 as {values.mean():.0f}")
    return facts


def try_torch() -> dict[str, str]:
    """Multiply two matrices on the CPU and, where there is one, on the first CUDA device."""
    import torch

    facts = {"version": str(torch.__version__), "cpu": _multiply(torch, "cpu")}
    if torch.version.cuda is None:
        facts["cuda"] = "not built in"
    else:
        facts["cuda"] = _multiply(torch, "cuda") if torch.cuda.is_available() else "built in, no device"
    if facts["cpu"] != "works":
        facts["problem"] = f"cpu {facts['cpu']}"
    return facts


def _cascades(cv2: Any, image: Any) -> str:
    if not hasattr(cv2, "CascadeClassifier"):
        return "no CascadeClassifier"
    try:
        haar.HaarDetector().detect(image)
    except Exception as error:
        return f"no files: {error}"
    return "work"


def _multiply(torch: Any, device: str) -> str:
    try:
        value = torch.tensor(SMALL_INPUT, device=device) @ torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    except RuntimeError as error:
        return f"fails: {' '.join(str(error).split())[:300]}"
    return "works" if value.tolist() == [[5.0, 8.0]] else f"computes {value.tolist()} instead of [[5.0, 8.0]]"
