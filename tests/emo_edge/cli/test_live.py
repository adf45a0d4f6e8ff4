"""``emo-edge live`` as a user runs it: events of the schema, exit codes, a stream that ends, SIGTERM in a reading."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cv2
import jsonschema
import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge.benchmarks.hostile.small_bundle import write_small_bundle
from emo_edge.cli.live.command import main
from emo_edge.console.children import code_command
from emo_edge.media.videos import sampled_frames
from tests.made_videos import marked, write
from tests.unit_bundles import write_unit_bundle

SCHEMA = json.loads((Path(emo_edge.__file__).parent / "schemas" / "live-event-1.json").read_text(encoding="utf-8"))
MOST_SECONDS = 2.0
PATIENCE = 60
BROKEN = 4
"""Frame of the stream that lacks its second half."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("live") / "bundle")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("live") / "clip.mp4", [index / 10 for index in range(12)])


def live(*arguments: object) -> Any:
    return CliRunner().invoke(main, [*map(str, arguments), "--device", "cpu", "--detector", "whole"])


def lines_of(output: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    return lines


def test_a_file_gives_events_of_the_schema(bundle: Path, video: Path) -> None:
    done = live(bundle, video, "--jsonl")
    assert done.exit_code == 0, done.output
    run, *events = lines_of(done.stdout)
    assert run["kind"] == "run" and run["max_age_ms"] == 500 and run["pulse"] is False and run["settings"]["labels"]
    frames = [event for event in events if event["kind"] == "frame"]
    assert [frame["index"] for frame in frames] == list(range(12))
    assert [event["state"] for event in events if event["kind"] == "source"] == ["opening", "playing", "ended"]
    assert [(event["change"], event["id"]) for event in events if event["kind"] == "track"] == [("born", 1)]
    (face,) = frames[-1]["faces"]
    assert face["label"] in face["probabilities"] and sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert face["box"] == [0, 0, 64, 64] and frames[-1]["size"] == [64, 64]


def test_the_stated_purpose_is_in_the_settings(bundle: Path, video: Path) -> None:
    stated, plain = (lines_of(live(bundle, video, "--jsonl", *more).stdout)[0] for more in (["--purpose", "other"], []))
    assert stated["settings"] == {**plain["settings"], "deployment_purpose": "other"}
    assert live(bundle, video, "--purpose", "work").exit_code == 2


def test_without_emotions_there_are_units_and_no_label(video: Path, tmp_path: Path) -> None:
    units = write_unit_bundle(tmp_path / "units", labels=("happiness", "anger"))
    labelled = lines_of(live(units, video, "--jsonl").stdout)
    done = live(units, video, "--no-emotions", "--jsonl")
    assert done.exit_code == 0, done.stderr
    for lines, count in ((labelled, 2), (lines_of(done.stdout), 0)):
        faces = [face for event in lines if event["kind"] == "frame" for face in event["faces"]]
        assert faces and all(len(face["probabilities"]) == count and face["action_units"] for face in faces)
        assert len(lines[0]["settings"]["labels"]) == count
    assert "#1 no active unit" in live(units, video, "--no-emotions").stdout


def test_frames_are_thinned_and_their_drops_add_up(bundle: Path, video: Path) -> None:
    events = lines_of(live(bundle, video, "--jsonl", "--every", "500ms").stdout)
    assert [event["index"] for event in events if event["kind"] == "frame"] == [0, 5, 10]
    assert [event["change"] for event in events if event["kind"] == "track"] == ["born"]


def test_a_duration_ends_with_success(bundle: Path, video: Path) -> None:
    done = live(bundle, video, "--jsonl", "--duration", "400ms")
    assert done.exit_code == 0 and [line.get("index") for line in lines_of(done.stdout)][-1] == 4


def test_csv_has_a_row_a_face(bundle: Path, video: Path) -> None:
    done = live(bundle, video, "--csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert done.exit_code == 0 and len(rows) == 11, "the first frame's face has no id yet"
    assert rows[0]["id"] == "1" and rows[0]["label"] in ("happiness", "sadness", "neutral")
    assert float(rows[0][f"p_{rows[0]['label']}"]) > 0


@pytest.fixture(scope="module")
def smoothing_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle with settings of live labels."""
    copy = tmp_path_factory.mktemp("live") / "smoothing"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    manifest["live"] = {"smoothing": {"method": "hidden_markov", "tau_s": 1.0, "alpha": 0.5}, "unchanged": 1.5}
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def test_smoothed_labels_stand_next_to_raw_ones(bundle: Path, smoothing_bundle: Path, video: Path) -> None:
    run, *events = lines_of(live(smoothing_bundle, video, "--jsonl").stdout)
    assert run["smoothing"]["tau_s"] == 1.0 and run["unchanged"] == 1.5
    faces = [face for event in events if event["kind"] == "frame" for face in event["faces"]]
    assert all(sum(face["smoothed"].values()) == pytest.approx(1, abs=1e-3) for face in faces)
    assert faces[-1]["smoothed_label"] == max(faces[-1]["smoothed"], key=faces[-1]["smoothed"].get)
    moments = [event for event in events if event["kind"] == "expression"]
    assert all(event["label"] != "neutral" for event in moments)
    rows = list(csv.DictReader(live(smoothing_bundle, video, "--csv").stdout.splitlines()))
    assert rows[-1]["smoothed_label"] == faces[-1]["smoothed_label"] and rows[-1]["source"] == str(video)
    run, *events = lines_of(live(bundle, video, "--jsonl").stdout)
    assert run["smoothing"] is None and all(event["kind"] != "expression" for event in events)
    assert all(face["smoothed"] is None for event in events if event["kind"] == "frame" for face in event["faces"])
    assert "s_happiness" not in live(bundle, video, "--csv").stdout


def test_several_sources_are_named(bundle: Path, video: Path, tmp_path: Path) -> None:
    other = shutil.copy(video, tmp_path / "other.mp4")
    events = lines_of(live(bundle, video, other, "--jsonl").stdout)[1:]
    assert {event["source"] for event in events} == {str(video), str(other)}
    done = live(bundle, video, other)
    assert done.exit_code == 0 and {line.split("  ")[0] for line in done.stdout.splitlines()} == {
        str(video),
        str(other),
    }


def test_a_recording_of_a_file(bundle: Path, video: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    done = live(bundle, video, "--record", target, "--jsonl")
    assert done.exit_code == 0, done.output
    dropped = [event["dropped"] for event in lines_of(done.stdout) if event["kind"] == "frame"]
    assert dropped == 12 * [{"overtaken": 0, "damaged": 0, "record": 0}]
    times = [frame.time_s for frame in sampled_frames(target)]
    assert times == pytest.approx([index / 10 for index in range(12)], abs=1e-3)
    done = live(bundle, video, "--record", target)
    assert done.exit_code == 4 and "--overwrite" in done.stderr
    assert live(bundle, video, "--record", target, "--overwrite", "--duration", "300ms").exit_code == 0
    assert len(list(sampled_frames(target))) == 4


def test_a_window_that_nobody_can_open_names_the_server(bundle: Path, video: Path) -> None:
    done = live(bundle, video, "--overlay")
    assert done.exit_code == 3 and "emo-edge serve" in done.stderr


def test_piped_text_is_a_few_lines(bundle: Path, video: Path) -> None:
    done = live(bundle, video)
    assert done.exit_code == 0 and 1 <= len(done.stdout.splitlines()) <= 6
    assert done.stdout.splitlines()[-1].startswith("1.1 s  ") and " #1 " in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--max-age", "0"), 2, "is no duration: write 500ms"),
        (("--max-age", "soon"), 2, "is no duration"),
        (("--jsonl", "--csv"), 2, "choose one of --jsonl and --csv"),
        (("--pulse", "--csv"), 2, "--pulse is printed as text and by --jsonl"),
        (("--micro-expressions",), 2, "--micro-expressions are printed by --jsonl alone"),
        (("--every", "1s"), 2, "--every is an option of --jsonl and --csv"),
        (("--labels", "none"), 4, "none"),
        (("other.mp4", "--record", "out.mp4"), 2, "--record takes one source"),
        (("--overwrite",), 2, "--overwrite is an option of --record"),
    ],
)
def test_wrong_options_are_refused(
    bundle: Path, video: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = live(bundle, video, *arguments)
    assert done.exit_code == code and message in done.stderr


def test_a_folder_and_an_address_for_a_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    done = live(bundle, tmp_path)
    assert done.exit_code == 4 and "live reads a camera, a stream or a video" in done.stderr
    done = live("rtsp://us:se-cret@camera.invalid/1", bundle)
    assert done.exit_code == 4 and "the bundle comes before the source" in done.stderr and "se-cret" not in done.stderr


class Camera(BaseHTTPRequestHandler):
    """Sends eight JPEGs one after another, one of them by half, and ends."""

    pictures: ClassVar[list[bytes]] = [cv2.imencode(".jpg", marked(index))[1].tobytes() for index in range(8)]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
        self.end_headers()
        for index, picture in enumerate(self.pictures):
            sent = picture[: len(picture) // 2] if index == BROKEN else picture
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(sent))
            self.wfile.write(sent + b"\r\n")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://us:se-cret@127.0.0.1:{server.server_address[1]}/stream?token=se-cret"
        server.shutdown()
        thread.join()


def test_a_stream_that_ends_is_a_lost_source_and_shows_no_password(bundle: Path, address: str) -> None:
    done = live(bundle, address, "--jsonl", "-v")
    assert done.exit_code == 6, done.output
    events = lines_of(done.stdout)
    frames = [event for event in events if event["kind"] == "frame"]
    assert 1 <= len(frames) <= 8 and events[-1]["kind"] == "source" and events[-1]["state"] == "lost"
    assert re.search("the stream (ended|broke off)", done.stderr) and "Traceback" not in done.stderr
    assert "se-cret" not in done.stdout + done.stderr and "127.0.0.1" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="waits for a system with SIGTERM for a process alone")
def test_sigterm_in_a_reading_ends_in_time_with_all_printed(bundle: Path, video: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    words = [
        "live",
        str(bundle),
        str(video),
        "--device",
        "cpu",
        "--detector",
        "whole",
        "--jsonl",
        "--record",
        str(target),
    ]
    slow = """
import sys, time
from emo_edge.inference.pipeline import EmotionPipeline
def read(self, *arguments, **options):
    print("reading", file=sys.stderr, flush=True)
    time.sleep(600)
EmotionPipeline.read = read
from emo_edge.cli.app import main
"""
    with subprocess.Popen(
        code_command(f"{slow}main({words!r})"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None and process.stderr.readline() == "reading\n"
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        output, errors = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - started < MOST_SECONDS
    assert process.returncode == 143 and "interrupted after 1 frames" in errors and "Traceback" not in errors
    assert [line["kind"] for line in lines_of(output)][:2] == ["run", "source"]
    assert len(list(sampled_frames(target))) == 1 and [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
