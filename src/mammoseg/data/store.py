"""Preprocessed dataset on disk: memory-mapped arrays and cases.csv, written atomically."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mammoseg.density import ACRDensity
from mammoseg.files import atomic_write

UNKNOWN_DENSITY = 0  # in cases.csv


@dataclass(frozen=True)
class Case:
    """A row of cases.csv, whose columns are the fields; its row number is the `case` of a batch."""

    case: str
    patient: str
    density: ACRDensity  # used for training and results
    given_density: ACRDensity | None  # of the dataset, or assumed by dataset.missing_density
    percent_density: float  # estimated: fraction of the breast that is dense, 0 to 1
    estimated_density: ACRDensity  # follows from it
    side: str
    view: str
    split: str  # the dataset's own part, or empty
    masses: int
    mass_area: int  # pixels of the masses in the full-size image
    mass_pixels: int  # of the preprocessed mask
    breast_share: float  # fraction of the full-size image
    height: int  # of the image before cropping, in pixels
    width: int
    top: int  # the box that was kept: rows [top, bottom), columns [left, right)
    bottom: int
    left: int
    right: int
    whole: int  # 1 if the crop was skipped because it would have cut a mass
    flipped: int  # 1 if the box was mirrored after cropping
    rescaled: int  # 1 if a mask file had another size than the image and was resized


@dataclass(frozen=True)
class PreparedStore:
    """Preprocessed images of a dataset.

    The arrays are memory-mapped copy-on-write, so tensors may alias them without modifying the files.

    Attributes:
        folder: Where the files are.
        images: (N, size, size) float32.
        masks: (N, size, size) uint8 in {0, 1}.
        previews: (N, THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8, the uncropped images padded to a square.
        cases: N rows in the same order.
        about: The settings, and under `skipped` the cases that were skipped.
    """

    ARRAYS: ClassVar = ("images", "masks", "previews")

    folder: Path
    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    previews: NDArray[np.uint8]
    cases: list[Case]
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> PreparedStore:
        """Open the store in `folder`; no image is read yet."""
        return cls(
            folder=folder,
            **{name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in cls.ARRAYS},
            cases=read_cases(folder / "cases.csv"),
            about=json.loads((folder / "about.json").read_text()),
        )

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(file, reason) of each case that was skipped."""
        return [(file, reason) for file, reason in self.about["skipped"]]

    @property
    def density(self) -> NDArray[np.int64]:
        """(N,) in 0..3, as in batches."""
        return np.array([case.density.index for case in self.cases], dtype=np.int64)

    @property
    def mass_fraction(self) -> NDArray[np.float64]:
        """(N,) fraction of each preprocessed image that is mass."""
        return np.array([case.mass_pixels for case in self.cases]) / self.masks.shape[1] ** 2


class NpyWriter:
    """Writes a .npy file row by row.

    Plain writes, not memmap: a full disk raises OSError instead of SIGBUS.

    Args:
        path: File to create.
        n_rows: Number of rows that will be appended.
    """

    def __init__(self, path: Path, n_rows: int) -> None:
        self.n_rows = n_rows
        self.n_written = 0
        self.file = path.open("wb")

    def __enter__(self) -> NpyWriter:
        return self

    def append(self, row: NDArray) -> None:
        """Write the next row; all rows must have one shape and dtype."""
        if self.n_written == 0:
            header = {"descr": row.dtype.str, "fortran_order": False, "shape": (self.n_rows, *row.shape)}
            np.lib.format.write_array_header_1_0(self.file, header)
        self.file.write(np.ascontiguousarray(row).tobytes())
        self.n_written += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.file.close()
        assert kind is not None or self.n_written == self.n_rows, "the header states the number of rows"


def read_cases(path: Path) -> list[Case]:
    """The rows of cases.csv."""
    with path.open(newline="") as lines:
        return [_parse_case(row) for row in csv.DictReader(lines)]


def write_cases(path: Path, cases: list[Case]) -> None:
    """Write cases.csv; an unknown given density is stored as 0."""
    with atomic_write(path) as lines:
        table = csv.DictWriter(lines, [field.name for field in fields(Case)], lineterminator="\n")
        table.writeheader()
        for case in cases:
            row = asdict(case)
            row["given_density"] = UNKNOWN_DENSITY if case.given_density is None else case.given_density
            table.writerow(row)


def _parse_case(row: dict[str, str]) -> Case:
    parse: dict[str, Callable[[str], Any]] = {
        "int": int,
        "float": float,
        "str": str,
        "ACRDensity": lambda text: ACRDensity(int(text)),
        "ACRDensity | None": lambda text: None if int(text) == UNKNOWN_DENSITY else ACRDensity(int(text)),
    }
    values: dict[str, Any] = {field.name: parse[str(field.type)](row[field.name]) for field in fields(Case)}
    return Case(**values)
