"""Action units of a face: probabilities, thresholds, intensities and their letters."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import emo_edge
from emo_edge.bundle.manifest import ActionUnits
from emo_edge.inference.action_units import UnitReading, unit_readings
from emo_edge.inference.results import EmotionResult, Settings, SourceResult

SECTION = ActionUnits(source="face", units=(1, 12), thresholds=(0.5, 0.9), network="sacl")
PRESENCE = np.array([[0.0, 0.0], [0.0, 2.0]], np.float32)
INTENSITY = np.array([[0.0, 0.0], [0.49, 4.5]], np.float32)
SCHEMAS = Path(emo_edge.__file__).parent / "schemas"


def result(units: dict[str, UnitReading]) -> SourceResult:
    settings = Settings("toy", "exact", {}, "cpu", "haar", (), "", False, 1.0, False, "", "0")
    face = EmotionResult((0.0, 0.0, 9.0, 9.0), None, 1, {}, None, {}, {}, settings)
    return SourceResult("a.jpg", "image", [replace(face, action_units=units)], np.zeros((9, 9, 3), np.uint8))


def test_a_unit_is_active_from_its_own_threshold_on() -> None:
    units = unit_readings({"au_presence": PRESENCE, "au_intensity": INTENSITY}, 1, SECTION)
    assert list(units) == ["AU1", "AU12"]
    assert units["AU1"].presence == 0.5
    assert units["AU1"].active
    assert units["AU12"].presence == pytest.approx(1 / (1 + math.exp(-2)))
    assert not units["AU12"].active


@pytest.mark.parametrize(
    ("intensity", "level"),
    [(None, None), (0.0, None), (0.49, None), (0.5, "A"), (1.49, "A"), (2.5, "C"), (4.5, "E"), (5.0, "E")],
)
def test_the_level_is_the_nearest_letter(intensity: float | None, level: str | None) -> None:
    assert UnitReading(0.5, True, intensity).level == level


def test_without_intensities_there_is_no_level() -> None:
    unit = unit_readings({"au_presence": PRESENCE}, 0, SECTION)["AU12"]
    assert unit.to_dict() == {"presence": 0.5, "active": False, "intensity": None, "level": None}


@pytest.mark.parametrize("units", [{}, unit_readings({"au_presence": PRESENCE}, 0, SECTION)])
def test_a_result_has_the_version_that_its_keys_are_of(units: dict[str, UnitReading]) -> None:
    written = result(units).to_dict()
    version = 2 if units else 1
    assert written["result_version"] == written["readings"][0]["reading_version"] == version
    jsonschema.validate(written, json.loads((SCHEMAS / f"result-{version}.json").read_text(encoding="utf-8")))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, json.loads((SCHEMAS / f"result-{3 - version}.json").read_text(encoding="utf-8")))
