"""Commands that are printed for copying, in the form in which the program was started."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

CONSOLE_SCRIPT = "mammoseg"
PROGRAM = "MAMMOSEG_PROGRAM"  # environment variable: text before the name of a command, inherited by other processes


def store_program() -> None:
    """Store how this process was started for `shell_command`, also in the processes that it starts."""
    os.environ[PROGRAM] = program_of(sys.orig_argv)


def program_of(argv: Sequence[str]) -> str:
    """Return the beginning of a command line, up to the name of the command of mammoseg.

    Args:
        argv: Arguments with which the interpreter was started, as in `sys.orig_argv`.

    Example:
        >>> program_of(["python", "-m", "mammoseg.train", "seed=1"])
        'python -m mammoseg.'
        >>> program_of(["python", "-m", "mammoseg", "train", "seed=1"])
        'python -m mammoseg '
    """
    for index, (option, module) in enumerate(pairwise(argv)):
        if option == "-m" and module.partition(".")[0] == CONSOLE_SCRIPT:
            separator = "." if "." in module else " "
            return f"{shlex.join(argv[: index + 1])} {CONSOLE_SCRIPT}{separator}"
    script = next((arg for arg in argv[1:] if Path(arg).name == CONSOLE_SCRIPT), CONSOLE_SCRIPT)
    found = shutil.which(CONSOLE_SCRIPT)
    is_on_path = found is not None and Path(found).absolute() == Path(script).absolute()
    return f"{CONSOLE_SCRIPT if is_on_path else shlex.quote(script)} "


def started_as() -> str:
    """Return the beginning of a command line, see `program_of`; "mammoseg " in a process without `store_program`."""
    return os.environ.get(PROGRAM, f"{CONSOLE_SCRIPT} ")


def shell_command(name: str, *arguments: str) -> str:
    """Return a command line of a command of mammoseg that can be pasted into a shell.

    Args:
        name: Name of the command.
        *arguments: Its arguments, which are quoted for the shell.
    """
    return " ".join([f"{started_as()}{name}", *map(shlex.quote, arguments)])


def print_next_steps(commands: Sequence[str]) -> None:
    """Print commands for copying; nothing if there are none.

    Args:
        commands: Command lines, see `shell_command`.
    """
    if commands:
        print("\n".join(["next steps:", *(f"  {command}" for command in commands)]))


def shortest_path(path: Path) -> Path:
    """Return a path relative to the working directory, or the absolute path if it is not below it."""
    relative = Path(os.path.relpath(path.absolute()))
    return path.absolute() if ".." in relative.parts else relative
