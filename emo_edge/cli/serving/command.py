"""``emo-edge serve``: a page, REST, OpenAI's API and a WebSocket over one bundle."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emo_edge.bundle.label_sets import label_words
from emo_edge.bundle.reader import Bundle, require_unchanged, verified_again
from emo_edge.cli.completion import complete_bundle
from emo_edge.cli.engine_options import engine_options
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.face_options import face_options
from emo_edge.console.interrupts import own_handlers
from emo_edge.console.status_line import StatusLine, StatusLogHandler
from emo_edge.console.task_options import purpose_option
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.limits import FaceLimits
from emo_edge.inference.detectors import chosen_detector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.media.pipes import STANDARD_INPUT
from emo_edge.media.readers.credentials import unknown_text
from emo_edge.planning.reading_context import reading_context
from emo_edge.rendering.bundle_notes import detector_note, purpose_note
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.serving.access.hosts import is_loopback
from emo_edge.serving.access.token import read_token
from emo_edge.serving.engine.limits import ServerLimits

if TYPE_CHECKING:
    from emo_edge.serving.engine.metrics import ServerMetrics
    from emo_edge.serving.engine.recorder import Recorder
    from emo_edge.serving.server import Address

CLIP_FRAMES = 8
"""Of a clip for which the context of a large model is opened; a longer one is refused where it does not fit."""


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with the token that every client has to send; needed for addresses that other machines reach.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain in PEM, for https.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key of the certificate, in PEM.")
@click.option(
    "--source",
    "sources",
    metavar="[NAME=]SOURCE",
    multiple=True,
    help="Camera of this machine, stream or video that viewers may watch: door=rtsp://..., or the number of a camera.",
)
@click.option(
    "--allow-image-host",
    "image_hosts",
    metavar="HOST",
    multiple=True,
    help="Host from which pictures of the chat API are fetched by address; none by default.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder in which every reading and live event is stored as a line of JSON; nothing is stored without it.",
)
@click.option("--record-pictures", is_flag=True, help="Store the pictures that were read in --record's folder as well.")
@click.option(
    "--fixed-profile", is_flag=True, help="Keep the profile; without it clients may choose another one of the bundle's."
)
@engine_options
@face_options
@purpose_option
@click.option("-v", "--verbose", is_flag=True, help="Log every request: its path and status, never its content.")
def main(bundle: Path, **options: Any) -> None:
    """Serve BUNDLE: a web page, REST, OpenAI's chat API and a WebSocket.

    BUNDLE is a folder, or emo-tiny: the packaged model, which is exported once and kept. Pictures are read in memory,
    and nothing of them is logged, or stored without --record.
    """
    from emo_edge.serving.live.sources import named_sources
    from emo_edge.serving.routes.remote_pictures import checked_hosts

    level = logging.INFO if options["verbose"] else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[StatusLogHandler(StatusLine())])
    if unknown_text(str(bundle)) != str(bundle) and not bundle.exists():
        raise InputError(f"{unknown_text(str(bundle))}: no bundle; serve takes a bundle alone")
    token = None if options["token_file"] is None else read_token(options["token_file"])
    address = _address(options, has_token=token is not None)
    if options["record_pictures"] and options["record"] is None:
        raise click.UsageError("--record-pictures is an option of --record")
    sources = named_sources(options["sources"])
    hosts = checked_hosts(options["image_hosts"])
    _serve(_Openers(Bundle.open(bundle_directory(bundle)), options), address, token, sources, hosts)


@dataclass(frozen=True)
class _Openers:
    """Opens pipelines and face detectors of one bundle, as the options of the command say."""

    bundle: Bundle
    options: dict[str, Any]

    @property
    def request(self) -> Request:
        """Return the request of a client that asks for nothing of its own."""
        labels = self.options["labels"]
        return Request(labels=labels and label_words(labels))

    def pipeline(self, profile: str | None) -> EmotionPipeline:
        """Open a pipeline that has room for the longest answer that a client may ask for."""
        from emo_edge.serving.routes.chat_request import MOST_TOKENS

        longest = Request(labels=self.request.labels, describe=True, sampling=Sampling(max_new_tokens=MOST_TOKENS))
        return EmotionPipeline.open(
            self.bundle,
            device=self.options["device"],
            profile=profile,
            detector=self._detector(),
            threads=self.options["threads"],
            context=reading_context(self.bundle, longest, (STANDARD_INPUT,), CLIP_FRAMES),
            deployment_purpose=self.options["purpose"],
        )

    def another_pipeline(self, profile: str) -> EmotionPipeline:
        """Open a pipeline while another one reads; the files may have changed since the start."""
        verified_again(self.bundle)
        return self.pipeline(profile)

    def detector(self) -> FaceDetector:
        """Open a detector of a connection's own; the files may have changed since the start."""
        require_unchanged(self.bundle, self.bundle.manifest.detector_files)
        return self._detector()

    def recorder(self, metrics: ServerMetrics) -> Recorder:
        """Open what stores readings; a folder that cannot be used is refused."""
        from emo_edge.serving.engine.recorder import Recorder

        return Recorder(self.options["record"], pictures=self.options["record_pictures"], lost=metrics.record_lost.inc)

    def _detector(self) -> FaceDetector:
        options = self.options
        limits = FaceLimits(options["min_score"], options["min_face"], options["max_faces"])
        return chosen_detector(self.bundle, options["detector"], limits)


