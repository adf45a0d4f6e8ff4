"""No thread that a test leaves behind ends the process of the tests that follow."""

from __future__ import annotations

import pytest

from emo_edge.console import interrupts


@pytest.fixture(autouse=True)
def _left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note threads that hang for the length of a test: a command does not wait for them, it ends the process."""
    monkeypatch.setattr(interrupts, "_behind", [])
