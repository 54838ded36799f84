"""Output folder of predictions: atomic files, a journal of completed images, and tables derived from it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from mammoseg import processes
from mammoseg.data.preprocessing.fingerprints import file_identity, hash_json
from mammoseg.data.readers.mammogram import RejectedCases
from mammoseg.errors import UserError
from mammoseg.files import atomic_write, atomic_write_bytes, check_no_links, remove_stale
from mammoseg.predict import coco
from mammoseg.predict.exams import EXAM_COLUMNS, ExamLabel, add_exams, exam_rows
from mammoseg.predict.inputs import Input, output_names
from mammoseg.predict.journal import Journal
from mammoseg.predict.prediction_table import MASS_COLUMNS, PREDICTION_COLUMNS, TableRow, encode_csv
from mammoseg.reports.table import format_count
from mammoseg.runs.prediction_folder import (
    COCO_FILE,
    EXAMS_FILE,
    JOURNAL_FILE,
    LOCK_FILE,
    PROVENANCE_FILE,
    SKIPPED_FILE,
    TABLE_FILE,
    Kind,
    image_file,
)

log = logging.getLogger(__name__)

TABLES = (TABLE_FILE, EXAMS_FILE, COCO_FILE, SKIPPED_FILE)

TABLE_INTERVAL_S = 30.0  # minimum time between updates of the tables during a session
OUTPUTS_VERSION = 2  # of the outputs of an image; those of earlier versions are written again


class PredictionFolder:
    """Output folder of predictions, written by one process at a time.

    Args:
        root: Path of the folder.
        provenance: All values that affect the predictions; JSON-serialisable.
        exams: Examination of each image, by file.

    Attributes:
        skipped: Reasons for skipping images in this session, by file.
    """

    def __init__(
        self, root: Path, provenance: Mapping[str, Any], exams: Mapping[str, ExamLabel] = MappingProxyType({})
    ) -> None:
        self.root = root
        self.provenance: dict[str, Any] = json.loads(json.dumps(provenance))
        self.exams = exams
        self.journal = Journal(root / JOURNAL_FILE)
        self.skipped: dict[str, str] = {}
        self.tables_written_at = time.monotonic()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the exclusive lock of the folder, and write the tables on exit, even after an error.

        Raises:
            UserError: If `root` is a file, contains predictions with a different provenance, or links to other files.
        """
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"output must be a folder, got the file {self.root}")
        check_no_links(self.root, [*get_args(Kind), JOURNAL_FILE, PROVENANCE_FILE, *TABLES])
        wait_message = "waiting for another process that is writing to the same folder"
        with processes.exclusive_lock(self.root / LOCK_FILE, wait_message):
            self.check_compatible()
            remove_stale(self.root, recursive=True)
            with self.journal:
                # The key in predictions.json since version 0.1.
                self.write_file(PROVENANCE_FILE, (json.dumps({"made_of": self.provenance}, indent=1) + "\n").encode())
                try:
                    yield
                finally:
                    self.write_tables()
                    self.write_coco()

    def check_compatible(self) -> None:
        """Check that the predictions in the folder, if any, have the same provenance.

        Raises:
            UserError: If the provenance differs, or its file is damaged.
        """
        path = self.root / PROVENANCE_FILE
        if not path.is_file():
            return
        try:
            previous = json.loads(path.read_text(encoding="utf-8"))["made_of"]
            keys = dict.fromkeys([*self.provenance, *previous])
            differing = [key for key in keys if previous.get(key) != self.provenance.get(key)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: damaged; choose another output folder, or remove this one") from error
        if differing:
            raise UserError(
                f"output={self.root}: contains predictions with other settings ({', '.join(differing)}); "
                "choose another output folder, or remove this one"
            )

    def assign_names(self, images: Sequence[Input]) -> dict[str, str]:
        """Return the output name of each image, by file; images keep the names of previous sessions."""
        existing = {file: entry["name"] for file, entry in self.journal.entries.items()}
        return output_names([image.file for image in images], existing)

    def is_complete(self, image: Input) -> bool:
        """Return whether all output files of an image exist and the image has not changed since."""
        entry = self.journal.entries.get(image.file)
        if entry is None or entry["key"] != input_digest(image):
            return False
        return all((self.root / file).is_file() for file in entry["files"])

    def write_file(self, file: str, content: bytes) -> None:
        """Write `content` atomically to `file`, a path relative to the folder."""
        atomic_write_bytes(self.root / file, content)

    def record(self, image: Input, name: str, files: Sequence[str], rows: Sequence[TableRow], note: str = "") -> None:
        """Record an image as complete.

        Args:
            image: The image.
            name: Output name of the image.
            files: Output files of the image, already written; other files of a previous prediction are removed.
            rows: Rows of the image in predictions.csv.
            note: Reason for skipped.csv if an output could not be written.
        """
        previous = self.journal.entries.get(image.file, {}).get("files", [])
        self.journal.add(
            image.file, {"key": input_digest(image), "name": name, "files": [*files], "rows": [*rows], "note": note}
        )
        self._remove(set(previous) - set(files))
        if time.monotonic() - self.tables_written_at > TABLE_INTERVAL_S:
            self.write_tables()

    def record_skipped(self, image: Input, reason: str) -> None:
        """Record that an image cannot be predicted, and remove the files of a previous prediction.

        Args:
            image: The image.
            reason: Reason for skipped.csv.
        """
        self.skipped[image.file] = reason
        if (entry := self.journal.entries.get(image.file)) and entry["files"]:  # the image has changed
            self.journal.add(image.file, {**entry, "key": "", "files": [], "rows": [], "note": ""})
            self._remove(entry["files"])

    def _remove(self, files: Iterable[str]) -> None:
        for file in files:
            (self.root / file).unlink(missing_ok=True)

    @property
    def rows(self) -> list[TableRow]:
        """Rows of predictions.csv, sorted by file."""
        rows = (row for _, entry in sorted(self.journal.entries.items()) for row in entry["rows"])
        return add_exams(rows, self.exams)

    @property
    def notes(self) -> dict[str, str]:
        """Notes of predicted images, by file."""
        return {file: entry["note"] for file, entry in self.journal.entries.items() if entry["note"]}

    def write_tables(self) -> None:
        """Write predictions.csv, exams.csv and skipped.csv."""
        skipped = sorted({**self.notes, **self.skipped}.items())
        predictions = self.rows
        self.write_file(TABLE_FILE, encode_csv([*PREDICTION_COLUMNS, *MASS_COLUMNS], predictions))
        self.write_file(EXAMS_FILE, encode_csv(EXAM_COLUMNS, exam_rows(predictions)))
        rows = [{"file": file, "reason": reason} for file, reason in skipped]
        self.write_file(SKIPPED_FILE, encode_csv(["file", "reason"], rows))
        self.tables_written_at = time.monotonic()

    def write_coco(self) -> None:
        """Write coco.json, which contains the bounding boxes and contours of all images."""
        contours = (
            self.root / file
            for _, entry in sorted(self.journal.entries.items())
            for file in entry["files"]
            if file == image_file("contours", entry["name"])
        )
        with atomic_write(self.root / COCO_FILE) as output:
            coco.merge_images((path for path in contours if path.is_file()), output)


def input_digest(image: Input) -> str:
    """Return a hash of name, size, modification and change time, and inode of the file, and of `OUTPUTS_VERSION`.

    Programs cannot set the change time, so a change of content is detected even if the modification time is restored.
    """
    return hash_json([OUTPUTS_VERSION, image.path.name, file_identity(image.path)])


def log_summary(images: Sequence[Input], folder: PredictionFolder) -> None:
    """Log the number of predicted images, those unlike the training data, and the reasons for skipping others.

    Raises:
        UserError: If no image was predicted.
    """
    predicted_files = {row["file"] for row in folder.rows}
    n_predicted = sum(image.file in predicted_files for image in images)
    n_files = format_count(len(images), "file")
    rejected = RejectedCases(sorted({**folder.notes, **folder.skipped}.items()))
    if rejected.rows:
        log.info("%d of %s skipped or incomplete:\n%s", len(rejected.rows), n_files, rejected.format())
    if unlike := {row["file"]: row["warning"] for row in folder.rows if row.get("warning")}:
        table, n_images = RejectedCases(sorted(unlike.items())).format(), format_count(len(predicted_files), "image")
        log.warning("%d of %s unlike the training data:\n%s", len(unlike), n_images, table)
    if n_predicted == 0:
        reasons = folder.root / SKIPPED_FILE
        raise UserError(f"input: {n_files} found, but none could be predicted; see {reasons} for the reasons")
    n_masses = sum("mass" in row for row in folder.rows)
    counts = format_count(n_predicted, "image"), format_count(n_masses, "mass")
    log.info("%s predicted, %s found; written to %s", *counts, folder.root)
