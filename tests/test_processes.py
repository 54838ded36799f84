"""`mammoseg.processes`: locks between real processes."""

from __future__ import annotations

import errno
import logging
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
