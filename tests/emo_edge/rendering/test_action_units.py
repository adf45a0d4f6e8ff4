"""Action units where a user meets them: rows, text, drawings, live events, the head of JSON lines."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import emo_edge
from emo_edge.bundle.manifest import manifest_from_json
from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.live.events import FrameEvent, LiveFace
from emo_edge.inference.results import EmotionResult, Settings, SourceResult
from emo_edge.inference.rows import columns, rows, unit_columns
from emo_edge.rendering.live_writers import LiveCsv
from emo_edge.rendering.panels import panel_of
from emo_edge.rendering.result_writers import JsonLinesWriter, result_json
from emo_edge.rendering.tables.schema import column_type, table_schema
from emo_edge.rendering.text import face_text
from tests.emo_edge.bundle.test_action_units import with_units
from tests.emo_edge.bundle.test_manifest_bounds import manifest

UNITS = {
    "AU1": UnitReading(0.2, False, 0.4),
    "AU4": UnitReading(0.7, True, 0.3),
    "AU12": UnitReading(0.9, True, 3.2),
}
SETTINGS = Settings("b", "p", {}, "cpu", "haar", ("joy", "rage"), "?", False, 1.0, False, "", "0")
PLAIN = EmotionResult((0.0, 0.0, 9.0, 9.0), None, 1, {"joy": 0.75, "rage": 0.25}, None, {}, {}, SETTINGS)
RESULT = replace(PLAIN, action_units=UNITS)
SCHEMAS = Path(emo_edge.__file__).parent / "schemas"
IMAGE = np.zeros((9, 9, 3), np.uint8)
WITHOUT_INTENSITY = {name: replace(unit, intensity=None) for name, unit in UNITS.items()}


def event(result: EmotionResult | None) -> FrameEvent:
    face = LiveFace(3, (0, 0, 9, 9), True, result, None if result is None else 45.2, False)
    return FrameEvent("0", 7, 0, 1.5, 45.2, (face,), {}, {}, {}, IMAGE)


def test_rows_have_the_columns_that_the_manifest_promises() -> None:
    (row,) = rows(RESULT)
    named = unit_columns(manifest_from_json(with_units()))
    assert named[:3] == ["AU1", "AU1_active", "AU1_intensity"] and len(named) == 9
    assert [name for name in row if name.startswith("AU")] == named
    assert [row[name] for name in named[-3:]] == [0.9, 1, 3.2]
    promised = columns(["joy", "rage"], units=named)
    assert [name for name in promised if name != "segment"] == list(row)
    assert unit_columns(manifest_from_json(json.dumps(manifest()))) == []


def test_without_intensities_there_are_no_such_columns() -> None:
    (row,) = rows(replace(PLAIN, action_units=WITHOUT_INTENSITY))
    found = [name for name in row if name.startswith("AU")]
    assert found == ["AU1", "AU1_active", "AU4", "AU4_active", "AU12", "AU12_active"]
    values = json.loads(with_units())
    values["components"]["face"]["outputs"].pop()
    assert unit_columns(manifest_from_json(json.dumps(values))) == found


def test_the_schema_of_tables_knows_the_columns() -> None:
    kinds = {name: column_type(name) for name in ("AU12", "AU12_active", "AU12_intensity")}
    assert kinds == {"AU12": "number", "AU12_active": "integer", "AU12_intensity": "number"}
    (row,) = rows(RESULT)
    for name in row:
        matching = [pattern for pattern in table_schema()["patternProperties"] if re.search(pattern, name)]
        assert len(matching) == int(name not in table_schema()["properties"]), name


@pytest.mark.parametrize(
    ("units", "line"),
    [
        (UNITS, "    action units: AU4, AU12 C"),
        (WITHOUT_INTENSITY, "    action units: AU4, AU12"),
        ({"AU1": UNITS["AU1"]}, "    action units: none active"),
    ],
)
def test_text_lists_the_active_units_with_their_letters(units: dict[str, UnitReading], line: str) -> None:
    assert line in face_text(replace(PLAIN, action_units=units), 1, 1).splitlines()
    assert "action units" not in face_text(PLAIN, 1, 1)


def test_a_panel_lists_the_most_probable_active_units_in_their_order() -> None:
    panel = panel_of(RESULT)
    assert panel is not None and panel.lines == ("AU4, AU12 C",)
    many = {f"AU{unit}": UnitReading(0.5 + unit / 100, True, None) for unit in (1, 2, 4, 5, 6, 7, 9)}
    panel = panel_of(replace(PLAIN, action_units=many))
    assert panel is not None and panel.lines == ("AU4, AU5, AU6, AU7, AU9",)
    alone = panel_of(replace(PLAIN, probabilities={}, action_units=UNITS))
    assert alone is not None and (alone.title, alone.lines) == ("face", ("AU4, AU12 C",))
    assert panel_of(replace(PLAIN, probabilities={})) is None


def test_live_events_carry_them_and_fit_the_schema() -> None:
    schema = json.loads((SCHEMAS / "live-event-1.json").read_text(encoding="utf-8"))
    for result in (RESULT, PLAIN, None):
        written = event(result).to_dict()
        jsonschema.validate(written, schema)
        assert ("action_units" in written["faces"][0]) == (result is RESULT)
    assert event(RESULT).to_dict()["faces"][0]["action_units"]["AU12"]["level"] == "C"


def test_live_csv_has_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    named = unit_columns(manifest_from_json(with_units()))
    writer = LiveCsv(["joy", "rage"], units=named)
    writer.begin()
    writer.write(event(RESULT))
    writer.write(event(None))
    first, second = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (first["AU12"], first["AU12_active"], first["AU12_intensity"]) == ("0.9", "1", "3.2")
    assert (second["AU12"], second["id"], second["detected"]) == ("", "3", "1")


@pytest.mark.parametrize("units", [UNITS, {"AU1": UNITS["AU1"]}])
def test_compact_json_has_the_active_ones_alone(units: dict[str, UnitReading]) -> None:
    result = SourceResult("a.jpg", "image", [replace(PLAIN, action_units=units)], IMAGE)
    whole, compact = (result_json(result, compact=compact) for compact in (False, True))
    schema = json.loads((SCHEMAS / "result-2.json").read_text(encoding="utf-8"))
    for document, names in ((whole, list(units)), (compact, [name for name in units if units[name].active])):
        jsonschema.validate(document, schema)
        assert list(document["readings"][0]["action_units"]) == names


@pytest.mark.parametrize("units", [False, True])
def test_the_head_of_json_lines_names_the_version_of_the_results(
    units: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    JsonLinesWriter(SETTINGS, "?", compact=False, version=2 if units else 1).begin()
    version = SourceResult("a.jpg", "image", [RESULT if units else PLAIN], IMAGE).to_dict()["result_version"]
    assert json.loads(capsys.readouterr().out)["result_version"] == version
