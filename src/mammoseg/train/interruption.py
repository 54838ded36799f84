"""Plain messages for interruptions, and for errors that Lightning raises when it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.utilities.exceptions import MisconfigurationException

from mammoseg.errors import UserError
from mammoseg.launch.signals import GracefulExit
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import read_record
from mammoseg.train.next_commands import resume_command


@contextmanager
def explain_interruption(folder: RunFolder) -> Iterator[None]:
    """Add the command that resumes the run to the message of Ctrl-C in the block.

    Lightning converts KeyboardInterrupt to SystemExit, with status 1.

    Args:
        folder: Run folder.

    Raises:
        KeyboardInterrupt: If Ctrl-C was pressed; `mammoseg.cli` prints its message.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        interrupted = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
        record = read_record(folder)
        if isinstance(error, GracefulExit) or not interrupted or record is None or not record.settings:
            raise
        raise KeyboardInterrupt(f"; to resume: {resume_command(folder)}") from error


@contextmanager
def trainer_errors() -> Iterator[None]:
    """Convert errors in the block that Lightning raises for settings of the trainer to UserError."""
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(f"trainer: {error}; correct the trainer.* settings") from error
    except ValueError as error:
        text = str(error).strip()
        if "more than 1 value per channel" in text:
            raise UserError(
                "batch normalisation needs more than one value per channel, but the network reduces the only image of "
                "a batch to one pixel; increase dataset.size, or set a batch_size that leaves no batch with one image"
            ) from error
        if "val_check_interval" in text:
            raise UserError(f"trainer: {text}") from error
        raise
