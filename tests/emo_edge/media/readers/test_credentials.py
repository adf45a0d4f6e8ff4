"""Credentials of addresses and GStreamer pipelines are in nothing that is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.media.readers.credentials import drawing_stem, unknown_text, without_credentials
from emo_edge.media.sources import without_password

SHOWN = {
    "rtmp://host/live?secret live=1": "rtmp://host/live?***",
    "rtmp://us:pw@host:1935/app/secret?k=1": "rtmp://host:1935/app/***?k=***",
    "RTMPS://host/app/instance/secret": "RTMPS://host/app/***",
    "rtmp://host/app/": "rtmp://host/app/",
    "rtmp://host": "rtmp://host",
    "src location=rtmp://host/app/secret ! appsink": "src location=rtmp://host/app/*** ! appsink",
    "rtsp://u:p@host/a@b": "rtsp://host/a@b",
    "rtsp://us:se@cret@host:554/live?token=abc&quick#part": "rtsp://host:554/live?token=***&***#***",
    "rtsp://us:se cret@host/x": "rtsp://host/x",
    "rtsp://us:se/cret@host/x": "rtsp://host/x",
    "rtsp://us:se?c#ret@host/x": "rtsp://host/x",
    "rtsp://u:p@ss/w@rd@127.0.0.1:1/x": "rtsp://127.0.0.1:1/x",
    "rtsp://u:p@ss/w?r#d@camera.local/x": "rtsp://camera.local/x",
    "rtsp://u:p@ss/word@[::1]/x": "rtsp://[::1]/x",
    "concat:http://us:secret@h/a": "concat:http://h/a",
    "concat:http://us:secret@h/a?t=1|http://me:hidden@h/b?t=2": "concat:http://h/a?t=***",
    "concat:http://us:secret@h/a|http://me:hidden@h/b?t=2": "concat:http://h/a|http://h/b?t=***",
    "crypto:http://h/x": "crypto:http://h/x",
    "my_cam://us:secret@h/x": "my_cam://h/x",
    "us:secret@my_cam://h/x": "my_cam://h/x",
    "://us:secret@h/x": "://h/x",
    "dir/p://x.jpg": "dir/p://x.jpg",
    "http://proxy/http://us:secret@h/x": "http://proxy/http://h/x",
    "filesrc location=a_b://us:secret@c ! appsink": "filesrc location=a_b://c ! appsink",
    "src uri=concat:http://us:secret@h/a?t=1 ! appsink": "src uri=concat:http://h/a?t=*** ! appsink",
    "RTSP://token@[::1]:554/x": "RTSP://[::1]:554/x",
    "http://host:80/@user/live": "http://host:80/@user/live",
    "http://h/a;session=1/b?x=1;y=2": "http://h/a;session=***/b?x=***;y=***",
    "http://h/user=admin_password=1_channel=1.sdp": "http://h/***",
    "http://h/width=640/a.mp4": "http://h/width=640/a.mp4",
    "ftp://us:secret@h/x": "ftp://h/x",
    "rtspsrc location=rtsp://us:p@h/x?t=1 user-id=us latency=0 ! appsink": (
        "rtspsrc location=rtsp://h/x?t=*** user-id=*** latency=0 ! appsink"
    ),
    'rtspsrc location="rtsp://us:p q@h/x" user-pw = "se cret" ! appsink': (
        "rtspsrc location=rtsp://h/x user-pw=*** ! appsink"
    ),
    'souphttpsrc "location=http://us:p@h/" extra-headers="a, b=c" proxy-pw=\'x y\' ! a': (
        "souphttpsrc location=http://h/ extra-headers=*** proxy-pw=*** ! a"
    ),
    "src user-pw=a\\ b ! video/x-raw,format=BGR ! appsink": "src user-pw=*** ! video/x-raw,format=BGR ! appsink",
    "rtsp://us:p@h ! decodebin ! appsink": "rtsp://h ! decodebin ! appsink",
    "https://us%3Asecret%40h/x": "https://h/x",
    "http://h/live%3Fpassword%3Dsecret/x": "http://h/***/x",
    "http://h/live%3Fsecret": "http://h/live%3F***",
    "http://h/user%3Dadmin_password%3Dsecret": "http://h/***",
    "http://h/100%25/caf%C3%A9.mp4": "http://h/100%25/caf%C3%A9.mp4",
    "src pin=1234 spinning=2 otp-code=3 ! appsink": "src pin=*** spinning=2 otp-code=*** ! appsink",
    "folder/us:p@x.jpg": "folder/us:p@x.jpg",
    "a ! b.jpg": "a ! b.jpg",
    "0": "0",
}


@pytest.mark.parametrize("source", SHOWN)
def test_a_source_is_shown_without_credentials(source: str) -> None:
    assert without_credentials(source) == without_password(source) == SHOWN[source]


def test_what_names_no_source_loses_them_without_a_scheme_too() -> None:
    assert unknown_text("rtsp:/us:se@cret@host/x") == unknown_text("us:secret@host/x") == "***@host/x"
    assert unknown_text("missing.jpg") == "missing.jpg"


def test_a_drawing_is_named_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a ! b.jpg").touch()
    wanted = {
        "folder/clip.mp4": "clip",
        "a ! b.jpg": "a ! b",
        "rtspsrc user-pw=secret location=rtsp://h/x ! appsink": "pipeline",
        "rtsp://us:secret@camera.local/live.sdp?token=secret": "live",
        "http://us:secret@h/": "h",
        "/dev/video0": "video0",
        "0": "0",
    }
    assert {source: drawing_stem(source) for source in wanted} == wanted
