"""Multiprocessing helpers: file locks, spawned process pools, and termination with the parent process."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import override

from mammoseg.errors import UserError
from mammoseg.files import check_no_links

T = TypeVar("T")

log = logging.getLogger(__name__)

LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # errors of a file system without file locks
POLL_INTERVAL_S = 0.2
OTHER_OPEN_FILES = 16  # of the main process, such as arrays and logs
OPEN_FILES_PER_WORKER = 20  # pipes, and shared memory of the batches of a DataLoader that are in flight


@contextmanager
def exclusive_lock(path: Path, wait_message: str) -> Iterator[None]:
    """Hold an exclusive file lock during the block.

    The system releases it when the process ends, even by SIGKILL. Without support for locks, a warning is logged.

    Args:
        path: Lock file; it is created with its parent folders and not removed.
        wait_message: Logged before waiting for another process that holds the lock.

    Raises:
        OSError, UserError: If the lock file cannot be created, or is a link or a special file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / ".lock"
        >>> with exclusive_lock(path, "waiting for another process"):
        ...     is_locked(path)
        True
        >>> is_locked(path)
        False
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    check_no_links(path.parent, [path.name])
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would remain after its holder is killed
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info(wait_message)
            lock.acquire(poll_interval=POLL_INTERVAL_S)
    except OSError as error:
        if isinstance(error, Timeout) or error.errno not in LOCKS_UNSUPPORTED:
            raise
        log.warning("%s: this file system supports no locks; do not run two processes in this folder", path.parent)
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Return True if a process currently holds the lock file `path`.

    Returns False if the state cannot be determined: on a file system without locks, or without write permission for
    the lock file.
    """
    from filelock import FileLock, Timeout

    if path.is_symlink() or not path.is_file():  # acquiring the lock would create the file
        return False
    try:
        with FileLock(path, fallback_to_soft=False).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno not in (*LOCKS_UNSUPPORTED, errno.EACCES, errno.EROFS):
            raise
        return False


def reserve_open_files(n_workers: int) -> None:
    """Raise the limit on open files of this process as far as worker processes require and the system permits.

    Without enough files, workers end one by one and the main process can wait for them indefinitely.

    Args:
        n_workers: Number of worker processes.

    Raises:
        UserError: If the hard limit is too low.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len([*Path("/proc/self/fd").iterdir()]) if sys.platform == "linux" else OTHER_OPEN_FILES
    required = n_open + OTHER_OPEN_FILES + n_workers * OPEN_FILES_PER_WORKER
    if n_workers == 0 or soft == resource.RLIM_INFINITY or soft >= required:
        return
    if hard != resource.RLIM_INFINITY and hard < required:
        raise UserError(
            f"the limit on open files must be at least {required} for {n_workers} worker processes, got {hard}; raise "
            f"it with `ulimit -n {required}`, or decrease num_workers or dataset.workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (required, hard))


def spawn_pool(max_workers: int, initializer: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Create a pool of spawned processes. Forking is unsafe, since torch and OpenCV use threads.

    Args:
        max_workers: Number of processes.
        initializer: Called once in each process before its first task.

    Returns:
        The executor.

    Raises:
        UserError: If the limit on open files is too low.
    """
    reserve_open_files(max_workers)
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # In a joblib worker; a spawned process would not know the start method "loky".
        multiprocessing.set_start_method("spawn", force=True)
    return _SpawnPool(max_workers, multiprocessing.get_context("spawn"), initializer)


class _SpawnPool(ProcessPoolExecutor):
    """Pool whose processes do not receive Ctrl-C, which the terminal sends to all processes.

    A process that is interrupted while it imports modules would print a traceback. Processes inherit the signal mask,
    and the executor starts them in `submit`.
    """

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def die_with_parent(signal_number: signal.Signals, parent: int | None = None) -> None:
    """Request a signal to this process when its parent process ends for any reason (Linux only).

    Args:
        signal_number: Signal to send.
        parent: Process id of the parent; if it has already ended, the signal is sent at once. None skips this check.
    """
    if sys.platform == "linux":
        import ctypes

        parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_death_signal, signal_number)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal_number)
