"""The manifest's section of action units: what it requires of the graph, of the version and of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from emo_edge.bundle.manifest import manifest_from_json
from tests.emo_edge.bundle.test_manifest_bounds import error_of, manifest

UNITS = [1, 4, 12]


def with_units(edit: Callable[[dict[str, Any]], None] = lambda values: None) -> str:
    values = manifest()
    values["bundle_version"] = 2
    values["action_units"] = {"source": "face", "units": UNITS, "thresholds": [0.5, 0.4, 0.6], "network": "sacl"}
    values["components"]["face"]["outputs"] += [
        {"name": name, "dtype": "float32", "shape": ["N", 3]} for name in ("au_presence", "au_intensity")
    ]
    edit(values)
    return json.dumps(values)


def test_a_manifest_with_action_units_is_version_2() -> None:
    read = manifest_from_json(with_units())
    assert read.bundle_version == 2
    assert read.action_units is not None
    assert read.action_units.units == tuple(UNITS)
    assert manifest_from_json(read.model_dump_json()) == read


def test_a_manifest_without_them_is_written_as_before() -> None:
    written = json.loads(manifest_from_json(json.dumps(manifest())).model_dump_json())
    assert written["bundle_version"] == 1
    assert "action_units" not in written


def no_output(values: dict[str, Any]) -> None:
    values["components"]["face"]["outputs"] = values["components"]["face"]["outputs"][:-2]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda values: values.update(bundle_version=1), "bundle_version must be 2"),
        (lambda values: values.pop("action_units"), "and there is no action_units"),
        (lambda values: values["action_units"].update(units=[]), "units"),
        (lambda values: values["action_units"].update(units=[1, 1, 12]), "has a unit twice"),
        (lambda values: values["action_units"].update(units=[1, 8, 12]), "8: no units of FACS"),
        (lambda values: values["action_units"].update(units=[1, True, 12]), "units"),
        (lambda values: values["action_units"].update(thresholds=[0.5]), "1 numbers for 3 units"),
        (lambda values: values["action_units"].update(thresholds=[0.5, 0.5, 1.0]), "thresholds"),
        (lambda values: values["action_units"].update(source="vision"), "source"),
        (lambda values: values["action_units"].update(units=[1, 4], thresholds=[0.5, 0.5]), "needs 2, a row each"),
        (no_output, "needs the output au_presence"),
    ],
)
def test_what_does_not_fit_is_refused(edit: Callable[[dict[str, Any]], None], problem: str) -> None:
    assert problem in error_of(with_units(edit))


def test_an_older_release_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emo_edge.bundle.manifest.BUNDLE_VERSION", 1)
    assert "has version 2, this emo-edge reads up to 1: update emo-edge" in error_of(with_units())


def test_version_2_without_anything_new_is_refused() -> None:
    values = manifest()
    values["bundle_version"] = 2
    assert "bundle_version must be 1" in error_of(json.dumps(values))


def with_own_network(edit: Callable[[dict[str, Any]], None] = lambda values: None) -> str:
    """Write a manifest whose action units come from a network of their own, next to all other parts."""

    def moved(values: dict[str, Any]) -> None:
        face = values["components"]["face"]
        own = json.loads(json.dumps(face))
        face["outputs"], own["outputs"] = face["outputs"][:-2], own["outputs"][-2:]
        own["variants"]["fp32"]["files"][0]["path"] = "au.onnx"
        values["components"]["au"] = own
        values["preprocessing"]["au"] = dict(values["preprocessing"]["face"])
        values["action_units"]["source"] = "au"
        for profile in values["profiles"].values():
            profile["au"] = "fp32"
        edit(values)

    return with_units(moved)


def test_a_network_of_its_own_is_a_component() -> None:
    read = manifest_from_json(with_own_network())
    assert list(read.components.graphs()) == ["vision", "connector", "face", "au"] and read.gives_unit_intensities
    assert [profile.variant("au") for profile in read.profiles.values()] == ["fp32"] * len(read.profiles)
    assert "au.onnx" in [file.path for file in read.files()]
    assert manifest_from_json(read.model_dump_json()) == read


def test_without_one_nothing_of_it_is_written() -> None:
    for text in (json.dumps(manifest()), with_units()):
        written = json.loads(manifest_from_json(text).model_dump_json())
        sections = (written["components"], written["preprocessing"], *written["profiles"].values())
        assert all("au" not in section for section in sections)


def face_gives_them_too(values: dict[str, Any]) -> None:
    values["components"]["face"]["outputs"] += values["components"]["au"]["outputs"]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda values: values["preprocessing"].pop("au"), "components.au and preprocessing.au go together"),
        (lambda values: values["components"].pop("au"), "action_units needs the output au_presence of components.au"),
        (lambda values: values["action_units"].update(source="face"), "components.au needs action_units.source au"),
        (lambda values: values.pop("action_units"), "components.au gives au_presence, au_intensity, and there is no"),
        (lambda values: values["profiles"]["exact"].pop("au"), "profiles.exact.au: None is not one of ['fp32']"),
        (lambda values: values["preprocessing"]["au"].update(size=4096), "preprocessing.au.size is more than"),
        (lambda values: values["components"]["au"]["outputs"].pop(0), "components.au lacks the outputs au_presence"),
        (face_gives_them_too, "components.face gives au_presence, au_intensity, and action_units.source is au"),
    ],
)
def test_what_does_not_fit_such_a_network_is_refused(edit: Callable[[dict[str, Any]], None], problem: str) -> None:
    assert problem in error_of(with_own_network(edit))
