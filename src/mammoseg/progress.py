"""How far a long piece of work is: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

log = logging.getLogger(__name__)

LINE_EVERY = 30.0  # seconds, where there is no terminal


class Progress:
    """`with Progress("preparing", 100) as progress: ...; progress.advance()`: count, rate and time left."""

    def __init__(self, what: str, total: int, unit: str = "images") -> None:
        self.what = what
        self.total = total
        self.unit = unit
        self.done = 0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        self.bar = Bar(*columns, transient=True, disable=not sys.stdout.isatty())
        self.task = self.bar.add_task(what, total=total, rate="")

    def __enter__(self) -> Progress:
        self.started = self.line = time.monotonic()
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def advance(self, by: int = 1) -> None:
        self.done += by
        now = time.monotonic()
        rate = self.done / max(now - self.started, 1e-9)
        self.bar.update(self.task, advance=by, rate=f"{rate:.1f} {self.unit}/s")
        if self.bar.disable and now - self.line > LINE_EVERY:
            self.line = now
            left = (self.total - self.done) / rate
            log.info("%s: %d of %d, %.1f %s/s, %.0f s left", self.what, self.done, self.total, rate, self.unit, left)
