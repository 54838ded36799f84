"""The folder of a prediction: files that appear whole, a journal of what is done, and tables that follow from it."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mammoseg import processes
from mammoseg.data.preprocessing.fingerprints import file_signature, hash_json
from mammoseg.errors import UserError
from mammoseg.files import atomic_write_bytes, remove_stale
from mammoseg.predict.inputs import Input, output_names
from mammoseg.predict.journal import Journal
from mammoseg.runs.prediction_folder import JOURNAL_FILE, LOCK_FILE, PROVENANCE_FILE, SKIPPED_FILE, TABLE_FILE

TABLES_EVERY = 30.0  # seconds between rewritings of the tables while it goes on
OF_IMAGE = (
    *("file", "name", "view", "side", "width", "height"),
    *("spacing_down_mm", "spacing_across_mm", "spacing_from", "highest_probability", "masses"),
)
OF_MASS = ("mass", "x", "y", "area_pixels", "area_mm2", "probability", "uncertainty")
Row = Mapping[str, Any]


class Folder:
    """Predictions of the images below an input folder, in `root`; one process at a time.

    `made_of`: everything that decides what the predictions are, as plain values.
    """

    def __init__(self, root: Path, made_of: Mapping[str, Any]) -> None:
        self.root = root
        self.made_of: dict[str, Any] = json.loads(json.dumps(made_of))
        self.journal = Journal(root / JOURNAL_FILE)
        self.skipped: dict[str, str] = {}
        self.tables_at = time.monotonic()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within it files can be added; at its end, however it comes, the tables tell what is there.

        Raises UserError where the folder cannot be one, or holds predictions that were made of something else.
        """
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"output={self.root}: is a file; give a folder")
        waiting = "waiting for another process that predicts into the same folder"
        with processes.exclusive_lock(self.root / LOCK_FILE, waiting):
            self.check()
            remove_stale(self.root, recursive=True)
            with self.journal:
                self.put(PROVENANCE_FILE, (json.dumps({"made_of": self.made_of}, indent=1) + "\n").encode())
                try:
                    yield
                finally:
                    self.write_tables()

    def check(self) -> None:
        path = self.root / PROVENANCE_FILE
        if not path.is_file():
            return
        try:
            before = json.loads(path.read_text())["made_of"]
            differing = [key for key, value in self.made_of.items() if before.get(key) != value]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: damaged; choose another output folder, or remove this one") from error
        if differing:
            raise UserError(
                f"output={self.root}: holds predictions made with another {', '.join(differing)}; "
                "choose another output folder, or remove this one"
            )

    def names(self, images: Sequence[Input]) -> dict[str, str]:
        """What the files of each image are called; what it was called before stays."""
        given = {file: entry["name"] for file, entry in self.journal.entries.items()}
        return output_names([image.file for image in images], given)

    def is_done(self, image: Input) -> bool:
        """Whether its predictions are there, and it has not changed since."""
        entry = self.journal.entries.get(image.file)
        if entry is None or entry["key"] != key_of(image):
            return False
        return all((self.root / file).is_file() for file in entry["files"])

    def put(self, file: str, content: bytes) -> None:
        """Write `content` to `file`, a path relative to the folder, atomically."""
        atomic_write_bytes(self.root / file, content)

    def done(self, image: Input, name: str, files: Sequence[str], rows: Sequence[Row], note: str = "") -> None:
        """All `files` of an image are there; `rows`: what the table says of it. `note`: what could not be done."""
        before = self.journal.entries.get(image.file, {}).get("files", [])
        self.journal.add(
            image.file, {"key": key_of(image), "name": name, "files": [*files], "rows": [*rows], "note": note}
        )
        self.remove(set(before) - set(files))
        if time.monotonic() - self.tables_at > TABLES_EVERY:
            self.write_tables()

    def skip(self, image: Input, reason: str) -> None:
        self.skipped[image.file] = reason
        if (entry := self.journal.entries.get(image.file)) and entry["files"]:  # of the file as it was before
            self.journal.add(image.file, {**entry, "key": "", "files": [], "rows": [], "note": ""})
            self.remove(entry["files"])

    def remove(self, files: Iterable[str]) -> None:
        for file in files:
            (self.root / file).unlink(missing_ok=True)

    @property
    def rows(self) -> list[Row]:
        return [row for _, entry in sorted(self.journal.entries.items()) for row in entry["rows"]]

    @property
    def notes(self) -> dict[str, str]:
        """What could not be done about images that were predicted."""
        return {file: entry["note"] for file, entry in self.journal.entries.items() if entry["note"]}

    def write_tables(self) -> None:
        skipped = sorted({**self.notes, **self.skipped}.items())
        self.put(TABLE_FILE, table([*OF_IMAGE, *OF_MASS], self.rows))
        self.put(SKIPPED_FILE, table(["file", "reason"], [{"file": f, "reason": why} for f, why in skipped]))
        self.tables_at = time.monotonic()


def key_of(image: Input) -> str:
    """Changes with the image's file."""
    return hash_json(file_signature(image.path, image.path.parent))


def table(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")  # names of files may be no text
