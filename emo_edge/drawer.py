"""Where drawings go: one picture, one video, or a folder with one of them for every source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from emo_edge.detected_faces import FaceDetector
from emo_edge.drawing import annotated
from emo_edge.errors import InputError
from emo_edge.images import write_image
from emo_edge.results import Result
from emo_edge.sources import classify_source
from emo_edge.video_drawing import CODECS, write_annotated_video


class Drawer:
    """Draws images as they are read, and a video when all its clips are.

    A clip is drawn as a video where the name asks for one (.mp4, .avi), else as its middle frame.
    """

    def __init__(self, target: Path, detector: FaceDetector, *, several: bool, overwrite: bool) -> None:
        self.target, self.detector = target, detector
        self.several, self.overwrite = several, overwrite
        self._clips: list[Result] = []
        if several:
            try:
                target.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{target}: cannot be a folder for drawings: {error.strerror}") from error
        elif target.exists() and not overwrite:
            raise InputError(f"{target}: is there already; remove it, choose another name or --overwrite")

    def add(self, result: Result) -> None:
        """Draw a result, or keep a clip's reading until its video is whole."""
        as_video = not self.several and self.target.suffix.lower() in CODECS
        if as_video and result.kind == "clip" and classify_source(result.source) == "video":
            self._clips.append(replace(result, image=None))
        elif result.image is not None:
            name = Path(result.source).stem or "source"
            path = self.target / f"{name}.jpg" if self.several else self.target
            write_image(path, annotated(result.image, result.readings), overwrite=self.overwrite)
            click.echo(f"drawn: {path}", err=True)

    def finish(self) -> None:
        """Write the video, if there is one."""
        if self._clips:
            source = self._clips[0].source
            write_annotated_video(source, self.target, self._clips, self.detector, overwrite=self.overwrite)
            click.echo(f"drawn: {self.target}", err=True)
