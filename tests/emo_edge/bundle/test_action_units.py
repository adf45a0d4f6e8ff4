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


def test_version_2_without_anything_new_is_refused() -> None:
    values = manifest()
    values["bundle_version"] = 2
    assert "bundle_version must be 1" in error_of(json.dumps(values))
