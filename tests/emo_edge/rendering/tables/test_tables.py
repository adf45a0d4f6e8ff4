"""Tables: the published schema, values that survive CSV and Parquet, and readers that users have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import numpy as np
import pandas
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge import EmotionPipeline, EmotionResult, FaceAttributes, InputError, MissingExtraError, Request, Settings
from emo_edge.errors import BundleError, DeviceMemoryError, EmoEdgeError, SkippedError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.results import ClipSampling, SourceResult
from emo_edge.media.images import write_image
from emo_edge.rendering.result_writers import cell, plain_text
from emo_edge.rendering.tables.files import csv_rows, open_table
from emo_edge.rendering.tables.output import TableOutput, require_table
from emo_edge.rendering.tables.rows import TableSetup, error_kind, table_rows, table_setup
from emo_edge.rendering.tables.schema import TABLE_VERSION, column_type, table_schema
from emo_edge.storage import output_files

SETTINGS = Settings("b", "exact", {}, "cpu", "haar", ("joy", "rage"), "?", True, 1.0, False, "", "0")
POSE = {"pitch": 1.0, "yaw": -2.0, "roll": 3.0}
FACE = FaceAttributes(np.zeros((68, 2), np.float32), POSE, {}, np.zeros(29, np.float32), {})
RESULT = EmotionResult(
    box=(1.0, 2.0, 3.0, 4.0),
    detection_score=5.0,
    frames=4,
    probabilities={"joy": 0.123456789, "rage": 0.876543211},
    face=FACE,
    answers={},
    stage_ms={"detect": 1.25, "vision": 2.5},
    settings=SETTINGS,
    frame=2,
)
IMAGE = np.zeros((4, 4, 3), np.uint8)
RESULTS = [
    SourceResult("a.jpg", "image", [RESULT, replace(RESULT, frames=1, rotation=90, whole_image=True)], IMAGE),
    SourceResult("rtsp://user:secret@host/1", "clip", [RESULT], IMAGE, (0.0, 1.5), segment=3),
    SourceResult("=caf\udce9.jpg", "image", [], IMAGE),
    SourceResult("gone.jpg", "image", [], None, error=InputError('gone.jpg: a, "b"\r\nand \udce9')),
]


@pytest.fixture(scope="module")
def setup(label_bundle: Path) -> TableSetup:
    with EmotionPipeline.open(label_bundle, device="cpu", detector=WholeImage()) as pipeline:
        made = table_setup(pipeline, Request(), ClipSampling(), {"min_score": None})
    columns = [name for name in made.columns if not name.startswith("p_")]
    return replace(made, columns=(*columns, "p_joy", "p_rage"))


def written(setup: TableSetup, folder: Path, name: str) -> Path:
    with TableOutput(folder / name, setup) as table:
        for result in RESULTS:
            table.add(result)
    return folder / name


@pytest.fixture(scope="module")
def parquet(setup: TableSetup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(setup, tmp_path_factory.mktemp("tables"), "faces.parquet")


def test_every_row_follows_the_published_schema(parquet: Path, setup: TableSetup) -> None:
    jsonschema.Draft202012Validator.check_schema(table_schema())
    table = pyarrow.parquet.read_table(parquet)
    for row in table.to_pylist():
        jsonschema.validate(row, table_schema())
    types = {"string": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}
    assert {one.name: one.type for one in table.schema} == {name: types[column_type(name)] for name in setup.columns}
    assert table.schema.metadata[b"emo_edge.table_version"] == str(TABLE_VERSION).encode()
    assert json.loads(table.schema.metadata[b"emo_edge.settings"]) == json.loads(json.dumps(setup.settings))


def test_a_row_says_what_was_read_and_by_what(parquet: Path, setup: TableSetup) -> None:
    first, second, clip, empty, failed = pyarrow.parquet.read_table(parquet).to_pylist()
    assert (first["face"], second["face"], first["frame"], first["track"]) == (0, 1, None, None)
    assert [(row["rotation"], row["whole_image"]) for row in (first, second, empty)] == [(0, 0), (90, 1), (None, None)]
    assert (first["p_joy"], first["label"], first["read_ms"]) == (0.12346, "rage", 3.75)
    assert (clip["source"], clip["start_s"], clip["end_s"], clip["segment"]) == ("rtsp://host/1", 0.0, 1.5, 3)
    assert (clip["frame"], clip["track"], clip["frames"]) == (2, 0, 4)
    assert empty["source"] == r"$'=caf\xe9.jpg'" and (empty["face"], empty["label"], empty["error"]) == (None,) * 3
    assert failed["error_kind"] == "input" and failed["error"].endswith("and \\xe9")
    for row in (first, clip, empty, failed):
        assert {name: row[name] for name in setup.common} == setup.common
        assert len(row["bundle_sha256"]) == len(row["settings_sha256"]) == 64


def test_csv_holds_what_parquet_holds(setup: TableSetup, parquet: Path, tmp_path: Path) -> None:
    path = written(setup, tmp_path, "faces.csv")
    assert list(csv_rows(path)) == pyarrow.parquet.read_table(parquet).to_pylist()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), min_size=1))
def test_any_text_survives_csv(texts: list[str]) -> None:
    for text in texts:
        assert plain_text(str(cell(text))) == text
        assert str(cell(text))[:1] not in ("", *"=+-@")


@given(
    st.lists(st.tuples(st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(-9, 9)))
)
def test_any_table_survives_csv(setup: TableSetup, tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    table = open_table(path, replace(setup, columns=("error", "face")), suffix=".csv")
    table.write(rows)
    table.close()
    assert [tuple(row.values()) for row in csv_rows(path)] == rows


def test_pandas_duckdb_and_pyarrow_read_both_formats(setup: TableSetup, parquet: Path, tmp_path: Path) -> None:
    rows = pyarrow.parquet.read_table(parquet).to_pylist()
    path = written(setup, tmp_path, "faces.csv")
    whole = pandas.read_parquet(parquet)
    assert list(whole["source"]) == [row["source"] for row in rows] and whole["face"].dropna().tolist() == [0, 1, 0]
    frame = pandas.read_csv(path)
    assert list(frame["label"].dropna()) == ["rage"] * 3 and frame["pose_yaw"].dropna().tolist() == [-2.0] * 3
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    assert pyarrow.csv.read_csv(path, parse_options=options)["face"].to_pylist() == [row["face"] for row in rows]
    for name in (parquet, path):
        counted = duckdb.sql(f"SELECT label, count(*) FROM '{name}' WHERE face IS NOT NULL GROUP BY label").fetchall()
        assert counted == [("rage", 3)]


def test_hugging_face_datasets_reads_it(parquet: Path, tmp_path: Path) -> None:
    # Not in `[dev]`: beside transformers 4 pip searches minutes for a version of it that fits.
    datasets = pytest.importorskip("datasets", reason="waits for the package datasets")
    loaded = datasets.load_dataset("parquet", data_files=str(parquet), cache_dir=str(tmp_path), split="train")
    assert loaded["label"] == [row["label"] for row in pyarrow.parquet.read_table(parquet).to_pylist()]


@pytest.mark.parametrize("name", ["a:b.parquet", "s3:a.csv"])
def test_a_name_that_looks_like_an_address_is_a_file(
    setup: TableSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(setup, Path(), name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_table_is_whole_or_not_there(setup: TableSetup, tmp_path: Path) -> None:
    target = tmp_path / "faces.parquet"
    with pytest.raises(KeyboardInterrupt), TableOutput(target, setup) as table:
        table.add(RESULTS[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit), TableOutput(target, setup) as table:
        table.add(RESULTS[0])
        raise SystemExit(0)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_full_disk_is_one_error(
    setup: TableSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr(output_files, "partial_path", lambda target, suffix: tmp_path / "full")
    with (
        pytest.raises(InputError, match=r"cannot be written \(No space left on device\); make room"),
        TableOutput(tmp_path / name, setup) as table,
    ):
        for _ in range(200):
            table.add(RESULTS[0])
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "full"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t.xls", r"a table ends in \.parquet or \.csv"),
        ("there.csv", "is there already; remove it, choose another name or `overwrite`"),
        ("none/t.csv", "there is no folder"),
    ],
)
def test_a_target_is_refused_before_anything_is_read(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there.csv").touch()
    with pytest.raises(InputError, match=message):
        require_table(tmp_path / name, [], overwrite=False)
    require_table(tmp_path / "there.csv", [], overwrite=True)


def test_a_table_never_replaces_a_source(tmp_path: Path) -> None:
    picture = tmp_path / "picture.csv"
    write_image(tmp_path / "one.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "one.png").rename(picture)
    (tmp_path / "link.csv").symlink_to(picture)
    for target in (picture, tmp_path / "link.csv"):
        for source in (picture, tmp_path):
            with pytest.raises(InputError, match="would replace the source"):
                require_table(target, [str(source)], overwrite=True)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r'pip install "emo-edge\[table\]"'):
        require_table(tmp_path / "t.parquet", [], overwrite=False)
    require_table(tmp_path / "t.csv", [], overwrite=False)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", 'face\n"1\n', "face\nx\n", "\xff"])
def test_another_csv_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("latin-1"))
    if not text:
        assert list(csv_rows(path)) == []
        return
    with pytest.raises(InputError, match="no table of emo-edge"):
        list(csv_rows(path))
    with pytest.raises(InputError, match="cannot be read"):
        list(csv_rows(tmp_path / "none.csv"))


def test_the_kind_of_an_error_is_one_word_of_the_schema() -> None:
    kinds = [error_kind(one("x")) for one in (SkippedError, MissingExtraError, DeviceMemoryError, BundleError)]
    assert kinds == ["skipped", "extra", "device", "bundle"]
    assert (error_kind(InputError("x")), error_kind(EmoEdgeError("x")), error_kind(None)) == ("input", "failed", None)
    assert {*kinds, "input", "failed", None} <= set(table_schema()["properties"]["error_kind"]["enum"])


def test_the_hash_of_the_settings_changes_with_each_of_them(label_bundle: Path) -> None:
    with EmotionPipeline.open(label_bundle, device="cpu", detector=WholeImage()) as pipeline:
        made = [
            table_setup(pipeline, Request(), ClipSampling()),
            table_setup(pipeline, Request(temperature=2.0), ClipSampling()),
            table_setup(pipeline, Request(), ClipSampling(fps=2.0)),
            table_setup(pipeline, Request(), ClipSampling(), {"min_face": 0.1}),
            table_setup(pipeline, Request(), ClipSampling()),
        ]
    hashes = [one.common["settings_sha256"] for one in made]
    assert len(set(hashes)) == 4 and hashes[0] == hashes[-1]
    assert table_rows(made[0], RESULTS[3], None)[0][1] is None
