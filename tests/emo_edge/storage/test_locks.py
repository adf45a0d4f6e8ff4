"""One lock between processes, on file systems with locks and without them."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emo_edge.storage import locks
from emo_edge.storage.locks import FileLock, LockedError, lock_path

NO_LOCKS = [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP]
HOLDER = """
import fcntl, os, sys
from pathlib import Path
from emo_edge.storage.locks import FileLock
if sys.argv[2] != "0":
    def flock(descriptor, operation):
        raise OSError(int(sys.argv[2]), os.strerror(int(sys.argv[2])))
    fcntl.flock = flock
FileLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
os._exit(0)
"""
COUNTER = """
import sys
from pathlib import Path
from emo_edge.storage import locks
locks.WAITING_S = 0.001
count = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    lock = locks.FileLock(count.with_name("lock"))
    lock.wait()
    count.write_text(str(int(count.read_text()) + 1))
    lock.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def no_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A file system whose flock fails with this number."""
    number = int(request.param)

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "_without_locks", set())
    return number


def holder(path: Path, number: int = 0) -> subprocess.Popen[str]:
    """Start a process that holds the lock; ``number`` is how flock fails there."""
    command = [sys.executable, "-c", HOLDER, str(path), str(number)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_one_process_at_a_time(path: Path) -> None:
    with holder(path) as process:
        with pytest.raises(LockedError, match="another process is writing there"):
            FileLock(path).acquire()
        process.send_signal(signal.SIGKILL)
    with FileLock(path), pytest.raises(LockedError):
        FileLock(path).acquire()
    assert not path.exists(), "nothing is left"


def test_the_descriptor_is_open_for_writing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS on Linux gives EBADF for an exclusive lock on any other."""
    modes = []
    original = fcntl.flock
    monkeypatch.setattr(
        fcntl, "flock", lambda fd, how: (modes.append(fcntl.fcntl(fd, fcntl.F_GETFL)), original(fd, how))[1]
    )
    with FileLock(path):
        assert modes[0] & os.O_ACCMODE == os.O_RDWR


def test_counting_by_several_processes_misses_nothing(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNTER, str(count), "200"]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert count.read_text() == "600"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_a_long_wait_says_once_who_has_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "LONG_S", -1.0)
    looks: list[float] = []
    with holder(path) as process, caplog.at_level(logging.WARNING):

        def sleep(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                process.kill()
                process.wait()

        monkeypatch.setattr(locks.time, "sleep", sleep)
        with closing(FileLock(path)) as lock:
            lock.wait()
    assert len(looks) == 3 and caplog.text.count("another process is writing there and has") == 1


@pytest.mark.parametrize("no_flock", NO_LOCKS, indirect=True)
def test_without_flock_a_file_names_the_owner(path: Path, no_flock: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), holder(path, no_flock) as process:
        for _ in range(2):
            with pytest.raises(LockedError, match=rf"process {process.pid} of .* remove .*lock\.owner"):
                FileLock(path).acquire()
        assert len(caplog.records) == 1 and os.strerror(no_flock) in caplog.text
        process.send_signal(signal.SIGKILL)
        process.wait()
        with FileLock(path), pytest.raises(LockedError):
            FileLock(path).acquire()
    assert list(path.parent.iterdir()) == [], "nothing is left"


@pytest.mark.parametrize("no_flock", [errno.ENOLCK], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        {"host": "another"},
        {"boot": "another"},
        {"processes": "pid:[1]"},
        {"process": "7"},
        {"token": None},
    ],
    ids=str,
)
def test_an_owner_that_cannot_be_examined_is_not_taken_over(path: Path, no_flock: int, change: dict[str, Any]) -> None:
    owner = path.with_name("lock.owner")
    values = {"token": "0" * 16, "process": 2**22 + 1, "started": "1", **locks._machine()}
    owner.write_text(json.dumps(values))
    with FileLock(path):
        pass
    owner.write_text(json.dumps(values | change))
    with pytest.raises(LockedError, match="if it has ended, remove"):
        FileLock(path).acquire()
    assert json.loads(owner.read_text()) == values | change


@pytest.mark.parametrize("no_flock", [errno.ENOLCK], indirect=True)
def test_a_process_number_that_is_used_again_is_another_process(path: Path, no_flock: int) -> None:
    values = {"token": "0" * 16, "process": os.getpid(), "started": "1", **locks._machine()}
    path.with_name("lock.owner").write_text(json.dumps(values))
    with FileLock(path):
        pass


def test_another_error_of_the_system_is_raised(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="broken disk"):
        FileLock(path).acquire()
    with pytest.raises(FileNotFoundError):
        FileLock(path.with_name("none") / "lock").acquire()


def test_the_lock_stands_next_to_what_it_is_for(tmp_path: Path) -> None:
    assert lock_path(tmp_path / "a") == tmp_path / ".a.lock"
