"""Processes that work beside this one."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def alone(file: Path, waiting: str) -> Iterator[None]:
    """Hold the lock `file`, made if need be; while another process holds it, say `waiting` and wait.

    The system frees it when its holder ends, however that happens.
    """
    import fcntl

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            log.warning("%s: this file system knows no locks; let no two processes work here at once", file.parent)
        yield


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock file `path` right now."""
    import fcntl

    if not path.is_file():
        return False
    with path.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def pool(workers: int, begin: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Spawned, not forked: torch and OpenCV threads do not survive a fork. `begin` is called first in each."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # Inside a job of joblib; a spawned process would look for a start method of that name, and die.
        multiprocessing.set_start_method("spawn", force=True)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begin)


def die_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Have the system send this process the signal when its parent ends, however that happens. Linux only.

    `parent`: its number, if it may have ended already.
    """
    if sys.platform == "linux":
        import ctypes

        parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_death_signal, number)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), number)
