"""Append-only log of completed items that survives a killed process."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from mammoseg.files import atomic_write


class Journal:
    """Append-only log of completed items, from which interrupted work resumes.

    Use it as a context manager: `with Journal(path) as journal: journal.add("key", {...})`. Opening it reads earlier
    entries into `entries`, by key, the latest of each, and compacts the file. Each entry is flushed before `add`
    returns, at a cost independent of their number. A last line that was cut off is ignored; its item is done again.
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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.file.close()

    def add(self, key: str, entry: Any) -> None:
        self.file.write(self.line(key, entry))
        self.file.flush()
        self.entries[key] = entry

    @staticmethod
    def line(key: str, entry: Any) -> str:
        return json.dumps([key, entry]) + "\n"
