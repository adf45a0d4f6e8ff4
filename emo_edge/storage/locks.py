"""One lock for everything that only one process may write: a file beside what is written.

flock ends with its process, but not every file system has it. NFS on Linux asks for a descriptor that is open for
writing; without its lock daemon it gives ENOLCK, and others EOPNOTSUPP. There the file's owner stands in it instead.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)
BUSY = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)
"""Of a lock that another process has; EACCES where flock is a byte range lock."""
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""Of a file system without locks."""
OWNER_SUFFIX = ".owner"
WAITING_S = 0.2
"""Between two looks at another's owner file."""
LONG_S = 5.0
"""Waiting after which a line names who has the lock: a dead owner of another machine has it for ever."""
_without_locks: set[int] = set()
"""File systems without locks that a line was logged for."""


class LockedError(BlockingIOError):
    """Another process has the lock; the message names it and the next step."""


class FileLock:
    """The lock that ``path`` stands for; a context manager, and not to be taken twice."""

    def __init__(self, path: Path) -> None:
        """Prepare the lock; nothing is touched before `acquire`."""
        self.path = path
        self._descriptor: int | None = None
        self._owner: _OwnerFile | None = None

    def acquire(self) -> None:
        """Take the lock; raise LockedError if another process has it, OSError where the file cannot be written."""
        while not self._attempt():
            pass  # its last owner removed the file between our opening and our locking it

    def wait(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Take the lock when it is free; ``on_wait`` is called once if it is not, and a long wait is logged."""
        waited, started = False, time.monotonic()
        while True:
            try:
                return self.acquire()
            except LockedError as error:
                if not waited:
                    on_wait()
                waited = True
                if time.monotonic() - started > LONG_S:
                    started = math.inf
                    logger.warning("%s; waiting for it", error.strerror)
                time.sleep(WAITING_S)

    def close(self) -> None:
        """Give the lock back and remove its file; nothing happens if it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError):
            self.path.unlink()
        if self._owner:
            self._owner.release()
        os.close(descriptor)

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self) -> bool:
        """Try once; return False where the file was removed meanwhile, so that another name holds it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._owner = self._claimed(descriptor)
            if self._owner is None and not _is_file_of(self.path, descriptor):
                os.close(descriptor)
                return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def _claimed(self, descriptor: int) -> _OwnerFile | None:
        """Lock the file; return the owner file where the file system has no locks."""
        try:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except ImportError:
            reason = "this system"
        except OSError as error:
            if error.errno in BUSY:
                raise LockedError(error.errno, f"another process is writing there and has {self.path}") from error
            if error.errno not in NO_LOCKS:
                raise
            reason = f"its file system ({error.strerror})"
        device = os.fstat(descriptor).st_dev
        if device not in _without_locks:
            _without_locks.add(device)
            logger.warning("%s: %s has no locks; a file that names its owner stands in", self.path.parent, reason)
        owner = _OwnerFile(self.path.with_name(self.path.name + OWNER_SUFFIX))
        owner.acquire()
        return owner


class _OwnerFile:
    """A lock where there are none: a file that exists once and names its owner; a dead owner's is taken over."""

    def __init__(self, path: Path) -> None:
        self.path, self.token = path, secrets.token_hex(8)

    def acquire(self) -> None:
        owner = {"token": self.token, "process": os.getpid(), "started": _start_time("self"), **_machine()}
        content = json.dumps(owner, allow_nan=False)
        if self._created(content):
            return
        owner = self._read()
        if not (_is_dead(owner) and self._take_over(owner)):
            raise LockedError(errno.EWOULDBLOCK, self._refusal(owner))
        if not self._created(content):
            raise LockedError(errno.EWOULDBLOCK, self._refusal(self._read()))

    def release(self) -> None:
        if self._read().get("token") == self.token:
            with suppress(OSError):
                self.path.unlink()

    def _created(self, content: str) -> bool:
        try:
            with self.path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            return owner if isinstance(owner, dict) else {}
        return {}

    def _take_over(self, owner: dict[str, Any]) -> bool:
        """Remove a dead owner's file; a second file has one process alone do so, if it still is that owner's."""
        only_one = self.path.with_name(f"{self.path.name}.{owner['token']}")
        try:
            only_one.touch(exist_ok=False)
        except FileExistsError:
            return False
        try:
            if self._read() != owner:
                return False
            self.path.unlink()
            return True
        finally:
            only_one.unlink(missing_ok=True)

    def _refusal(self, owner: dict[str, Any]) -> str:
        who = f"process {owner['process']} of {owner.get('host')}" if owner.get("process") else "another process"
        return f"{who} is writing there; if it has ended, remove {self.path}"


def lock_path(target: Path) -> Path:
    """Return the path of the lock of a file or folder that is replaced as a whole."""
    return target.with_name(f".{target.name}.lock")


def _is_file_of(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _machine() -> dict[str, str]:
    """Identify the machine since its last start, and the container: process numbers mean something inside one alone."""
    facts = {"host": os.uname().nodename if hasattr(os, "uname") else "this machine"}
    with suppress(OSError):
        facts["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        facts["processes"] = os.readlink("/proc/self/ns/pid")
    return facts


def _start_time(process: int | str) -> str | None:
    """Return the time a process started, in ticks, so that a number that is used again is not taken for it."""
    try:
        # The name before it, in brackets, may hold anything.
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return None


def _is_dead(owner: dict[str, Any]) -> bool:
    """Return whether an owner is a process of this machine that has ended; False where that cannot be known."""
    machine = _machine()
    if "boot" not in machine or not isinstance(owner.get("token"), str) or not isinstance(owner.get("process"), int):
        return False
    if any(owner.get(name) != value for name, value in machine.items()):
        return False
    return _start_time(owner["process"]) != owner.get("started")
