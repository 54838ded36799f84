"""Append-only log of completed items, which remains readable if the process is killed."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from mammoseg.files import atomic_write


class Journal:
    """Append-only log of completed items, so that interrupted work can be resumed.

    Entering the context reads the latest entry of each key and compacts the file. `add` flushes each entry to the file,
    at a cost that does not depend on the number of entries. A truncated last line is ignored, so its item is processed
    again.

    Args:
        path: File of the journal, in JSON lines: one [key, entry] per line.

    Attributes:
        entries: The latest entry of each key.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Journal(Path(folder) / "journal.jsonl") as journal:
        ...         journal.add("a.png", {"masses": 1})
        ...     with Journal(Path(folder) / "journal.jsonl") as resumed:
        ...         resumed.entries
        {'a.png': {'masses': 1}}
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
            file.writelines(self.format_line(key, entry) for key, entry in self.entries.items())
        self.file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, key: str, entry: Any) -> None:
        """Append an entry and flush it to the file.

        Args:
            key: Key of the entry; a previous entry with the same key is replaced.
            entry: JSON-serialisable value.
        """
        self.file.write(self.format_line(key, entry))
        self.file.flush()
        self.entries[key] = entry

    @staticmethod
    def format_line(key: str, entry: Any) -> str:
        """Format an entry as a line of the file."""
        return json.dumps([key, entry]) + "\n"
