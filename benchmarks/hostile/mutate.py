"""Seeded mutators: the same seed gives the same broken file."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

INTEGERS = (0, 1, 2, 7, 255, 1 << 16, (1 << 20) - 1, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)
"""Sizes at the edges of types and of our own bounds."""
DEEP, HUGE = "@deep", "@huge"
"""Marks that `json_text` replaces by what the standard library does not write: 600 lists, a number of 401 digits."""
VALUES: tuple[Any, ...] = (
    *INTEGERS,
    -1,
    0.5,
    1e300,
    1e-320,
    float("nan"),
    float("inf"),
    True,
    None,
    "",
    "\ud800",
    "\x1b[31m",
    "a" * 10_000,
    "(a+)+$",
    "../../etc/passwd",
    [],
    {},
    [[]],
    {"": None},
    DEEP,
    HUGE,
)


def mutated_bytes(rng: Random, content: bytes) -> bytes:
    """Return a content with one to four faults: bits, bytes, numbers, parts left out, repeated, moved or cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(_FAULTS)(rng, changed)
    return bytes(changed)


def mutated_json(rng: Random, content: bytes) -> bytes:
    """Return a JSON text with one to three values or keys changed; one in eight has broken bytes as well."""
    values = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        values = _changed_value(rng, values)
    text = json_text(values)
    return mutated_bytes(rng, text) if rng.random() < 1 / 8 else text


def json_text(values: Any) -> bytes:
    """Write JSON, with what no writer writes in the place of its mark."""
    text = json.dumps(values)
    text = text.replace(json.dumps(DEEP), "[" * 600 + "]" * 600).replace(json.dumps(HUGE), str(10**400))
    return text.encode()


def mutated_zip(rng: Random, content: bytes, inner: Mapping[str, Callable[[Random, bytes], bytes]]) -> bytes:
    """Return a zip archive with one member changed, and written with a checksum that fits; or with broken bytes.

    ``inner`` gives the mutators of members by the end of their names; others have bytes changed.
    """
    if rng.random() < 0.4:
        return mutated_bytes(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = rng.choice(sorted(members))
    mutate = next((one for end, one in inner.items() if chosen.endswith(end)), mutated_bytes)
    members[chosen] = mutate(rng, members[chosen])
    packed = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", packed) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return written.getvalue()


def _changed_value(rng: Random, values: Any) -> Any:
    # A copy: what is put in is changed by the next fault.
    owners, value = [owner for owner in _containers(values) if len(owner)], copy.deepcopy(rng.choice(VALUES))
    if not owners:
        return value
    owner = rng.choice(owners)
    key = rng.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
    action = rng.randrange(8)
    if action == 0:
        del owner[key]
    elif action == 1 and isinstance(owner, dict):
        owner[rng.choice(("", "x", "\ud800", f"{key} "))] = owner.pop(key)
    elif action == 2 and isinstance(owner, list):
        owner.extend([owner[key]] * rng.choice((1, 3, 1000)))
    else:
        owner[key] = value
    return values


def _containers(values: Any) -> list[Any]:
    """List every object and list, the outer ones first."""
    listed, waiting = list[Any](), [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            listed.append(value)
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return listed


def _place(rng: Random, content: bytearray) -> int:
    """Choose a place, the first kilobyte, where headers lie, as often as all others."""
    return rng.randrange(max(min(len(content), rng.choice((1024, len(content)))), 1))


def _bit(rng: Random, content: bytearray) -> None:
    if content:
        content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _byte(rng: Random, content: bytearray) -> None:
    if content:
        content[_place(rng, content)] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))


def _number(rng: Random, content: bytearray) -> None:
    size, start = rng.choice((2, 4, 8)), _place(rng, content)
    content[start : start + size] = (rng.choice(INTEGERS) % (1 << 8 * size)).to_bytes(
        size, rng.choice(("little", "big"))
    )


def _left_out(rng: Random, content: bytearray) -> None:
    start = _place(rng, content)
    del content[start : start + rng.choice((1, 4, 64))]


def _repeated(rng: Random, content: bytearray) -> None:
    start, size = _place(rng, content), rng.choice((1, 8, 64))
    content[start:start] = content[start : start + size] * rng.choice((1, 2, 100))


def _moved(rng: Random, content: bytearray) -> None:
    start, target, size = _place(rng, content), _place(rng, content), rng.choice((4, 32))
    content[target : target + size] = content[start : start + size]


def _cut(rng: Random, content: bytearray) -> None:
    del content[_place(rng, content) :]


_FAULTS: tuple[Callable[[Random, bytearray], None], ...] = (_bit, _byte, _number, _left_out, _repeated, _moved, _cut)
