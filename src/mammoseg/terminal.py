"""Console output: log messages and progress bars, and suppression of logs and warnings of third-party libraries."""

from __future__ import annotations

import functools
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich import progress as rich_progress
from rich.console import Console
from typing_extensions import override

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 30.0  # between progress lines if the output is not a terminal
IGNORED_WARNINGS = (
    # Lightning 2.6 uses a name that torch 2.13 renamed.
    r".*isinstance\(treespec, LeafSpec\)",
    # Lightning recommends srun if Slurm is installed; the message contains local paths.
    "The `srun` command is available on your system but is not used",
    # In checkpoints of earlier versions, the state of the callbacks that write checkpoints had other keys.
    "Be aware that when using `ckpt_path`",
    # A resumed run has existing checkpoints; the message contains local paths.
    "Checkpoint directory .* exists and is not empty",
    # Metrics logged at the end of an epoch are already synchronised.
    ".*sync_dist=True.*when logging on epoch level in distributed setting",
    # Testing requires only the averaged weights, which are the state_dict of the checkpoint.
    "You're using the WeightAveraging callback, but loading",
    # Prepared images are memory-mapped or on the device, so loading them in the main process is usually fastest.
    r"The '\w+' does not have many workers",
    # With trainer.accelerator=cpu, the user has chosen the CPU.
    "GPU available but not used",
)
# Loggers of libraries that report every start, such as matplotlib when it builds its font cache.
NOISY_LOGGERS = {"matplotlib.font_manager": logging.ERROR, "matplotlib": logging.WARNING}


@functools.cache
def console() -> Console:
    """Return the console of log messages and progress bars, which writes to stderr.

    Progress bars and log messages share one console, so that messages appear above the bar.
    """
    return Console(stderr=True)


class ConsoleHandler(logging.StreamHandler[TextIO]):
    r"""Logging handler that prints above a progress bar on a terminal, and plain lines elsewhere.

    Args:
        handler: Handler that this one replaces; its stream, level and formatter are used.

    Example:
        >>> import io
        >>> stream = io.StringIO()
        >>> handler = ConsoleHandler(logging.StreamHandler(stream))
        >>> handler.emit(logging.LogRecord("example", logging.INFO, "", 0, "a message", None, None))
        >>> stream.getvalue()
        'a message\n'
    """

    def __init__(self, handler: logging.StreamHandler[TextIO]) -> None:
        super().__init__(handler.stream)
        self.setLevel(handler.level)
        self.setFormatter(handler.formatter)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        if not (self.stream.isatty() and console().is_terminal):
            super().emit(record)
            return
        try:
            console().print(self.format(record), markup=False, highlight=False, soft_wrap=True)
        except Exception:
            self.handleError(record)


def configure_console_logging() -> None:
    """Print log messages with `ConsoleHandler`, and silence `NOISY_LOGGERS`.

    Log files are not changed.
    """
    root = logging.getLogger()
    root.handlers[:] = [
        ConsoleHandler(handler) if type(handler) is logging.StreamHandler else handler for handler in root.handlers
    ]
    for name, level in NOISY_LOGGERS.items():
        logging.getLogger(name).setLevel(level)


def format_duration(seconds: float) -> str:
    """Format a duration for display, rounded to seconds, minutes or hours.

    Args:
        seconds: Duration in seconds, at least 0.

    Example:
        >>> format_duration(42.3), format_duration(330), format_duration(9000)
        ('42 s', '6 min', '2 h 30 min')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Progress reporting: a bar on a terminal, otherwise a log message every `LOG_INTERVAL_S` seconds.

    Args:
        description: Name of the operation, such as "predicting".
        total: Number of items.
        unit: Name of the items in the plural.

    Example:
        >>> with Progress("preprocessing", total=2) as progress:
        ...     progress.advance()
        ...     progress.advance()
        >>> progress.completed
        2
    """

    def __init__(self, description: str, total: int, unit: str = "images") -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.completed = 0
        columns = (
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[rate]}"),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("left"),
        )
        self.bar = rich_progress.Progress(
            *columns, console=console(), transient=True, disable=not console().is_terminal
        )
        self.task = self.bar.add_task(description, total=total, rate="")

    def __enter__(self) -> Progress:
        self.started = self.last_logged = time.monotonic()
        self.bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.bar.stop()

    def advance(self, n: int = 1) -> None:
        """Count `n` more items as completed."""
        self.completed += n
        now = time.monotonic()
        rate = self.completed / max(now - self.started, 1e-9)
        self.bar.update(self.task, advance=n, rate=f"{rate:.1f} {self.unit}/s")
        if self.bar.disable and now - self.last_logged > LOG_INTERVAL_S:
            self.last_logged = now
            seconds_left = (self.total - self.completed) / rate
            status = f"{self.completed} of {self.total}, {rate:.1f} {self.unit}/s, {seconds_left:.0f} s left"
            log.info("%s: %s", self.description, status)


@contextmanager
def suppress_logs_and_warnings(*loggers: str) -> Iterator[None]:
    """Suppress all warnings and the messages of the given loggers during the block.

    The filters apply to the entire process: with threads, enter the context once around all of them.

    Args:
        *loggers: Names of the loggers.
    """
    suppressed = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in suppressed]
    for logger in suppressed:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(suppressed, levels, strict=True):
            logger.setLevel(level)


def configure_library_logging() -> None:
    """Silence Lightning's messages on devices and the warnings in `IGNORED_WARNINGS`, and configure torch.

    Sets the float32 matmul precision to "high" and enables the CPU fallback of MPS.
    """
    import torch

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    torch.set_float32_matmul_precision("high")
