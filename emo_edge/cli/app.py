"""The command line: ``emo-edge COMMAND``."""

from __future__ import annotations

import click

from emo_edge import __version__
from emo_edge.console.commands import LazyCommand, LazyGroup
from emo_edge.console.terminal import escape_warnings
from emo_edge.machine.waiting_threads import limit_spinning
from emo_edge.telemetry import stay_offline

stay_offline()
limit_spinning()

COMMANDS = {
    "demo": LazyCommand(
        "emo_edge.cli.demo:main", "Export emo-tiny, read the packaged drawings, print the cost of each profile."
    ),
    "import": LazyCommand(
        "emo_edge.cli.import_:main",
        "Turn an upstream model's pieces into one checkpoint, or a GGUF and its mmproj into a bundle.",
    ),
    "export": LazyCommand("emo_edge.cli.export:main", "Turn CHECKPOINT into one verified bundle."),
    "export-triton": LazyCommand(
        "emo_edge.cli.export_triton:main", "Write BUNDLE as a model repository of NVIDIA's Triton server."
    ),
    "calibrate": LazyCommand(
        "emo_edge.cli.calibrate:main", "Quantize BUNDLE with statistics of its own prompts and frames, inside gates."
    ),
    "infer": LazyCommand("emo_edge.cli.infer:main", "Read the faces in SOURCES with BUNDLE."),
    "label": LazyCommand(
        "emo_edge.cli.label:main", "Write a row for every face in SOURCES to Parquet files, with BUNDLE."
    ),
    "track": LazyCommand(
        "emo_edge.cli.signals.track:main",
        "Write a row for every face in every frame of VIDEOS, with the face network of BUNDLE.",
    ),
    "pulse": LazyCommand(
        "emo_edge.cli.signals.pulse:main",
        "Measure the pulse of the faces in SOURCES from the colour of their skin. Not a medical device.",
    ),
    "live": LazyCommand(
        "emo_edge.cli.live.command:main",
        "Show the faces of SOURCE as they are now, with BUNDLE.",
    ),
    "serve": LazyCommand(
        "emo_edge.cli.serving.command:main",
        "Serve BUNDLE: a web page, REST, OpenAI's chat API and a WebSocket.",
    ),
    "inspect": LazyCommand("emo_edge.cli.inspect:inspect", "Print the contents of BUNDLE and its measured accuracy."),
    "verify": LazyCommand("emo_edge.cli.inspect:verify", "Check every file of BUNDLE against its manifest."),
    "bench": LazyCommand(
        "emo_edge.cli.bench:main",
        "Measure BUNDLE's profiles against its full-precision checkpoint, on the same samples.",
    ),
    "plan": LazyCommand(
        "emo_edge.cli.plan:main",
        "Estimate whether BUNDLE, or a model of known sizes, fits a device, and how long each stage takes there.",
    ),
    "engines": LazyCommand(
        "emo_edge.cli.diagnostics.engines:main", "Build, list and clear the TensorRT engines of this machine."
    ),
    "selftest": LazyCommand(
        "emo_edge.cli.diagnostics.selftest:main", "Build, compare and time BUNDLE on every device of this machine."
    ),
    "detector": LazyCommand(
        "emo_edge.cli.detectors.command:main",
        "Fetch the weights of a face detector, or measure detectors on pictures with boxes.",
    ),
    "doctor": LazyCommand(
        "emo_edge.cli.diagnostics.doctor:main",
        "Examine this machine: its hardware, the engines that work here, and how to fix the rest.",
        anywhere=True,
    ),
}


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True
)
@click.version_option(__version__, prog_name="emo-edge")
def main() -> None:
    """Take a full-precision facial-emotion multimodal LLM to the edge."""
    escape_warnings()
