"""Names under which a server is reached, and pages that may ask it."""

from __future__ import annotations

import pytest

from emo_edge.serving.access.hosts import HostCheck, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "", "localhost.example.com"])
def test_other_addresses(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("header", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "LOCALHOST:8080"])
def test_own_names(header: str) -> None:
    assert HostCheck("127.0.0.1", has_token=False).host(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "example.com",
        "127.0.0.1.example.com",
        "localhost@example.com",
        "localhost/x",
        "localhost:port",
        "[::1",
    ],
)
def test_foreign_names(header: str | None) -> None:
    """A page of the web may have its own name point to this machine."""
    assert not HostCheck("127.0.0.1", has_token=False).host(header)


def test_with_a_token_any_name_will_do() -> None:
    check = HostCheck("0.0.0.0", has_token=True)
    assert check.host("camera.local:8080")
    assert not check.host("user@camera.local")


@pytest.mark.parametrize(
    ("origin", "host", "may"),
    [
        (None, "localhost:1", True),
        ("http://localhost:1", "localhost:1", True),
        ("https://localhost:1", "LOCALHOST:1", True),
        ("http://localhost:2", "localhost:1", False),
        ("http://example.com", "localhost:1", False),
        ("null", "localhost:1", False),
        ("http://localhost:1", None, False),
    ],
)
def test_origins(origin: str | None, host: str | None, may: bool) -> None:
    assert HostCheck("127.0.0.1", has_token=False).origin(origin, host) is may
