"""Append-only log of completed items that survives a killed process."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from mammoseg.files import atomic_write


class Journal:
    """Append-only log of completed items, from which interrupted work resumes.

    Use it as a context manager: `with Journal(path) as journal: journal.add("key", {...})`. Opening it reads the latest
    entry of each key and compacts the file. Each entry is flushed before `add` returns, at a cost independent of their
    number. A truncated last line is ignored; its item is processed again.

    Args:
        path: The file.

    Attributes:
        entries: The latest entry of each key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Any] = {}

    def __enter__(self) -> Journal:
        self.path.touch()
        for line in self.path.read_bytes().splitlines():
            try:
                key, entry = json.loads(line)
            except ValueError:
                continue
            self.entries[key] = entry
        with atomic_write(self.path) as file:
            file.writelines(self.line(key, entry) for key, entry in self.entries.items())
        self.file = self.path.open("a")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, key: str, entry: Any) -> None:
        """Append an entry and flush it to the file.

        Args:
            key: Replaces an earlier entry of the same key.
            entry: Plain values, stored as JSON.
        """
        self.file.write(self.line(key, entry))
        self.file.flush()
        self.entries[key] = entry

    @staticmethod
    def line(key: str, entry: Any) -> str:
        """The line of the file that stores an entry."""
        return json.dumps([key, entry]) + "\n"
