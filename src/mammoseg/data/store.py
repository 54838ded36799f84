"""Preprocessed dataset on disk: memory-mapped arrays and cases.csv."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mammoseg.files import atomic_write


@dataclass(frozen=True)
class Case:
    """One row of cases.csv. Its row number is the `case` of a batch."""

    case: str
    patient: str
    density: int  # ACR category 1-4 that training uses
    given_density: int  # the dataset's, or what was assumed for it; 0 if there is none
    percent_density: float  # estimated: share of the breast that is dense, 0 to 1
    estimated_density: int  # ACR category 1-4 that follows from it
    side: str
    view: str
    split: str  # the dataset's own part, or empty
    masses: int
    mass_area: int  # pixels of the masses in the full-size image
    mass_pixels: int  # of the prepared mask
    breast_share: float  # of the full-size image
    height: int  # of the image before cropping, in pixels
    width: int
    top: int  # the box that was kept: rows [top, bottom), columns [left, right)
    bottom: int
    left: int
    right: int
    whole: int  # 1 if the crop would have cut a mass, so that the whole image was kept
    flipped: int  # 1 if the box was mirrored after cropping
    rescaled: int  # 1 if a mask had another size than the image and was stretched onto it


@dataclass(frozen=True)
class Store:
    """Prepared images.

    Shapes: images (N, size, size) float32, masks (N, size, size) uint8 in {0, 1}, both memory-mapped,
    copied on writing, so that tensors may share them: no change reaches the file;
    previews (N, 160, 160) uint8, the uncropped images padded to a square; cases: N rows in the same order.
    `about`: the settings, and under `skipped` what was left out.
    """

    ARRAYS: ClassVar = ("images", "masks", "previews")

    folder: Path
    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    previews: NDArray[np.uint8]
    cases: list[Case]
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Store:
        about = json.loads((folder / "about.json").read_text())
        with (folder / "cases.csv").open(newline="") as lines:
            cases = [from_text(row) for row in csv.DictReader(lines)]
        return cls(
            folder=folder,
            **{name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in cls.ARRAYS},
            cases=cases,
            about=about,
        )

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(file, reason) of what was left out."""
        return [(file, reason) for file, reason in self.about["skipped"]]

    @property
    def density(self) -> NDArray[np.int64]:
        """(N,) in 0..3, the form in which batches and criteria take it."""
        return np.array([case.density - 1 for case in self.cases], dtype=np.int64)

    @property
    def mass_share(self) -> NDArray[np.float64]:
        """(N,) share of each prepared image that is mass."""
        return np.array([case.mass_pixels for case in self.cases]) / self.masks.shape[1] ** 2


class ArrayFile:
    """A .npy file of `number` rows, written one by one.

    Not memory-mapped: on a full disk a write ends in OSError, a mapped page would end the process.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.number = number
        self.written = 0
        self.file = path.open("wb")

    def __enter__(self) -> ArrayFile:
        return self

    def append(self, row: NDArray) -> None:
        if self.written == 0:
            described = {"descr": row.dtype.str, "fortran_order": False, "shape": (self.number, *row.shape)}
            np.lib.format.write_array_header_1_0(self.file, described)
        self.file.write(np.ascontiguousarray(row).tobytes())
        self.written += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.file.close()
        assert kind is not None or self.written == self.number, "the header promises that many"


def from_text(row: dict[str, str]) -> Case:
    read = {"int": int, "float": float, "str": str}
    values: dict[str, Any] = {field.name: read[str(field.type)](row[field.name]) for field in fields(Case)}
    return Case(**values)


def write_cases(path: Path, cases: list[Case]) -> None:
    with atomic_write(path) as file:
        table = csv.DictWriter(file, [f.name for f in fields(Case)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(case) for case in cases)
