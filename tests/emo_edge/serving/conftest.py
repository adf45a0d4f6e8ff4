"""Servers that tests ask: emo-tiny as a command of its own, and a small one inside the process with other limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.hostile.small_bundle import write_small_bundle
from emo_edge.bundle.reader import Bundle
from emo_edge.console import interrupts
from emo_edge.inference.detectors import requested_detector
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.serving.engine.limits import ServerLimits
from emo_edge.serving.engine.recorder import Recorder
from emo_edge.serving.live.sources import open_sources
from emo_edge.serving.routes.service import Service
from emo_edge.serving.server import Address, listening_socket, make_server
from emo_edge.serving.start import open_service
from tests.served import ServedCommand

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note threads that hang for the length of a test: a command does not wait for them, it ends the process."""
    monkeypatch.setattr(interrupts, "_behind", [])


@pytest.fixture(scope="session")
def served(tiny_bundle: Path) -> Iterator[ServedCommand]:
    """``emo-edge serve`` on emo-tiny."""
    with ServedCommand(tiny_bundle, "--device", "cpu") as command:
        yield command


@pytest.fixture(scope="session")
def server_url(served: ServedCommand) -> str:
    """The address of that server, without a path."""
    return served.url


@pytest.fixture(scope="session")
def drawing() -> bytes:
    """A packaged drawing, as its file is."""
    source = packaged_samples(1)[0].source
    assert isinstance(source, Path)
    return source.read_bytes()


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny face network alone."""
    return write_small_bundle(tmp_path_factory.mktemp("serving") / "bundle")


@dataclass
class InProcess:
    """A server in a thread, and what it serves."""

    url: str
    service: Service


@pytest.fixture
def in_process(small_bundle: Path) -> Callable[..., Any]:
    """Serve a bundle inside this process: ``with in_process(limits, token, bundle, sources, record) as server``."""

    @contextmanager
    def serve(
        limits: ServerLimits | None = None,
        token: str | None = None,
        bundle: Path = small_bundle,
        sources: dict[str, str] | None = None,
        record: Recorder | None = None,
    ) -> Iterator[InProcess]:
        address, whole = Address("127.0.0.1", 0), lambda: requested_detector("whole")
        with (
            EmotionPipeline.open(Bundle.open(bundle), device="cpu", detector=whole()) as pipeline,
            listening_socket(address, has_token=False) as bound,
            open_service(
                pipeline,
                Request(),
                limits or ServerLimits(),
                whole,  # type: ignore[arg-type]
                open_recorder=(lambda _: record) if record else None,
            ) as service,
            open_sources(service, sources or {}) as feeds,
        ):
            started = threading.Event()
            server = make_server(service, address, token, started.set, feeds)
            port = bound.getsockname()[1]
            thread = threading.Thread(target=lambda: server.run(sockets=[bound]))
            thread.start()
            try:
                assert started.wait(PATIENCE_S)
                yield InProcess(f"http://127.0.0.1:{port}", service)
            finally:
                server.should_exit = True
                thread.join(PATIENCE_S)

    return serve
