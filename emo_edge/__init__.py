"""Take a full-precision facial-emotion multimodal LLM to the edge, with proof of what it cost.

The names in `__all__` are the public API. Every other module and name of the package is private and may change.
Importing loads the standard library, numpy and click alone; a public name loads its module at the first use. It also
switches off what other libraries would report about their use: see `emo_edge.telemetry`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from emo_edge.telemetry import switch_off_telemetry

if TYPE_CHECKING:
    from emo_edge.bundle.manifest import Manifest
    from emo_edge.bundle.reader import Bundle
    from emo_edge.errors import (
        AccuracyGateError,
        BundleError,
        CheckpointError,
        DeviceError,
        DeviceMemoryError,
        EmoEdgeError,
        EngineError,
        InputError,
        MissingExtraError,
        PipelineStateError,
        SkippedError,
        TaskError,
        UnsupportedCardError,
    )
    from emo_edge.faces.detector import DetectedFace, FaceDetector
    from emo_edge.inference.detectors import open_detector
    from emo_edge.inference.live.api import live, live_async
    from emo_edge.inference.live.events import (
        ExpressionEvent,
        FrameEvent,
        LiveEvent,
        LiveFace,
        MicroExpressionEvent,
        PulseEvent,
        SourceEvent,
        TrackEvent,
    )
    from emo_edge.inference.live.settings import LiveSettings
    from emo_edge.inference.pipeline import EmotionPipeline
    from emo_edge.inference.results import (
        ClipSampling,
        EmotionResult,
        FaceAttributes,
        Request,
        Settings,
        SourceResult,
    )
    from emo_edge.inference.rows import rows
    from emo_edge.inference.signals.heart_rate import HeartRate, PulseWindow, heart_rate
    from emo_edge.inference.signals.movements import Movement, spot_movements
    from emo_edge.inference.signals.traces import skin_trace
    from emo_edge.inference.signals.videos import pulse
    from emo_edge.inference.stream import stream
    from emo_edge.inference.tasks.answers import TaskAnswer
    from emo_edge.inference.tasks.heart_rate import ToolCall
    from emo_edge.inference.tasks.moments import Moments
    from emo_edge.media.images import read_image
    from emo_edge.media.live.settings import CaptureSettings
    from emo_edge.runtimes.base.sessions import Sampling

__version__ = "0.1.0"

switch_off_telemetry()

__all__ = [
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

_MODULES = {
    ".bundle.manifest": ("Manifest",),
    ".bundle.reader": ("Bundle",),
    ".errors": (
        "AccuracyGateError",
        "BundleError",
        "CheckpointError",
        "DeviceError",
        "DeviceMemoryError",
        "EmoEdgeError",
        "EngineError",
        "InputError",
        "MissingExtraError",
        "PipelineStateError",
        "SkippedError",
        "TaskError",
        "UnsupportedCardError",
    ),
    ".faces.detector": ("DetectedFace", "FaceDetector"),
    ".inference.detectors": ("open_detector",),
    ".inference.live.api": ("live", "live_async"),
    ".inference.live.events": (
        "ExpressionEvent",
        "FrameEvent",
        "LiveEvent",
        "LiveFace",
        "MicroExpressionEvent",
        "PulseEvent",
        "SourceEvent",
        "TrackEvent",
    ),
    ".inference.live.settings": ("LiveSettings",),
    ".inference.pipeline": ("EmotionPipeline",),
    ".inference.results": (
        "ClipSampling",
        "EmotionResult",
        "FaceAttributes",
        "Request",
        "Settings",
        "SourceResult",
    ),
    ".inference.rows": ("rows",),
    ".inference.signals.heart_rate": ("HeartRate", "PulseWindow", "heart_rate"),
    ".inference.signals.movements": ("Movement", "spot_movements"),
    ".inference.signals.traces": ("skin_trace",),
    ".inference.signals.videos": ("pulse",),
    ".inference.stream": ("stream",),
    ".inference.tasks.answers": ("TaskAnswer",),
    ".inference.tasks.heart_rate": ("ToolCall",),
    ".inference.tasks.moments": ("Moments",),
    ".media.images": ("read_image",),
    ".media.live.settings": ("CaptureSettings",),
    ".runtimes.base.sessions": ("Sampling",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load the module of a public name at its first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
