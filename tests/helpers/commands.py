"""Run the commands of mammoseg, in this process or in another one."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO
from unittest import mock

from hydra.core.global_hydra import GlobalHydra

import mammoseg

# The demo with a smaller dataset and network, which train in seconds, and large masses, which remain visible.
SMALL = [
    "dataset.source.cases=30",
    "dataset.source.height=208",
    "dataset.source.appearance=simple",
    "dataset.size=64",
    "model.width=2",
    "trainer.accelerator=cpu",
]
TESTS = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600  # generous, since other processes may use the same cores


def run(name: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which saves starting an interpreter and importing torch.

    Args:
        name: Name of the command.
        *arguments: Command-line arguments.
        folder: Working directory.

    Returns:
        Exit status and output, as of a process.

    Raises:
        Exception: Any exception that would end the process with a traceback.
    """
    main = importlib.import_module(f"mammoseg.{name}.__main__").main
    argv = [f"mammoseg.{name}", *map(str, arguments)]
    stdout, stderr = io.StringIO(), io.StringIO()
    status = 0
    with (
        restored_process_state(),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        mock.patch.object(sys, "argv", argv),
    ):
        os.environ["WANDB_MODE"] = "offline"
        try:
            main()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
    return subprocess.CompletedProcess(argv, status, stdout.getvalue(), stderr.getvalue())


def succeed(name: str, *arguments: str | Path, folder: Path) -> str:
    """Run a command in this process; it must exit with status 0. Returns its standard output and error."""
    completed = run(name, *arguments, folder=folder)
    assert completed.returncode == 0, completed.stderr + completed.stdout
    return completed.stdout + completed.stderr


def assert_one_sentence(completed: subprocess.CompletedProcess[str], *parts: str) -> str:
    """A command must exit with status 2 and one sentence that contains `parts`; returns the sentence."""
    assert completed.returncode == 2, completed.stderr
    lines = [line for line in completed.stderr.splitlines() if line.startswith("mammoseg ")]
    assert len(lines) == 1, completed.stderr
    assert all(part in lines[0] for part in parts), completed.stderr
    assert "Traceback" not in completed.stderr
    return lines[0]


@contextlib.contextmanager
def restored_process_state() -> Iterator[None]:
    """Restore what commands change in their process: environment, import path, logging, warning filters, Hydra."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with mock.patch.dict(os.environ), mock.patch.object(sys, "path", sys.path[:]), warnings.catch_warnings():
            warnings.resetwarnings()
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)  # Python's defaults, instead of pytest's
            warnings.showwarning = print_warning
            yield
    finally:
        GlobalHydra.instance().clear()
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning, as Python does; pytest would record it."""
    print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr)


def command_line(name: str, *arguments: str | Path) -> list[str]:
    """The command line of a command."""
    return [sys.executable, "-m", f"mammoseg.{name}", *map(str, arguments)]


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a command in another process, which imports `helpers`, and mammoseg from the same folder."""
    package = Path(mammoseg.__file__).resolve().parents[1]
    path = os.pathsep.join([str(TESTS), str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": path, **(variables or {})}


def run_process(
    name: str,
    *arguments: str | Path,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    limit_file_size_kib: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in another process.

    Args:
        name: Name of the command.
        *arguments: Command-line arguments.
        folder: Working directory.
        variables: Additional environment variables.
        limit_file_size_kib: Maximum size of a file, which simulates a full disk: a write fails half way.
    """
    argv = command_line(name, *arguments)
    if limit_file_size_kib is not None:
        argv = ["bash", "-c", f'ulimit -f {limit_file_size_kib}; trap "" XFSZ; exec "$@"', "bash", *argv]
    return subprocess.run(
        argv,
        cwd=folder,
        env=environment(variables),
        text=True,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def start(
    name: str,
    *arguments: str | Path,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> subprocess.Popen[str]:
    """Start a command in another process, in a process group of its own.

    Args:
        name: Name of the command.
        *arguments: Command-line arguments.
        folder: Working directory.
        variables: Additional environment variables.
        log: File to which the output is appended; otherwise it is returned by `communicate`.
    """
    with log.open("a") if log else contextlib.nullcontext() as file:
        return subprocess.Popen(
            command_line(name, *arguments),
            cwd=folder,
            env=environment(variables),
            text=True,
            stdout=file or subprocess.PIPE,
            stderr=subprocess.STDOUT if file else subprocess.PIPE,
            start_new_session=True,
        )


def wait_until(
    condition: Callable[[], object],
    process: subprocess.Popen[str] | None = None,
    timeout_s: float = TIMEOUT_S,
    description: Callable[[], str] = str,
) -> None:
    """Wait until `condition` holds.

    Args:
        condition: Called repeatedly.
        process: Process that must be running until the condition holds.
        timeout_s: Maximum time in seconds.
        description: Called for the message of the error.

    Raises:
        AssertionError: If the process ends first, or the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process is not None and process.poll() is not None:
            if condition():
                return
            output = process.communicate() if process.stdout is not None else ()
            raise AssertionError(f"the process ended with status {process.returncode} too early: {output}")
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {description()}"
        time.sleep(0.01)


def has_trained(run_folder: Path, epochs: int) -> bool:
    """Whether the log of a run reports that many completed epochs, and a checkpoint exists."""
    log = run_folder / "train.log"
    logged = log.is_file() and f"epoch {epochs}/" in log.read_text()
    return logged and (run_folder / "checkpoints" / "last.ckpt").is_file()
