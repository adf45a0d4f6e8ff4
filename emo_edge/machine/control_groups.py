"""Settings of the control groups that this process lies in, of version 1 and 2, its own group first.

A limit holds for all groups below the one it is set in, so each group up to the root of the mount is looked at.
Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux, man 5 proc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from emo_edge.utils.processes import read_text

USUAL = "sys/fs/cgroup"
"""Folder of the hierarchies, if the mounts cannot be read."""
UNIFIED = ""
"""Name of version 2's hierarchy among the controllers of ``proc/self/cgroup``."""


def group_folders(controller: str, root: Path = Path("/")) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of each group that limits this process, and True where it is one of version 2.

    Args:
        controller: ``cpu`` or ``memory``.
        root: below which ``proc`` and the mounts are read.
    """
    groups, mounts = _groups(root), list(_mounts(root))
    if not mounts:
        yield from ((root / USUAL, True), (root / USUAL / controller, False))
    for point, top, version_2, controllers in mounts:
        own = groups.get(UNIFIED if version_2 else controller)
        if own is None or not (version_2 or controller in controllers):
            continue
        folder = root / point.lstrip("/")
        # A container sees a part of the hierarchy; a group outside of it cannot be read, its own limits lie at the top.
        below = own[len(top.rstrip("/")) :].strip("/") if _is_below(own, top) else ""
        nested = folder / below
        yield from (
            (level, version_2) for level in (nested, *nested.parents) if level == folder or folder in level.parents
        )


def _groups(root: Path) -> dict[str, str]:
    """Map each controller to this process's group."""
    groups: dict[str, str] = {}
    for line in read_text(root / "proc/self/cgroup").splitlines():
        match = re.fullmatch(r"\d+:([^:]*):(/.*)", line)
        if match:
            groups |= dict.fromkeys(match[1].split(","), match[2])
    return groups


def _mounts(root: Path) -> Iterator[tuple[str, str, bool, tuple[str, ...]]]:
    """Yield mount point, top group, True for version 2, and the controllers of each hierarchy that is mounted."""
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        fields, _, system = line.partition(" - ")
        kind, _, rest = system.partition(" ")
        names = fields.split()
        if kind in ("cgroup", "cgroup2") and len(names) > 4:
            yield _unescaped(names[4]), _unescaped(names[3]), kind == "cgroup2", tuple(rest.split()[-1].split(","))


def _is_below(group: str, top: str) -> bool:
    return ".." not in group.split("/") and (group + "/").startswith(top.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """Replace the octal escapes of spaces and the like."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)
