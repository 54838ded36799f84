"""Output folder of predictions: atomic files, a journal of completed images, and tables derived from it."""

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

TABLE_INTERVAL_S = 30.0  # between updates of the tables during a session
IMAGE_COLUMNS = (
    *("file", "name", "view", "side", "width", "height"),
    *("spacing_down_mm", "spacing_across_mm", "spacing_from", "highest_probability", "masses"),
)
MASS_COLUMNS = ("mass", "x", "y", "area_pixels", "area_mm2", "probability", "uncertainty")
Row = Mapping[str, Any]


class PredictionFolder:
    """The folder to which predictions are written, by one process at a time.

    Args:
        root: The folder.
        provenance: Everything that affects the predictions, as plain values.

    Attributes:
        skipped: Reason by file of the images that this session skipped.
    """

    def __init__(self, root: Path, provenance: Mapping[str, Any]) -> None:
        self.root = root
        self.provenance: dict[str, Any] = json.loads(json.dumps(provenance))
        self.journal = Journal(root / JOURNAL_FILE)
        self.skipped: dict[str, str] = {}
        self.tables_written_at = time.monotonic()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the folder's lock while images are added; on exit, also after an error, write the tables.

        Raises:
            UserError: If `root` is a file, or contains predictions of another provenance.
        """
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"output={self.root}: is a file; give a folder")
        wait_message = "waiting for another process that writes to the same folder"
        with processes.exclusive_lock(self.root / LOCK_FILE, wait_message):
            self.check_compatible()
            remove_stale(self.root, recursive=True)
            with self.journal:
                self.write_file(PROVENANCE_FILE, (json.dumps({"made_of": self.provenance}, indent=1) + "\n").encode())
                try:
                    yield
                finally:
                    self.write_tables()

    def check_compatible(self) -> None:
        """Check that the predictions in the folder, if any, have the same provenance.

        Raises:
            UserError: If they differ, or the stored provenance is damaged.
        """
        path = self.root / PROVENANCE_FILE
        if not path.is_file():
            return
        try:
            previous = json.loads(path.read_text())["made_of"]
            differing = [key for key, value in self.provenance.items() if previous.get(key) != value]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: damaged; choose another output folder, or remove this one") from error
        if differing:
            raise UserError(
                f"output={self.root}: contains predictions made with another {', '.join(differing)}; "
                "choose another output folder, or remove this one"
            )

    def names(self, images: Sequence[Input]) -> dict[str, str]:
        """Output name of each image by file; images keep the name of an earlier session."""
        existing = {file: entry["name"] for file, entry in self.journal.entries.items()}
        return output_names([image.file for image in images], existing)

    def is_complete(self, image: Input) -> bool:
        """Whether all output files of an image exist, and it has not changed since."""
        entry = self.journal.entries.get(image.file)
        if entry is None or entry["key"] != input_digest(image):
            return False
        return all((self.root / file).is_file() for file in entry["files"])

    def write_file(self, file: str, content: bytes) -> None:
        """Write `content` to `file`, a path relative to the folder, atomically."""
        atomic_write_bytes(self.root / file, content)

    def record(self, image: Input, name: str, files: Sequence[str], rows: Sequence[Row], note: str = "") -> None:
        """Record an image as complete.

        Args:
            image: The image.
            name: Its output name.
            files: Its output files, which exist; others of an earlier prediction are removed.
            rows: Its rows of predictions.csv.
            note: What could not be written, for skipped.csv.
        """
        previous = self.journal.entries.get(image.file, {}).get("files", [])
        self.journal.add(
            image.file, {"key": input_digest(image), "name": name, "files": [*files], "rows": [*rows], "note": note}
        )
        self._remove(set(previous) - set(files))
        if time.monotonic() - self.tables_written_at > TABLE_INTERVAL_S:
            self.write_tables()

    def record_skipped(self, image: Input, reason: str) -> None:
        """Record that an image cannot be predicted, and remove the files of an earlier prediction."""
        self.skipped[image.file] = reason
        if (entry := self.journal.entries.get(image.file)) and entry["files"]:  # the image has changed
            self.journal.add(image.file, {**entry, "key": "", "files": [], "rows": [], "note": ""})
            self._remove(entry["files"])

    def _remove(self, files: Iterable[str]) -> None:
        for file in files:
            (self.root / file).unlink(missing_ok=True)

    @property
    def rows(self) -> list[Row]:
        """Rows of predictions.csv, sorted by file."""
        return [row for _, entry in sorted(self.journal.entries.items()) for row in entry["rows"]]

    @property
    def notes(self) -> dict[str, str]:
        """Notes on predicted images, by file."""
        return {file: entry["note"] for file, entry in self.journal.entries.items() if entry["note"]}

    def write_tables(self) -> None:
        """Write predictions.csv and skipped.csv."""
        skipped = sorted({**self.notes, **self.skipped}.items())
        self.write_file(TABLE_FILE, encode_csv([*IMAGE_COLUMNS, *MASS_COLUMNS], self.rows))
        rows = [{"file": file, "reason": reason} for file, reason in skipped]
        self.write_file(SKIPPED_FILE, encode_csv(["file", "reason"], rows))
        self.tables_written_at = time.monotonic()


def input_digest(image: Input) -> str:
    """Digest of the size and modification time of the image's file."""
    return hash_json(file_signature(image.path, image.path.parent))


def encode_csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    """A CSV table as UTF-8; missing values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")  # file names may not be UTF-8
