"""``emo-edge serve`` as a process of its own, and plain requests to a server."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from emo_edge.console.children import code_command

RUN = "import sys; from emo_edge.cli import main; sys.argv[0] = 'emo-edge'; sys.exit(main())"
PATIENCE_S = 60
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Without a proxy of the environment."""


class ServedCommand:
    """The command, from its address on standard output to its end by a signal."""

    def __init__(self, bundle: Path | str, *options: str, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            code_command(RUN, "serve", str(bundle), "--port", "0", *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip().rstrip("/")
        if not self.url:
            _, said = self._process.communicate(timeout=PATIENCE_S)
            raise AssertionError(f"the server did not start: {said}")

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said on standard error."""
        self._process.send_signal(number)
        _, said = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, said

    def __enter__(self) -> ServedCommand:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.end()


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def ask(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None
) -> Answer:
    """Send one request; errors are answers too."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with DIRECT.open(request, timeout=PATIENCE_S) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def form(
    fields: dict[str, str], files: list[tuple[str, bytes]], boundary: str = "frontier"
) -> tuple[bytes, dict[str, str]]:
    """Write a multipart form; return its body and its header."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, data in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        parts.append(head.encode() + b"Content-Type: image/png\r\n\r\n" + data + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
