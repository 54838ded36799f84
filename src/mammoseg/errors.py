"""Exceptions caused by invalid settings or data."""

from __future__ import annotations

import sys
from typing import NoReturn


class UserError(Exception):
    """Error that the user can fix. The message is one sentence that names the problem, its location and a solution.

    `mammoseg.cli.command` prints the message without a traceback and exits with status 2.
    """


class RunConflictError(UserError):
    """The run folder contains a run with different settings.

    Args:
        message: Description of the conflict; a solution is appended.
        key: Setting that differs.
        previous: Value of the setting in the existing run.
        current: Value of the setting in this run.
    """

    def __init__(self, message: str, key: str, previous: object = None, current: object = None) -> None:
        super().__init__(
            f"{message}; choose another folder (hydra.sweep.dir=..., or hydra.run.dir=... for a single run), "
            "or delete this one"
        )
        self.key = key
        self.previous = previous
        self.current = current


class ImageReadError(Exception):
    """An image cannot be read or used. The message is a short reason without the path and without text of the header.

    `prepare` collects these errors in a table of rejected cases; `dataset.on_error` determines whether it continues.
    """


def exit_with_message(command: str, message: str) -> NoReturn:
    """Print the message of a user error to stderr and exit with status 2.

    Args:
        command: Name of the command.
        message: One sentence.
    """
    print(f"mammoseg {command}: {message}", file=sys.stderr)
    sys.exit(2)
