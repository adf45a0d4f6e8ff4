"""Manifests of a network of labels, and the labels that can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.bundle.label_sets import resolve_labels
from emo_edge.bundle.manifest import Manifest, manifest_from_json
from emo_edge.errors import BundleError, InputError

FILE = {"path": "face-fp32.onnx", "size": 4, "sha256": "0" * 64}


def values() -> dict[str, Any]:
    face = {
        "inputs": [{"name": "image", "dtype": "uint8", "shape": ["N", 8, 8, 3]}],
        "outputs": [{"name": "label_logits", "dtype": "float32", "shape": ["N", 3]}],
        "variants": {"fp32": {"files": [FILE]}},
    }
    return {
        "name": "toy",
        "components": {"vision": None, "connector": None, "face": face, "language": None},
        "preprocessing": {"vision": None, "face": {"method": "square", "size": 8, "margin": 0.2}},
        "layout": [],
        "prompt": {},
        "label_sets": {"three": ["joy", "fear", "rage"], "two": ["rage", "joy"]},
        "face_labels": {"expression": ["joy", "fear", "rage"]},
        "question_tokenizer": None,
        "max_question_tokens": None,
        "profiles": {"exact": {"vision": None, "connector": None, "face": "fp32", "language": None}},
        "default_profile": "exact",
    }


def with_values(manifest: dict[str, Any]) -> dict[str, Any]:
    manifest["components"]["face"]["outputs"].append({"name": "values", "dtype": "float32", "shape": ["N", 2]})
    scales = [{"name": name, "low": -1, "high": 1} for name in ("valence", "arousal")]
    manifest["face_labels"]["values"] = scales
    return manifest


def manifest() -> Manifest:
    return Manifest.model_validate(values())


def test_a_network_of_labels_needs_no_language_model() -> None:
    assert manifest_from_json(manifest().model_dump_json()) == manifest()
    graded = Manifest.model_validate(with_values(values()))
    assert manifest_from_json(graded.model_dump_json()) == graded
    valence = graded.face_labels.values[0]
    assert (valence.name, valence.low, valence.high) == ("valence", -1, 1)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda one: one.update(face_labels={}), r"label_logits \['N', 3\] needs 0, a row each expression"),
        (lambda one: one.update(label_sets={}), "label_sets needs a set of the network's labels"),
        (lambda one: one["label_sets"].update(own=["joy", "awe"]), "labels that the network lacks: awe"),
        (lambda one: one["face_labels"].update(expression=["joy", "joy", "fear"]), "two or more different names"),
        (lambda one: one["face_labels"].update(expression=["joy"]), "two or more different names"),
        (
            lambda one: one["components"]["face"]["outputs"][0].update(name="face_tokens"),
            "expression names rows, and components.face lacks label_logits",
        ),
        (
            lambda one: one["components"]["face"]["outputs"].append(
                {"name": "pose", "dtype": "float32", "shape": ["N", 3]}
            ),
            "components.face lacks the outputs age",
        ),
        (
            lambda one: one["face_labels"].update(values=[{"name": "valence", "low": -1, "high": 1}]),
            "face_labels.values names rows, and components.face lacks values",
        ),
        (lambda one: with_values(one)["face_labels"].pop("values"), r"values \['N', 2\] needs 0, a row each"),
        (lambda one: with_values(one)["face_labels"]["values"].pop(), r"values \['N', 2\] needs 1, a row each"),
        (lambda one: with_values(one)["face_labels"]["values"][1].update(name="valence"), "values has a name twice"),
        (lambda one: with_values(one)["face_labels"]["values"][1].update(low=1), "low end 1 is not below 1"),
        (lambda one: one.update(detector="mtcnn"), "detector mtcnn needs 3 detector_files"),
        (lambda one: one.update(detector_files=[FILE | {"path": "d.onnx"}]), "detector haar needs 0 detector_files"),
        (
            lambda one: one["components"].update(
                language={"context_size": 8, "embedding_size": 8, "variants": {"f16": {"files": [FILE]}}}
            ),
            "components.face gives label_logits beside a language model",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(edit: Callable[[dict[str, Any]], None], message: str) -> None:
    changed = values()
    edit(changed)
    with pytest.raises(ValueError, match=message):
        Manifest.model_validate(changed)


def test_a_bundle_of_before_reads_as_it_did() -> None:
    """The keys of networks of labels are optional: a manifest without them is valid, and has none of them."""
    crop = CropSettings.model_validate({"method": "stretched", "size": 8, "margin": 0.25})
    assert crop.margins == {} and crop.margin_of("mtcnn") == crop.margin_of(None) == 0.25
    with pytest.raises(BundleError, match="unknown key"):
        manifest_from_json('{"marginz": 1}')


def test_a_margin_is_the_detectors_own() -> None:
    crop = CropSettings(method="square", size=8, margin=0.1, margins={"mtcnn": 0.0, "haar": 0.3})
    assert [crop.margin_of(name) for name in ("mtcnn", "haar", "yunet", "box", None)] == [0.0, 0.3, 0.1, 0.1, 0.1]


def test_a_network_is_asked_for_all_of_its_labels_where_the_usual_set_lacks_some() -> None:
    usual = ("joy", "fear")
    whole = values()
    whole["label_sets"] = {"rafdb7": usual, **whole["label_sets"]}
    assert resolve_labels(Manifest.model_validate(whole), None) == ("joy", "fear", "rage")
    whole["label_sets"]["rafdb7"] = ("rage", "fear", "joy")
    assert resolve_labels(Manifest.model_validate(whole), None) == ("rage", "fear", "joy")


def test_labels_are_a_set_some_of_the_rows_or_the_bundles_first_set() -> None:
    assert resolve_labels(manifest(), "two") == ("rage", "joy")
    assert resolve_labels(manifest(), ("fear", "joy")) == ("fear", "joy")
    assert resolve_labels(manifest(), None) == ("joy", "fear", "rage")
    for labels, message in ((("joy", "awe"), "toy knows the labels joy, fear, rage, not awe"), ("ten", "no label set")):
        with pytest.raises(InputError, match=message):
            resolve_labels(manifest(), labels)
