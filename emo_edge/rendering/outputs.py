"""Output files of drawings: one picture, one video, or a folder with one picture a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.results import SourceResult
from emo_edge.media.images import EXTENSIONS, write_image
from emo_edge.media.sources import classify_source
from emo_edge.rendering.annotate import annotated
from emo_edge.rendering.annotate_video import CODECS, write_annotated_video
from emo_edge.rendering.drawing_names import DrawingNames, check_target, draws_a_folder, refuse_sources
from emo_edge.storage.output_files import OutputFile, require_free
from emo_edge.storage.own_outputs import claim_names, release_names
from emo_edge.utils.text import readable_name


class Drawer:
    """Draws images as they are read, and a video when all its clips are read; a context manager.

    One source is drawn to one file: a video where the name asks for one (.mp4, .avi), else a picture, of a clip its
    middle frame, the latest one of a stream. Several sources, or a folder, are drawn as pictures in a folder.
    """

    def __init__(
        self,
        target: Path,
        sources: Sequence[str],
        detector: FaceDetector,
        *,
        overwrite: bool,
        report: Callable[[str], None] | None = None,
    ) -> None:
        """Check that the drawings can be written, before anything is read; raise InputError if not.

        The name of a single drawing is this run's own until the end.
        """
        self._report = report or partial(echo, err=True)
        self.target, self.detector, self.overwrite = target, detector, overwrite
        check_target(target, sources)
        self.several = draws_a_folder(sources)
        self.as_video = not self.several and target.suffix.lower() in CODECS
        self._clips: list[SourceResult] = []
        self._drawn = False
        self._written: list[Path] = []
        self._output: OutputFile | None = None
        self._names = DrawingNames(target, sources if self.several else [])
        if self.several:
            self._names.check(overwrite=overwrite)
            try:
                target.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{target}: cannot be a folder for drawings: {error.strerror}") from error
            self._claim(target)
        else:
            self._check_file(sources[0])
            self._output = OutputFile(target, overwrite=overwrite, suffix=target.suffix)

    def _check_file(self, source: str) -> None:
        if self.target.suffix.lower() not in (*EXTENSIONS, *CODECS):
            raise InputError(f"{self.target}: a drawing ends in one of {', '.join((*EXTENSIONS, *CODECS))}")
        if not self.target.parent.is_dir():
            raise InputError(f"{self.target}: there is no folder {self.target.parent}")
        refuse_sources([self.target], [source])
        require_free(self.target, overwrite=self.overwrite)
        if self.as_video and classify_source(source) != "video":
            raise InputError(f"{self.target}: only a video file is drawn as a video; give a picture's name")

    def add(self, result: SourceResult) -> None:
        """Draw a result, or keep a clip's until its video is complete."""
        if self.as_video:
            self._clips.append(replace(result, image=None))
        elif result.image is not None:
            path = self._names.path(result.source) if self.several else self.target
            drawing = annotated(result.image, result.faces)
            if self.several:
                self._claim(path)
            write_image(path, drawing, overwrite=self.overwrite or (self._drawn and not self.several))
            self._drawn = True
            self._report(f"drawn: {readable_name(str(path))}")

    def finish(self, progress: Callable[[str, int, int], None]) -> None:
        """Write the video, if there is one."""
        if self._clips and self._output:
            write_annotated_video(
                self._clips[0].source,
                self._output,
                self._clips,
                self.detector,
                progress=lambda done, total: progress(str(self.target), done, total),
            )
            self._report(f"drawn: {readable_name(str(self.target))}")

    def _claim(self, path: Path) -> None:
        """Keep a folder that is read later from counting a drawing among its pictures."""
        claim_names([path])
        self._written.append(path)

    def discard(self) -> None:
        """Remove a drawing under way and give its name back; a second call does nothing."""
        if self._output:
            self._output.close()
        release_names(self._written)

    def __enter__(self) -> Drawer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
