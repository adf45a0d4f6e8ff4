"""The public API: its names are frozen, each resolves, and no other name does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import emo_edge

PUBLIC = [
    "AccuracyGateError",
    "Bundle",
    "BundleError",
    "CaptureSettings",
    "CheckpointError",
    "ClipSampling",
    "DetectedFace",
    "DeviceError",
    "DeviceMemoryError",
    "EmoEdgeError",
    "EmotionPipeline",
    "EmotionResult",
    "EngineError",
    "ExpressionEvent",
    "FaceAttributes",
    "FaceDetector",
    "FrameEvent",
    "HeartRate",
    "InputError",
    "LiveEvent",
    "LiveFace",
    "LiveSettings",
    "Manifest",
    "MicroExpressionEvent",
    "MissingExtraError",
    "Moments",
    "Movement",
    "PipelineStateError",
    "PulseEvent",
    "PulseWindow",
    "Request",
    "Sampling",
    "Settings",
    "SkippedError",
    "SourceEvent",
    "SourceResult",
    "TaskAnswer",
    "TaskError",
    "ToolCall",
    "TrackEvent",
    "UnsupportedCardError",
    "__version__",
    "heart_rate",
    "live",
    "live_async",
    "open_detector",
    "pulse",
    "read_image",
    "rows",
    "skin_trace",
    "spot_movements",
    "stream",
]


def test_the_public_names_are_frozen() -> None:
    assert emo_edge.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(emo_edge, name)
    assert getattr(emo_edge, name) is value
    assert name == "__version__" or value.__doc__
    assert name in dir(emo_edge)


def test_every_error_is_public() -> None:
    from emo_edge import errors

    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined <= set(PUBLIC)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'emo_edge' has no attribute 'Pipeline'"):
        _ = emo_edge.Pipeline
    with pytest.raises(ImportError):
        from emo_edge import Pipeline  # noqa: F401


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(emo_edge.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == {name: f"emo_edge{module}" for name, module in emo_edge._MODULE_OF.items()}
