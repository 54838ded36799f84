"""A list of what is done that survives being killed: one line for each, added at the end."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from mammoseg.files import atomic_write


class Journal:
    """`with Journal(path) as journal: journal.add("key", {...})`; `journal.entries` has all of them by key.

    Each entry is on the disk's way before `add` returns, and adding one costs the same however many there are. Of a
    key that was added again the later entry counts. A last line that was cut off is dropped, and said nothing of: what
    it told of is done again.
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
