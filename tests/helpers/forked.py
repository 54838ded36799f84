"""Run commands in forked processes, which can be killed and need not import torch again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from helpers.commands import run


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
