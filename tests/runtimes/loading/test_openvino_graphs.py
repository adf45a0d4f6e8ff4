"""``--device openvino``: every graph compared with ONNX Runtime once, in float32 where bfloat16 strays."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import AccuracyGateError, BundleError, DeviceMemoryError, MissingExtraError
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.runtimes import openvino
from emo_edge.runtimes.loading import device_choice, openvino_graphs
from emo_edge.runtimes.loading.engines import open_engines
from emo_edge.runtimes.loading.openvino_graphs import OpenVinoGraphs
from emo_edge.runtimes.loading.reference_feeds import ReferenceFeeds
from tests.spoiled_bundles import spoiled


@pytest.fixture
def bundle(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Bundle.open(tiny_bundle)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the precisions that sessions were opened in, on a processor that has bfloat16."""
    asked: list[str] = []

    class Listed(openvino.OpenVinoSession):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            asked.append(options["precision"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(openvino, "OpenVinoSession", Listed)
    monkeypatch.setattr(openvino, "native_precision", lambda: "bf16")
    return asked


def open_vision(bundle: Bundle, variant: str) -> Any:
    vision = bundle.manifest.components.vision
    assert vision is not None
    return OpenVinoGraphs(bundle, 1).open("vision", vision, variant)


def test_a_reading_is_that_of_onnx_runtime(bundle: Bundle) -> None:
    image = packaged_samples(1)[0].image
    found = []
    for device in ("cpu", "openvino"):
        with EmotionPipeline.open(bundle, device=device, profile="exact", threads=1) as pipeline:
            found.append(pipeline.read(image)[0])
    assert found[0].label == found[1].label
    for label, share in found[0].probabilities.items():
        assert found[1].probabilities[label] == pytest.approx(share, abs=1e-4)


def test_a_graph_is_compared_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    open_vision(bundle, "fp32").close()
    monkeypatch.setattr(ReferenceFeeds, "expected", lambda *_: pytest.fail("computed again by ONNX Runtime"))
    with open_vision(bundle, "fp32") as session:
        assert session.run({"image": np.zeros((2, 112, 112, 3), np.uint8)})["features"].shape[0] == 2


def test_what_a_broken_vision_net_does_to_a_connector_is_not_kept_for_others(bundle: Bundle, tmp_path: Path) -> None:
    """The same connector in another bundle is compared anew; values that are not finite are the bundle's fault."""
    connector = bundle.manifest.components.graph("connector")
    broken = Bundle.open(spoiled(bundle.directory, tmp_path / "broken", "vision", "features", math.nan))
    assert broken.manifest.components.graph("connector") == connector
    with pytest.raises(BundleError, match=r"the vision graph, .*, computes values on cpu that are not finite"):
        OpenVinoGraphs(broken).open("connector", connector, "fp16")
    lost = Bundle.open(spoiled(bundle.directory, tmp_path / "lost", "vision", "features", 1e30))
    with pytest.raises((AccuracyGateError, BundleError)):
        OpenVinoGraphs(lost).open("connector", connector, "fp16")
    with OpenVinoGraphs(bundle).open("connector", connector, "fp16") as session:
        assert session.inputs


def test_float32_stays_float32(bundle: Bundle, opened: list[str]) -> None:
    open_vision(bundle, "fp32").close()
    assert opened == ["f32"]


def test_what_strays_in_bfloat16_is_computed_in_float32(
    bundle: Bundle, opened: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        openvino_graphs, "similarity", lambda *_: {"features": 0.9996 if opened[-1] == "f32" else 0.9988}
    )
    with caplog.at_level(logging.WARNING):
        open_vision(bundle, "fp16").close()
    assert opened == ["bf16", "f32"]
    assert "vision fp16 is not computed in bf16 by OpenVINO" in caplog.text and "0.99880" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        open_vision(bundle, "fp16").close()
    assert caplog.text == "", "said once"
    assert opened == ["bf16", "f32", "f32"], "what is known to stray is not opened again"


def test_a_graph_that_strays_in_both_is_refused(
    bundle: Bundle, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_graphs, "similarity", lambda *_: {"features": 0.5})
    with pytest.raises(AccuracyGateError, match=r"vision fp16 in OpenVINO fails its gate: .* use `device` cpu"):
        open_vision(bundle, "fp16")
    assert opened == ["bf16", "f32"]


@pytest.mark.parametrize("content", ["", "[]", '{"features": "near"}', "{"])
def test_a_broken_memory_of_the_comparison_is_made_anew(bundle: Bundle, tmp_path: Path, content: str) -> None:
    open_vision(bundle, "fp32").close()
    (file,) = (tmp_path / "emo-edge").glob("openvino-*.json")
    whole = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(content, encoding="utf-8")
    open_vision(bundle, "fp32").close()
    assert json.loads(file.read_text(encoding="utf-8")) == whole


def test_short_memory_is_told_and_feeds_are_cut(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_vision(bundle, "fp32") as session:
        computed = session._request
        rows: list[int] = []

        class Full:
            def infer(self, feed: dict[str, Any], **options: Any) -> None:
                rows.append(len(feed["image"]))
                if rows[-1] > 2:
                    raise RuntimeError("Failed to allocate 9 bytes of memory")
                computed.infer(feed, **options)

            def get_tensor(self, name: str) -> Any:
                return computed.get_tensor(name)

        monkeypatch.setattr(session, "_request", Full())
        images = np.random.default_rng(0).integers(0, 255, (5, 112, 112, 3), np.uint8)
        assert session.run({"image": images})["features"].shape[0] == 5
        assert rows == [5, 2, 2, 1]
        monkeypatch.setattr(computed, "infer", None, raising=False)
        session._request.infer = lambda *_, **__: (_ for _ in ()).throw(MemoryError)
        with pytest.raises(DeviceMemoryError, match="feed fewer frames at once"):
            session.run({"image": images[:1]})


@pytest.mark.parametrize(
    ("device", "package", "opener"),
    [("openvino", "openvino", "openvino.load_openvino"), ("cuda", "onnxruntime", "open_onnxruntime")],
)
def test_an_engine_that_does_not_load_names_the_library_it_lacks(
    device: str, package: str, opener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ImportError("libfoo.so.1: cannot open shared object file: No such file or directory", name=package)

    monkeypatch.setattr(f"emo_edge.runtimes.loading.device_choice.{opener}", broken)
    with pytest.raises(MissingExtraError, match=f"^{package} is installed and .* libfoo.so.1 is missing"):
        device_choice.usable_devices(device)
    (*_, (name, reason)) = device_choice.usable_devices("auto")
    assert name == "cpu"
    if device == "cuda":
        assert "not cuda: onnxruntime is installed and cannot be loaded: the shared library libfoo.so.1" in reason


def test_without_openvino_its_extra_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setattr(openvino, "load_openvino", missing)
    with pytest.raises((MissingExtraError, ModuleNotFoundError), match="openvino"):
        open_engines(bundle, profile=None, device="openvino", threads=1)
    assert device_choice.usable_devices("auto")[-1][0] == "cpu"
