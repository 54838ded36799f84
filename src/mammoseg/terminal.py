"""Console output: progress of long operations, and logging and warnings of third-party libraries."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich import progress as rich_progress

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 30.0  # between progress lines where the output is no terminal
IGNORED_WARNINGS = (
    # Lightning 2.6 calls a name that torch 2.13 has renamed.
    r".*isinstance\(treespec, LeafSpec\)",
    # Lightning recommends srun wherever Slurm is installed; the message quotes the user's paths.
    "The `srun` command is available on your system but is not used",
    # A resumed run finds its own checkpoints; the message quotes the user's paths.
    "Checkpoint directory .* exists and is not empty",
    # Metrics logged at the end of an epoch are equal in all processes already.
    ".*sync_dist=True.*when logging on epoch level in distributed setting",
    # A test needs the averaged weights only, which are the checkpoint's state_dict.
    "You're using the WeightAveraging callback, but loading",
)


class Progress:
    """Progress of a long operation: a bar on a terminal, otherwise a log line every `LOG_INTERVAL_S` seconds.

    Use it as a context manager: `with Progress("preprocessing", 100) as progress: ...; progress.advance()`.

    Args:
        description: What is being done, such as "predicting".
        total: Number of items.
        unit: Name of the items, in the plural.
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
        self.bar = rich_progress.Progress(*columns, transient=True, disable=not sys.stdout.isatty())
        self.task = self.bar.add_task(description, total=total, rate="")

    def __enter__(self) -> Progress:
        self.started = self.last_logged = time.monotonic()
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
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
            done = f"{self.completed} of {self.total}, {rate:.1f} {self.unit}/s, {seconds_left:.0f} s left"
            log.info("%s: %s", self.description, done)


@contextmanager
def suppress_logs_and_warnings(*loggers: str) -> Iterator[None]:
    """Suppress all warnings, and all messages of the loggers of these names, during the block.

    The filters are process-wide: do not nest it in threads that overlap in time; hold it around all of them instead.
    """
    named = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in named]
    for logger in named:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(named, levels, strict=True):
            logger.setLevel(level)


def configure_library_logging() -> None:
    """Silence Lightning's notes on devices and known harmless warnings; set torch's float32 precision and MPS fallback.

    Warnings that are not listed in `IGNORED_WARNINGS` are still shown.
    """
    import torch

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    torch.set_float32_matmul_precision("high")
