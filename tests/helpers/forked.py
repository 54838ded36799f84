"""Run commands in forked processes, which can be killed and need not import torch again."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import run
from mammoseg.loggers.csv_history import MetricsLogger


def run_forked(
    name: str, *arguments: str | Path, folder: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a fork of this process.

    Args:
        name: Name of the command.
        *arguments: Command-line arguments.
        folder: Working directory.
        variables: Additional environment variables.

    Returns:
        Exit status, the negative number of a signal that ended the process, or 1 for an exception; standard error.
    """
    read_end, write_end = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read_end)
        status, text = 1, ""
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ.update(variables or {})
            completed = run(name, *arguments, folder=folder)
            status, text = completed.returncode, completed.stderr
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(write_end, text.encode(errors="replace")[-60_000:])
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8", errors="replace") as output:
        text = output.read()
    _, wait_status = os.waitpid(process, 0)
    return subprocess.CompletedProcess([name], os.waitstatus_to_exitcode(wait_status), "", text)


def killing(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """Return `function`, which kills its process at its n-th call."""
    calls = itertools.count()

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return wrapper


def kill_at_save_and_resume(settings: list[str], folder: Path, call: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Train, kill the run when the rows of metrics.csv are saved for the n-th time, and resume it.

    Args:
        settings: Settings of the run.
        folder: Working directory.
        call: Index of the call.
        monkeypatch: Of the test.

    Returns:
        Whether there was such a call; otherwise, the run finished without interruption.
    """
    monkeypatch.setattr(MetricsLogger, "save", killing(MetricsLogger.save, call))
    stopped = run_forked("train", *settings, folder=folder)
    monkeypatch.undo()
    if stopped.returncode == 0:
        return False
    assert stopped.returncode == -signal.SIGKILL, stopped.stderr
    resumed = run_forked("train", *settings, folder=folder)
    assert resumed.returncode == 0, resumed.stderr
    return True