def _serve(
    openers: _Openers, address: Address, token: str | None, sources: dict[str, str], hosts: frozenset[str]
) -> None:
    """Open everything, and answer requests until a signal ends it."""
    from emo_edge.serving.live.sources import open_sources
    from emo_edge.serving.server import allow_connections, listening_socket, make_server
    from emo_edge.serving.start import open_service

    request, options, has_token = openers.request, openers.options, token is not None
    open_profile = None if options["fixed_profile"] else openers.another_pipeline
    limits, open_recorder = ServerLimits(), openers.recorder if options["record"] else None
    with openers.pipeline(options["profile"]) as pipeline:
        pipeline.check(request)
        with (
            listening_socket(address, has_token=has_token) as bound,
            open_service(pipeline, request, limits, openers.detector, hosts, open_profile, open_recorder) as service,
            open_sources(service, sources) as feeds,
        ):
            allow_connections(service.limits)
            url = address.url(bound.getsockname()[1])

            def started() -> None:
                _print_started(pipeline, url, options["detector"], has_token=has_token)
                _print_recording(options)

            server = make_server(service, address, token, started, feeds)
            with own_handlers():
                server.run(sockets=[bound])


def _address(options: dict[str, Any], *, has_token: bool) -> Address:
    from emo_edge.serving.server import Address

    certificate, key = options["tls_cert"], options["tls_key"]
    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file")
    if not is_loopback(options["host"]) and not has_token:
        raise click.UsageError(
            f"--host {options['host']} is reached from other machines: give --token-file FILE, so that only who has "
            "the token may ask. Make a token: openssl rand -hex 32 > FILE"
        )
    return Address(options["host"], options["port"], certificate, key)


def _print_started(pipeline: EmotionPipeline, url: str, choice: str, *, has_token: bool) -> None:
    """Print the page's address to standard output, and what reads to standard error."""
    manifest, settings = pipeline.manifest, pipeline.settings()
    echo(f"{manifest.name}, profile {settings.profile}, on {settings.device}", err=True)
    for line in (purpose_note(manifest), detector_note(manifest, choice)):
        if line:
            echo(line, err=True)
    if not has_token:
        echo("every program of this machine may ask: --token-file keeps it to those who have the token", err=True)
    echo(url)


def _print_recording(options: dict[str, Any]) -> None:
    if options["record"]:
        stored = "every reading and its pictures are" if options["record_pictures"] else "every reading is"
        echo(f"{stored} stored in {options['record']}", err=True)
