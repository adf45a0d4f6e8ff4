"""Check files before a commit: text ends with one newline, no file is large. ``python .ci/check_files.py FILE...``."""

from __future__ import annotations

import sys
from pathlib import Path

LARGEST = 1_000_000
"""Bytes; weights and recordings do not belong into the history."""


def problem_of(path: Path) -> str | None:
    """Return what is wrong with a file; None where nothing is."""
    content = path.read_bytes()
    if len(content) > LARGEST:
        return f"{path}: {len(content) / 1e6:.1f} MB; the largest file may have {LARGEST / 1e6:.0f}"
    is_text = content and b"\0" not in content[:8192]
    if is_text and (not content.endswith(b"\n") or content.endswith(b"\n\n")):
        return f"{path}: a text file ends with one newline"
    return None


if __name__ == "__main__":
    problems = [problem for name in sys.argv[1:] if Path(name).is_file() and (problem := problem_of(Path(name)))]
    sys.exit("\n".join(problems) or 0)
