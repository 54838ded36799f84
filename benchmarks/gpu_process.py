"""Run a command until it ends or a deadline has passed, and remove local paths from its output."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from mammoseg.processes import die_with_parent

KILL_AFTER_S = 5.0  # between SIGTERM and SIGKILL, for commands that cannot resume
# Absolute paths that follow the start of a line, white space, a quote, a bracket or an equals sign; not URLs or base64.
ABSOLUTE_PATH = re.compile(r"(?<![^\s\"'`(\[=])/(?:[\w.+@~-]+/)+(?=[\w.+@~-])")


class StoppedError(Exception):
    """The command was stopped at its deadline."""


def run_command(
    command: Sequence[str],
    stdout: Path,
    stderr: Path,
    folder: Path,
    environment: Mapping[str, str],
    deadline: float,
    grace_s: float = KILL_AFTER_S,
) -> int:
    """Run a command and append its output to files.

    The command and the processes that it started receive SIGTERM at the deadline, and SIGKILL after `grace_s`. They are
    also ended if this process ends.

    Args:
        command: Command line.
        stdout: File for the standard output.
        stderr: File for the standard error; may be the same file.
        folder: Working directory.
        environment: Environment variables.
        deadline: Value of `time.monotonic` at which the command must have ended.
        grace_s: Time in seconds for a graceful stop, within the deadline.

    Returns:
        Exit status.

    Raises:
        StoppedError: If the command was stopped.
    """
    with stdout.open("ab") as out, stderr.open("ab") as err:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getpid()),  # noqa: PLW1509, there are no threads
        )
        try:
            return process.wait(max(deadline - grace_s - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            raise StoppedError from None
        finally:
            end_group(process, grace_s)


def end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End a process and all processes of its group, first with SIGTERM, and with SIGKILL after `grace_s` seconds."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with suppress(ProcessLookupError):  # children that are still running
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def without_paths(text: str, names: Mapping[Path, str]) -> str:
    """Replace the local paths in a text.

    Args:
        text: Output of a command.
        names: Names that replace folders, such as `{Path("/data/cbis"): "DATA"}`. Of other absolute paths, only the
            last component remains.

    Example:
        >>> without_paths("/data/cbis/a.png, see /usr/lib/x.py and https://a.org/b", {Path("/data/cbis"): "DATA"})
        'DATA/a.png, see x.py and https://a.org/b'
    """
    folders = {str(folder): name for folder, name in names.items()} | {sys.prefix: "PYTHON"}
    for folder in sorted(folders, key=len, reverse=True):
        text = re.sub(re.escape(folder) + r"(?![\w.-])", folders[folder], text)
    return ABSOLUTE_PATH.sub("", text)
