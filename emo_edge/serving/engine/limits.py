"""Limits of the server: what it takes from a client, and how long anyone may wait."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ServerLimits:
    """Every bound that a client can meet; ``GET /v1/info`` shows them."""

    body_bytes: int = 10 * 1024 * 1024
    """Of a request's body; a larger one is a 413."""
    bodies_bytes: int = 256 * 1024 * 1024
    """Of all bodies in memory at a time; a request beyond it is a 429."""
    pixels: int = 36_000_000
    """Of a picture, counted from its header before it is decoded."""
    pictures: int = 16
    """Of a request."""
    waiting: int = 64
    """Requests for readings under way, most of which wait; one more is a 429."""
    deadline_s: float = 30.0
    """From a request's last byte to its answer's first; a later one is a 504."""
    body_s: float = 20.0
    """For the whole body of a request to arrive."""
    head_s: float = 10.0
    """For the head of a request to arrive."""
    message_bytes: int = 2 * 1024 * 1024
    """Of a WebSocket's message; a larger one closes it."""
    idle_s: float = 60.0
    """Without a message, after which a WebSocket is closed."""
    live_connections: int = 4
    """WebSockets at once; each has a face detector of its own."""
    viewers: int = 16
    """Of all sources of the server."""
    connections_per_address: int = 1024
    """Open connections of one address; the server closes any more at once."""
    drain_s: float = 10.0
    """For requests under way to end after SIGTERM."""
    waiting_pixels: int = 16_000_000
    """Of all decoded pictures that wait; a larger picture waits for its turn alone."""
    fetch_s: float = 10.0
    """For a picture to arrive from its address, redirects and all."""
    fetches: int = 8
    """Pictures by address at a time, from the fetch to the reading."""
    redirects: int = 3
    """Of an address."""
    label_characters: int = 2_000
    """Of a list of labels."""
    pulse_samples: int = 3_600
    """Frames of a pulse's colours: a minute at 60 a second."""
    question_characters: int = 4_000
    """Of a question."""

    def to_dict(self) -> dict[str, float]:
        """Return the limits by name, as JSON."""
        return asdict(self)
