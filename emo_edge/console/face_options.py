"""Options of every command that searches for faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
DETECTOR_HELP = (
    "Face detector: auto (the bundle's own), mtcnn, yunet (see emo-edge detector get), haar, whole, or the ONNX file "
    "of YuNet."
)


def face_options(command: Command) -> Command:
    """Add ``--detector``, ``--min-score``, ``--min-face`` and ``--max-faces``."""
    fraction = click.FloatRange(0, 1)
    options = (
        click.option("--detector", metavar="NAME|FILE", default="auto", show_default=True, help=DETECTOR_HELP),
        click.option("--min-score", type=fraction, help="Least score of a face; the default is the detector's own."),
        click.option("--min-face", type=fraction, help="Smallest face, as a fraction of the picture's shorter side."),
        click.option("--max-faces", type=click.IntRange(1), help="Number of faces of a picture, the largest ones."),
    )
    for option in reversed(options):
        command = option(command)
    return command
