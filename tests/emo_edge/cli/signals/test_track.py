"""``emo-edge track`` as people run it: tables, runs that are stopped and go on, and every input that is none."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import pandas
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.action_units.predictions import read_predictions
from emo_edge.benchmarks.live.scene import FIRST_CLIP, PLACES, TILE, write_scene
from emo_edge.benchmarks.synthetic.generator import render_clip
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.signals.track import main
from emo_edge.errors import BundleError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.media.images import write_image
from emo_edge.media.videos import sampled_frames
from emo_edge.rendering.tracks.formats import FORMATS
from emo_edge.storage.locks import FileLock, lock_path
from emo_edge.taxonomy import ACTION_UNITS
from emo_edge.tracking import run as run_module
from emo_edge.tracking.follow import FRAMES_AT_ONCE
from emo_edge.tracking.journal import Journal
from emo_edge.tracking.network import FaceNetwork
from emo_edge.tracking.run import JOURNAL_SUFFIX
from emo_edge.tracking.targets import RECORD, Targets
from tests import made_videos
from tests.unit_bundles import LABELS, write_unit_bundle

FRAMES = 70
STEPS = [index / 30 for index in range(FRAMES)]


def run(*words: object) -> Result:
    options = ("--device", "cpu") if "--help" not in words else ()
    return CliRunner().invoke(main, [str(word) for word in (*words, *options)], prog_name="emo-edge track")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unit_bundle(tmp_path_factory.mktemp("bundle") / "units")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_videos.write(tmp_path_factory.mktemp("video") / "clip.mkv", STEPS)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "faces.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", FORMATS)
def test_pandas_opens_every_format(bundle: Path, video: Path, out: Path, name: str) -> None:
    done = run(bundle, video, "--csv", out, "--format", name)
    assert done.exit_code == 0, done.output
    assert done.stdout == "" and f"{video}: {FRAMES} frames, {FRAMES} faces, " in done.stderr
    table = pandas.read_csv(out)
    names = {"openface": "AU04_r", "py-feat": "AU04", "libreface": "au_4_intensity", "emo-edge": "AU4_intensity"}
    assert len(table) == FRAMES and table[names[name]].notna().all() and set(table["face_id"]) == {0}
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name], "nothing else is left"


def test_py_feats_reader_has_every_column_that_it_asks_for(bundle: Path, video: Path, out: Path) -> None:
    """Reader that does as ``read_feat`` of py-feat 2.1: pandas, then groups of columns by name."""
    labelled = write_unit_bundle(out.parent / "labelled", labels=("disgust", "fear", *LABELS))
    assert run(labelled, video, "--csv", out, "--format", "py-feat").exit_code == 0
    table = pandas.read_csv(out)
    units = [column for column in table.columns if "AU" in column]
    assert units == ["AU01", "AU04", "AU12"] and table[units].to_numpy().dtype == np.float64
    for group in (
        ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"],
        [f"{axis}_{point}" for axis in "xy" for point in range(68)],
        ["Pitch", "Roll", "Yaw"],
        ["anger", "disgust", "fear", "happiness"],
        ["frame", "input", "approx_time"],
    ):
        assert list(table[group].columns) == group
    assert not {"valence", "sadness", "mesh_x_0"} & set(table.columns)


def test_the_evaluation_on_data_sets_reads_a_table(bundle: Path, video: Path, out: Path) -> None:
    assert run(bundle, video, "--csv", out, "--format", "openface").exit_code == 0
    read, table = read_predictions(out, (1, 4, 12)), pandas.read_csv(out)
    assert (read.first_frame, len(read.frames)) == (1, FRAMES)
    np.testing.assert_array_equal(read.intensities, table[["AU01_r", "AU04_r", "AU12_r"]])
    np.testing.assert_array_equal(read.active, table[["AU01_c", "AU04_c", "AU12_c"]])


@pytest.mark.slow
def test_the_table_of_drawn_faces_holds_what_was_drawn(tiny_bundle: Path, tmp_path: Path) -> None:
    video, out = write_scene(tmp_path / "scene.mp4", 2, 2.0), tmp_path / "faces.parquet"
    assert run(tiny_bundle, video, "--parquet", out).exit_code == 0
    table = pyarrow.parquet.read_table(out).to_pandas()
    assert len(table) == 120 and set(table["face_id"]) == {0, 1} and (table["success"] == 1).all()
    for number, (left, _) in enumerate(PLACES[2]):
        middles = (table["box_x0"] + table["box_x1"]) / 2
        rows = table[abs(middles - left - TILE / 2) < TILE / 4]
        assert len(rows) == 60 and rows["face_id"].nunique() == 1
        drawn = render_clip(0, FIRST_CLIP + number, size=TILE).frames[:60]
        poses = np.degrees([sample.pose for sample in drawn])
        assert np.abs(rows[["pose_pitch", "pose_yaw", "pose_roll"]] - poses).to_numpy().mean() < 8
        units = np.array([sample.action_units for sample in drawn])
        active = rows[[f"AU{unit}_active" for unit in ACTION_UNITS]].to_numpy()
        assert (active == (units >= 0.2)).mean() > 0.9


def test_a_row_is_what_a_reading_of_its_frame_gives(bundle: Path, video: Path, out: Path) -> None:
    assert run(bundle, video, "--parquet", out).exit_code == 0
    table = pyarrow.parquet.read_table(out).to_pylist()
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        for frame, row in list(zip(sampled_frames(video), table, strict=True))[::20]:
            (face,) = pipeline.read(frame.image)
            assert row["time_s"] == pytest.approx(frame.time_s) and row["frame"] == frame.index
            for name, unit in face.action_units.items():
                assert row[name] == pytest.approx(unit.presence, abs=2e-5)
                assert row[f"{name}_active"] == unit.active
                assert row[f"{name}_intensity"] == pytest.approx(unit.intensity, abs=2e-5)
            assert face.face is not None
            assert row["pose_yaw"] == pytest.approx(face.face.pose_degrees["yaw"], abs=1e-3)
            assert row["landmark_30_x"] == pytest.approx(float(face.face.landmarks[30, 0]), abs=1e-3)


def test_a_network_of_labels_gives_expressions_and_nothing_else(
    label_graph_bundle: Path, video: Path, out: Path
) -> None:
    words = (label_graph_bundle, video, "--detector", "whole")
    assert run(*words, "--parquet", out).exit_code == 0
    table = pyarrow.parquet.read_table(out).to_pylist()
    with EmotionPipeline.open(label_graph_bundle, device="cpu", detector=WholeImage()) as pipeline:
        for frame, row in list(zip(sampled_frames(video), table, strict=True))[::30]:
            (face,) = pipeline.read(frame.image)
            labels = {name: value for name, value in row.items() if name.startswith("p_")}
            assert labels == pytest.approx({f"p_{name}": value for name, value in face.probabilities.items()}, abs=2e-5)
            values = {name: value for name, value in row.items() if name.startswith("value_")}
            assert values == pytest.approx({f"value_{name}": value for name, value in face.values.items()}, abs=2e-5)
    assert not {"pose_yaw", "landmark_0_x", "AU12"} & set(table[0])
    assert run(*words, "--csv", out, "--format", "libreface", "--overwrite").exit_code == 0
    best = [max((value, name) for name, value in row.items() if name.startswith("p_"))[1] for row in table]
    assert [f"p_{row['facial_expression'].lower()}" for row in rows_of(out)] == best


def test_a_video_without_faces_has_a_row_a_frame(bundle: Path, video: Path, out: Path) -> None:
    done = run(bundle, video, "--csv", out, "--format", "openface", "--detector", "haar")
    assert done.exit_code == 0 and f"{FRAMES} frames, 0 faces" in done.stderr
    rows = rows_of(out)
    assert [row["frame"] for row in rows] == [str(index + 1) for index in range(FRAMES)]
    known = {"frame", "timestamp", "success"}
    assert all(row["success"] == "0" and not any(row[name] for name in row.keys() - known) for row in rows)


def test_a_jump_of_the_time_stamps_is_a_segment(bundle: Path, out: Path) -> None:
    times = [index / 30 for index in range(20)] + [500 + index / 30 for index in range(20)]
    video = made_videos.write(out.parent / "jump.mkv", times)
    assert run(bundle, video, "--csv", out).exit_code == 0
    rows = rows_of(out)
    assert [row["segment"] for row in rows] == ["0"] * 20 + ["1"] * 20
    assert [row["face_id"] for row in rows] == ["0"] * 20 + ["1"] * 20
    assert float(rows[20]["time_s"]) == 0 and 0 < float(rows[20]["elapsed_s"]) < 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("stopped", [1, 3, 4])
def test_a_run_that_is_stopped_goes_on(
    bundle: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: int, suffix: str
) -> None:
    words = (bundle, video, f"--{suffix}")
    assert run(*words, tmp_path / f"whole.{suffix}").exit_code == 0
    computed: list[int] = []
    rows = FaceNetwork.rows

    def until_stopped(network: FaceNetwork, crops: Any) -> Any:
        if len(computed) == stopped:
            raise KeyboardInterrupt
        computed.append(len(crops))
        return rows(network, crops)

    monkeypatch.setattr(FaceNetwork, "rows", until_stopped)
    target = tmp_path / f"faces.{suffix}"
    ended = run(*words, target)
    assert ended.exit_code == 130 and not target.exists()
    assert f"stopped after {stopped * FRAMES_AT_ONCE} frames; the same command goes on from there" in ended.stderr
    monkeypatch.undo()
    record = tmp_path / f".{target.name}{JOURNAL_SUFFIX}"
    with record.open("ab") as file:
        file.write(b"torn")
    monkeypatch.setattr(FaceNetwork, "rows", lambda self, crops: computed.append(len(crops)) or rows(self, crops))
    done = run(*words, target)
    assert done.exit_code == 0 and f"{FRAMES} frames, {FRAMES} faces" in done.stderr
    assert sum(computed) == FRAMES, "no frame is computed twice"
    assert target.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes() and not record.exists()


def command(*words: object) -> list[str]:
    code = "import sys; from emo_edge.cli import main; sys.argv[0] = 'emo-edge'; main()"
    return [sys.executable, "-c", code, "track", *map(str, words), "--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawing that moves through pictures large enough for a few seconds of work."""
    path, face = tmp_path_factory.mktemp("long") / "long.mp4", packaged_samples(1)[0].image
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.height, stream.width = face.shape[:2]
        stream.pix_fmt = "yuv420p"
        for index in range(600):
            frame = av.VideoFrame.from_ndarray(np.roll(face, index % 40, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=str)
def test_a_process_that_is_killed_goes_on(
    bundle: Path, long_video: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    whole, target = tmp_path / "whole.csv", tmp_path / "faces.csv"
    words = (bundle, long_video, "--detector", "haar", "--format", "openface")
    subprocess.run(command(*words, "--csv", whole), check=True, capture_output=True)
    record = tmp_path / f".{target.name}{JOURNAL_SUFFIX}"
    with subprocess.Popen(command(*words, "--csv", target), stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (record.exists() and record.stat().st_size > 100_000):
            pass
        os.kill(process.pid, number)
        _, errors = process.communicate()
    assert process.returncode == code, errors
    assert record.exists() and not target.exists() and "Traceback" not in errors
    done = subprocess.run(command(*words, "--csv", target), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.csv", "whole.csv"]
    assert {row["success"] for row in rows_of(target)} == {"1"}


def test_a_part_of_a_table_that_a_kill_left_is_written_over(bundle: Path, video: Path, out: Path) -> None:
    out.with_name(f".{out.name}{JOURNAL_SUFFIX}-table").write_text("part", encoding="utf-8")
    assert run(bundle, video, "--csv", out).exit_code == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name] and len(rows_of(out)) == FRAMES


def test_settings_that_changed_begin_anew(
    bundle: Path, video: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, calls = FaceNetwork.rows, list[int]()

    def refuse_second(network: FaceNetwork, crops: Any) -> Any:
        if calls:
            raise KeyboardInterrupt
        calls.append(len(crops))
        return rows(network, crops)

    monkeypatch.setattr(FaceNetwork, "rows", refuse_second)
    assert run(bundle, video, "--csv", out).exit_code == 130
    monkeypatch.undo()
    again = run(bundle, video, "--csv", out, "--min-face", "0.1")
    assert (
        again.exit_code == 0 and "a stopped run of other settings, or of another video, is begun anew" in again.stderr
    )


def test_a_file_that_is_cut_off_has_the_rows_that_are_there(bundle: Path, video: Path, out: Path) -> None:
    cut = out.parent / "cut.mkv"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    done = run(bundle, cut, "--csv", out)
    assert done.exit_code == 4 and f"Error: {cut}: cut off" in done.stderr
    assert 0 < len(rows_of(out)) < FRAMES
    assert not list(out.parent.glob(f".*{JOURNAL_SUFFIX}"))


def test_several_videos_are_a_file_each_and_finished_ones_stay(bundle: Path, video: Path, tmp_path: Path) -> None:
    other = made_videos.write(tmp_path / "other.mkv", STEPS[:20])
    folder = tmp_path / "out"
    words = (bundle, video, tmp_path / "gone.mkv", other, "--csv", folder, "--format", "libreface")
    done = run(*words)
    assert done.exit_code == 4 and f"Error: {tmp_path}/gone.mkv: no such file" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, "clip.csv", "other.csv"]
    assert (len(rows_of(folder / "clip.csv")), len(rows_of(folder / "other.csv"))) == (FRAMES, 20)
    (folder / "other.csv").unlink()
    again = run(bundle, video, other, "--csv", folder, "--format", "libreface")
    assert again.exit_code == 0 and f"{video}: finished before, {folder}/clip.csv is left as it is" in again.stderr
    assert len(rows_of(folder / "other.csv")) == 20
    refused = run(bundle, video, other, "--csv", folder, "--format", "openface")
    assert refused.exit_code == 4 and refused.stderr.count("is there already; remove it") == 2
    assert "frame_idx" in rows_of(folder / "clip.csv")[0]
    replaced = run(bundle, video, other, "--csv", folder, "--format", "openface", "--overwrite")
    assert replaced.exit_code == 0 and "timestamp" in rows_of(folder / "clip.csv")[0]


def test_two_videos_of_one_name_have_a_file_each(bundle: Path, tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 7)):
        (tmp_path / name).mkdir()
        made_videos.write(tmp_path / name / "clip.mkv", STEPS[:count])
    assert run(bundle, *tmp_path.glob("?/clip.mkv"), "--csv", tmp_path / "out").exit_code == 0
    assert sorted(len(rows_of(path)) for path in (tmp_path / "out").glob("clip*.csv")) == [5, 7]


def test_a_name_that_is_not_utf_8(bundle: Path, video: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.mkv")
    odd.write_bytes(video.read_bytes())
    for option in ("csv", "parquet"):
        folder = tmp_path / option
        folder.mkdir()
        done = run(bundle, odd, f"--{option}", folder)
        assert done.exit_code == 0, done.stderr
        assert os.listdir(os.fsencode(folder)).count(b"caf\xe9." + option.encode()) == 1
    (path,) = (tmp_path / "csv").glob("*.csv")
    assert rows_of(path)[0]["source"] == f"$'{tmp_path}/caf\\xe9.mkv'"


def test_a_password_is_written_nowhere(bundle: Path, tmp_path: Path) -> None:
    address = "rtsp://me:secret@127.0.0.1:9/live"
    done = run(bundle, address, "--csv", tmp_path / "out.csv")
    assert done.exit_code == 6 and "127.0.0.1" in done.stderr and "secret" not in done.output
    assert not list(tmp_path.iterdir())
    done = run(address, "clip.mp4", "--csv", tmp_path / "out.csv")
    assert done.exit_code == 4 and "the bundle comes before the videos" in done.stderr and "secret" not in done.output


@pytest.fixture
def address(video: Path) -> Iterator[str]:
    """The video from a server that asks for a password, with a secret in the query."""
    handler = partial(QuietHandler, directory=str(video.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}/{video.name}?token=secret"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("option", ["csv", "parquet"])
def test_an_address_is_a_table_without_its_password(bundle: Path, address: str, tmp_path: Path, option: str) -> None:
    target = tmp_path / f"out.{option}"
    done = run(bundle, address, f"--{option}", target)
    assert done.exit_code == 0 and f"{FRAMES} frames, {FRAMES} faces" in done.stderr, done.stderr
    assert b"secret" not in target.read_bytes() and "secret" not in done.output
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    if option == "csv":
        assert rows_of(target)[0]["source"].startswith("http://127.0.0.1:")


def test_ctrl_c_ends_the_table_of_an_address_with_what_is_there(
    bundle: Path, address: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, calls = FaceNetwork.rows, list[int]()

    def until_third(network: FaceNetwork, crops: Any) -> Any:
        calls.append(len(crops))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return rows(network, crops)

    monkeypatch.setattr(FaceNetwork, "rows", until_third)
    done = run(bundle, address, "--csv", out)
    assert done.exit_code == 130 and f"stopped after {2 * FRAMES_AT_ONCE} frames, which are written" in done.stderr
    assert len(rows_of(out)) == 2 * FRAMES_AT_ONCE and [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_neutral_face_is_subtracted_from_intensities_alone(bundle: Path, video: Path, out: Path) -> None:
    assert run(bundle, video, "--csv", out).exit_code == 0
    neutral = out.with_name("neutral.csv")
    assert run(bundle, video, "--csv", neutral, "--neutral", "1s").exit_code == 0
    plain, less = pandas.read_csv(out), pandas.read_csv(neutral)
    intensities = [name for name in plain if name.endswith("_intensity")]
    first = plain[plain["elapsed_s"] <= 1.0]
    for name in intensities:
        offset = np.percentile(first[name], 5, method="inverted_cdf")
        np.testing.assert_allclose(less[name], np.maximum(plain[name] - offset, 0), atol=0.0051)
    assert (plain[intensities].max() > less[intensities].max()).any()
    rest = plain.columns.difference(intensities)
    pandas.testing.assert_frame_equal(plain[rest], less[rest])


@pytest.mark.parametrize("method", ["append", "batches"])
def test_a_disk_that_is_full_ends_the_run_and_keeps_what_is_whole(
    bundle: Path, video: Path, out: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    whole, calls = getattr(Journal, method), list[str]()

    def full_at_the_second(journal: Journal, *words: Any) -> Any:
        calls.append(method)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(journal, *words)

    monkeypatch.setattr(Journal, method, full_at_the_second)
    done = run(bundle, video, "--csv", out)
    assert done.exit_code == 4 and "cannot be written (No space left on device); make room" in done.stderr
    assert [path.name for path in out.parent.iterdir()] == [f".{out.name}{JOURNAL_SUFFIX}"]
    monkeypatch.undo()
    assert run(bundle, video, "--csv", out).exit_code == 0 and len(rows_of(out)) == FRAMES


def test_two_runs_do_not_write_one_table(bundle: Path, video: Path, out: Path) -> None:
    with FileLock(lock_path(out)):
        done = run(bundle, video, "--csv", out)
    assert done.exit_code == 4 and "another process is writing there" in done.stderr and not out.exists()


def test_a_table_that_another_run_finishes_meanwhile_stays(
    bundle: Path, video: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished_by_another(path: Path) -> FileLock:
        out.write_text("theirs")
        return FileLock(path)

    monkeypatch.setattr(run_module, "FileLock", finished_by_another)
    done = run(bundle, video, "--csv", out)
    assert done.exit_code == 4 and "is there already" in done.stderr and out.read_text() == "theirs"
    out.unlink()
    monkeypatch.undo()
    write_table = run_module.write_table

    def written_by_another(*arguments: Any, **options: Any) -> int:
        out.write_text("theirs")
        return write_table(*arguments, **options)

    monkeypatch.setattr(run_module, "write_table", written_by_another)
    done = run(bundle, video, "--csv", out)
    assert done.exit_code == 4 and "has written it meanwhile" in done.stderr and out.read_text() == "theirs"
    monkeypatch.undo()
    assert run(bundle, video, "--csv", out, "--overwrite").exit_code == 0 and len(rows_of(out)) == FRAMES


def test_two_runs_into_one_folder_lose_no_record(tmp_path: Path) -> None:
    targets = [Targets((tmp_path / f"{number}.csv",), tmp_path) for number in range(8)]
    threads = [Thread(target=one.note_finished, args=(one.paths[0], "made")) for one in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(targets[0].finished()) == [f"{number}.csv" for number in range(8)]


@pytest.mark.parametrize("option", ["--table", "--draw"])
def test_of_two_readings_into_one_file_one_is_refused(bundle: Path, tmp_path: Path, option: str) -> None:
    """Two processes of ``emo-edge infer``: the network alone, so that both begin at once."""
    target = tmp_path / ("out.csv" if option == "--table" else "out.jpg")
    sample = packaged_samples(1)[0].image
    write_image(tmp_path / "face.png", sample)
    code = "from emo_edge.cli import main; main()"
    command = [sys.executable, "-c", code, "infer", bundle, tmp_path / "face.png", "--whole-image", option, target]
    started = [subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 4], errors
    refused = errors[codes.index(4)]
    assert "another run is writing it" in refused or "is there already" in refused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.png", target.name]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("odd")
    write_image(folder / "still.png", np.zeros((40, 40, 3), np.uint8))
    (folder / "notes.txt").write_text("no video", encoding="utf-8")
    os.mkfifo(folder / "pipe")
    (folder / "old.csv").write_text("mine", encoding="utf-8")
    yield folder


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("still.png", "--csv", "o.csv"), 2, "is a still picture, and a face is followed through a video"),
        (("-", "--csv", "o.csv"), 2, "- is a pipe, and a stopped run reads its video again: save it as a file"),
        (("pipe", "--csv", "o.csv"), 2, "pipe is a pipe, and"),
        ((".", "--csv", "o.csv"), 2, "is a folder, not a video"),
        (("0", "--csv", "o.csv"), 2, "is a camera, which has no end: use emo-edge live"),
        (("VIDEO", "still.png", "--csv", "o.csv"), 2, "is a still picture"),
        (("VIDEO",), 2, "choose one of --csv and --parquet"),
        (("VIDEO", "--csv", "o.csv", "--parquet", "o.parquet"), 2, "choose one of --csv and --parquet"),
        (("VIDEO", "VIDEO", "--csv", "o.csv"), 2, "several videos are written into a folder"),
        (("VIDEO", "--csv", "o.csv", "--format", "openfaces"), 2, "'openfaces' is not one of"),
        (("VIDEO", "--csv", "o.csv", "--neutral", "soon"), 2, "is no duration"),
        (("notes.txt", "--csv", "o.csv"), 4, "is not read"),
        (("gone.mp4", "--csv", "o.csv"), 4, "no such file"),
        (("VIDEO", "--csv", "old.csv"), 4, "is there already; remove it, choose another name or --overwrite"),
        (("VIDEO", "--csv", "gone/o.csv"), 4, "there is no folder gone"),
        (("VIDEO", "--csv", "VIDEO", "--overwrite"), 4, "would replace the source"),
        (("VIDEO", "--csv", "o.csv", "--detector", "harr"), 4, "did you mean haar"),
    ],
)
def test_words_that_are_none_are_errors(
    bundle: Path,
    video: Path,
    odd: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(odd)
    content = video.read_bytes()
    done = run(bundle, *(video if word == "VIDEO" else word for word in words))
    assert done.exit_code == code and message in done.stderr, done.stderr
    assert not (odd / "o.csv").exists() and (odd / "old.csv").read_text() == "mine" and video.read_bytes() == content


def test_a_bundle_without_units_has_no_columns_for_them(video: Path, out: Path) -> None:
    plain = write_unit_bundle(out.parent / "plain", units=())
    done = run(plain, video, "--csv", out)
    assert done.exit_code == 0 and "units gives no action units: the table has no columns for them" in done.stderr
    assert not [name for name in rows_of(out)[0] if name.startswith("AU")]
    done = run(plain, video, "--csv", out.with_name("n.csv"), "--neutral", "2s")
    assert done.exit_code == 4 and "leave --neutral out" in done.stderr


def test_a_bundle_without_a_face_network_is_refused(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    parts = opened.manifest.components.model_copy(update={"face": None})
    without = Bundle(opened.directory, opened.manifest.model_copy(update={"components": parts}))
    with pytest.raises(BundleError, match="has no face network, so there is nothing to follow"):
        FaceNetwork.open(without, device="cpu", profile=None, threads=None)


def test_help_names_every_format() -> None:
    done = run("--help")
    words = " ".join(done.stdout.split())
    assert done.exit_code == 0 and "[openface|py-feat|libreface|emo-edge]" in words
    assert "A run that was stopped goes on with the same command." in words


@pytest.mark.slow
def test_no_language_model_is_opened(tiny_bundle: Path, video: Path, out: Path) -> None:
    code = (
        "import atexit, sys\n"
        "loaded = lambda: print([name for name in ('llama_cpp', 'tokenizers', 'torch') if name in sys.modules])\n"
        "atexit.register(loaded)\n"
        "from emo_edge.cli import main\n"
        "main()\n"
    )
    words = ["track", str(tiny_bundle), str(video), "--csv", str(out), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]" and len(rows_of(out)) == FRAMES
