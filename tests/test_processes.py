"""`mammoseg.processes`: locks between real processes."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest

from mammoseg.errors import UserError
from mammoseg.processes import exclusive_lock, is_locked

HOLD = (
    "import pathlib, sys, time\n"
    "from mammoseg.processes import exclusive_lock\n"
    "with exclusive_lock(pathlib.Path(sys.argv[1]), 'waiting'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock `path` until it is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_exclusive_lock_waits_until_its_holder_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "run" / ".lock"
    caplog.set_level(logging.INFO, "mammoseg")
    with holder(path) as process:
        killer = threading.Timer(0.5, process.send_signal, [signal.SIGKILL])
        started = time.monotonic()
        killer.start()
        with exclusive_lock(path, "waiting for the other run"):
            assert time.monotonic() - started > 0.4
        assert caplog.messages == ["waiting for the other run"]


def test_exclusive_lock_does_not_wait_for_a_free_lock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mammoseg")
    for _ in range(2):
        with exclusive_lock(tmp_path / ".lock", "waiting"):
            pass
    assert caplog.messages == []


def test_is_locked_is_false_after_the_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert not is_locked(path)
    assert not path.exists(), "is_locked must not create the file"
    with holder(path) as process:
        assert is_locked(path)
        process.kill()
        process.wait()
        assert path.exists()
        assert not is_locked(path)


def test_is_locked_is_true_while_this_process_holds_the_lock(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / ".lock", "waiting"):
        assert is_locked(tmp_path / ".lock")
    assert not is_locked(tmp_path / ".lock")


def test_exclusive_lock_on_a_file_system_without_locks_warns_and_continues(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "_acquire", refuse)
    entered = False
    with exclusive_lock(tmp_path / ".lock", "waiting"):
        entered = True
    assert entered
    assert "supports no locks" in caplog.text
    (tmp_path / ".lock").touch()
    assert not is_locked(tmp_path / ".lock")


def test_exclusive_lock_raises_if_the_path_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OSError, match="directory"), exclusive_lock(tmp_path / ".lock", "waiting"):
        pass


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_lock_file_that_is_a_link_or_a_fifo_is_rejected(tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "target", tmp_path / "run" / ".lock"
    target.write_text("content")
    path.parent.mkdir()
    if kind == "link":
        path.symlink_to(target)
    else:
        os.mkfifo(path)
    assert not is_locked(path)
    with pytest.raises(UserError, match=r"\.lock must be a regular file"), exclusive_lock(path, "waiting"):
        pass
    assert target.read_text() == "content"


OPEN_FILES = (
    "import resource, sys\n"
    "from mammoseg.processes import reserve_open_files\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))\n"
    "reserve_open_files(int(sys.argv[3]))\n"
    "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
)


@pytest.mark.parametrize(
    ("soft", "hard", "n_workers", "expected"),
    [(64, 64, 0, "64"), (40, 4096, 10, "2"), (40, 64, 10, "limit on open files must be at least 2")],
)
def test_workers_require_open_files(soft: int, hard: int, n_workers: int, expected: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", OPEN_FILES, *map(str, (soft, hard, n_workers))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in completed.stdout + completed.stderr
    assert (completed.returncode == 0) == ("must be" not in expected)
