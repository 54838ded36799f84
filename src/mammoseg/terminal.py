"""Console output: progress reporting, and suppression of logs and warnings of third-party libraries."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as rich_progress

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
)


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
        self.bar = rich_progress.Progress(*columns, transient=True, disable=not sys.stdout.isatty())
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
