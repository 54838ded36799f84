"""Log files without local paths."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig
from typing_extensions import override

from mammoseg.runs.record import redact_paths


class RedactingFormatter(logging.Formatter):
    """Formatter that replaces paths of this machine in the text of another formatter.

    Args:
        formatter: The other formatter.
        folder: Run folder.
        cfg: Composed config with the paths.
    """

    def __init__(self, formatter: logging.Formatter, folder: Path, cfg: DictConfig) -> None:
        super().__init__()
        self.formatter = formatter
        self.folder = folder
        self.cfg = cfg

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Format a record, with its traceback if any."""
        return redact_paths(self.formatter.format(record), self.folder, self.cfg)


def redact_log_files(folder: Path, cfg: DictConfig) -> None:
    """Replace paths of this machine in what is written to log files from here on; the terminal shows them.

    Args:
        folder: Run folder.
        cfg: Composed config with the paths.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter(), folder, cfg))
