"""Prepared dataset on disk: memory-mapped arrays and cases.csv, written atomically."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from mammoseg.csv_cells import escape_row, unescape_row
from mammoseg.density import ACRDensity
from mammoseg.files import atomic_write

Value = TypeVar("Value")
UNKNOWN_DENSITY = 0  # in cases.csv
# Old -> new name of each column of cases.csv that was renamed since version 0.1; old stores and caches can be read.
RENAMED_COLUMNS = {"breast_share": "breast_fraction", "whole": "crop_skipped", "rescaled": "mask_resized"}


@dataclass(frozen=True)
class Case:
    """A row of cases.csv; the fields are the columns. The row index is the `case` of a batch.

    Attributes:
        case: Identifier of the image.
        patient: Identifier of the patient.
        density: ACR category used for training and results.
        given_density: ACR category in the dataset, or assumed by `dataset.missing_density`; None if unknown. The name
            of the column is the same as in version 0.1.
        percent_density: Percent density by thresholding, as a fraction in [0, 1].
        estimated_density: ACR category estimated from the pixels, the integer nearest to `density_score`.
        side: Laterality, L or R; may be empty.
        view: View position, such as CC or MLO; may be empty.
        split: Part in the official split of the dataset (train, val or test), or empty.
        masses: Number of masses.
        mass_area: Mass pixels in the full-size image.
        mass_pixels: Mass pixels in the preprocessed mask.
        breast_fraction: Breast area as a fraction of the full-size image.
        height: Height of the full-size image in pixels.
        width: Width of the full-size image in pixels.
        top: First row of the crop box in the full-size image.
        bottom: Last row of the crop box, exclusive.
        left: First column of the crop box.
        right: Last column of the crop box, exclusive.
        crop_skipped: 1 if the image was left uncropped because the crop would have cut a mass.
        flipped: 1 if the image was mirrored.
        mask_resized: 1 if a mask file had a different size than the image and was resized.
        mask_labels: Number of different labels in the mask files, all of which are mass; 0 for an empty mask.
        mass_in_breast: Fraction of the mass that lies within the segmented breast; 1 without a mass.
        image_density_score: Density estimated from the pixels, in [1, 4]; see `DensityModel.score`. NaN in stores of
            earlier versions.
        density_score: Its mean over the images of the patient.
        source: Name of the dataset in a union of datasets; otherwise empty.
        spacing_mm: Pixel spacing of the full-size image, see `PixelSpacing.mean`; None if unknown, and in stores of
            earlier versions.
        acquisition: Type of the image as in `ImageMetadata`, film or digital; empty if unknown, and in stores of
            earlier versions.
        mass_locations: Boxes and circles that mark the masses if their outlines are unknown, see `format_locations`;
            otherwise empty.
    """

    case: str
    patient: str
    density: ACRDensity
    given_density: ACRDensity | None
    percent_density: float
    estimated_density: ACRDensity
    side: str
    view: str
    split: str
    masses: int
    mass_area: int
    mass_pixels: int
    breast_fraction: float
    height: int
    width: int
    top: int
    bottom: int
    left: int
    right: int
    crop_skipped: int
    flipped: int
    mask_resized: int
    mask_labels: int = 1
    mass_in_breast: float = 1.0
    image_density_score: float = math.nan
    density_score: float = math.nan
    source: str = ""
    spacing_mm: float | None = None
    acquisition: str = ""
    mass_locations: str = ""

    @property
    def has_mass(self) -> bool:
        """Whether the image has a mass: in the mask, or marked by a box or a circle."""
        return self.mass_pixels > 0 or self.detection_only

    @property
    def detection_only(self) -> bool:
        """Whether the masses are only marked by boxes or circles, so that the image has no pixel metrics."""
        return bool(self.mass_locations)


@dataclass(frozen=True)
class PreparedStore:
    """Preprocessed images of a dataset.

    The arrays are memory-mapped copy-on-write, so tensors may alias them without modifying the files.

    Attributes:
        folder: Folder of the store.
        images: (N, size, size) float32.
        masks: (N, size, size) uint8 in {0, 1}.
        previews: (N, PREVIEW_SIDE, PREVIEW_SIDE) uint8, the downsampled uncropped images.
        cases: N rows in the same order.
        about: Content of about.json: the settings of the preprocessing, and the skipped cases under `skipped`.

    Example:
        >>> store = PreparedStore.open(Path("data/prepared/inbreast-..."))  # doctest: +SKIP
        >>> store.images.shape  # doctest: +SKIP
        (107, 256, 256)
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
        """Open the store in `folder` without reading the arrays."""
        return cls(
            folder=folder,
            **{name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in cls.ARRAYS},
            cases=read_cases(folder / "cases.csv"),
            about=json.loads((folder / "about.json").read_text(encoding="utf-8")),
        )

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(file, reason) of each skipped case."""
        return [(file, reason) for file, reason in self.about["skipped"]]

    @property
    def density(self) -> NDArray[np.int64]:
        """ACR density (N,) in 0..3, as in batches."""
        return np.array([case.density.index for case in self.cases], dtype=np.int64)

    @property
    def density_score(self) -> NDArray[np.float32]:
        """Density estimated from the pixels (N,) in [0, 3], where an integer is a category as in `density`."""
        return np.array([case.density_score - 1 for case in self.cases], dtype=np.float32)

    @property
    def mass_fraction(self) -> NDArray[np.float64]:
        """Fraction of mass pixels in each preprocessed image, (N,)."""
        mass_pixels = np.array([case.mass_pixels for case in self.cases], np.float64)
        return np.asarray(mass_pixels / self.masks.shape[1] ** 2)

    @property
    def has_mass(self) -> NDArray[np.bool_]:
        """Whether each image has a mass, (N,), see `Case.has_mass`."""
        return np.array([case.has_mass for case in self.cases], dtype=np.bool_)


class NpyWriter:
    """Incremental writer of a .npy file.

    Uses plain writes instead of a memmap, so a full disk raises OSError instead of SIGBUS.

    Args:
        path: File to create.
        n_rows: Number of rows to be appended.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.npy"
        ...     with NpyWriter(path, n_rows=2) as writer:
        ...         writer.append(np.zeros(3))
        ...         writer.append(np.ones(3))
        ...     np.load(path).shape
        (2, 3)
    """

    def __init__(self, path: Path, n_rows: int) -> None:
        self.n_rows = n_rows
        self.n_written = 0
        self.file = path.open("wb")

    def __enter__(self) -> NpyWriter:
        return self

    def append(self, row: NDArray[Any]) -> None:
        """Append a row; all rows must have the same shape and dtype."""
        if self.n_written == 0:
            header = {"descr": row.dtype.str, "fortran_order": False, "shape": (self.n_rows, *row.shape)}
            np.lib.format.write_array_header_1_0(self.file, header)
        self.file.write(np.ascontiguousarray(row).tobytes())
        self.n_written += 1

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self.file.close()
        assert exc_type is not None or self.n_written == self.n_rows, "the number of rows must equal that in the header"


def read_cases(path: Path) -> list[Case]:
    """Read cases.csv, including that of stores written by version 0.1."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [_parse_case(rename_columns(unescape_row(row))) for row in csv.DictReader(lines)]


def rename_columns(row: Mapping[str, Value]) -> dict[str, Value]:
    """Rename the columns of version 0.1 in a row of cases.csv; see `RENAMED_COLUMNS`."""
    return {RENAMED_COLUMNS.get(name, name): value for name, value in row.items()}


def write_cases(path: Path, cases: list[Case]) -> None:
    """Write cases.csv; an unknown density is stored as 0."""
    with atomic_write(path) as lines:
        table = csv.DictWriter(lines, [field.name for field in fields(Case)], lineterminator="\n")
        table.writeheader()
        for case in cases:
            row = asdict(case)
            row["given_density"] = UNKNOWN_DENSITY if case.given_density is None else case.given_density
            table.writerow(escape_row(row))


def _parse_case(row: dict[str, str]) -> Case:
    parse: dict[str, Callable[[str], Any]] = {
        "int": int,
        "float": float,
        "str": str,
        "float | None": lambda text: float(text) if text else None,
        "ACRDensity": lambda text: ACRDensity(int(text)),
        "ACRDensity | None": lambda text: None if int(text) == UNKNOWN_DENSITY else ACRDensity(int(text)),
    }
    values: dict[str, Any] = {
        field.name: parse[str(field.type)](row[field.name])
        for field in fields(Case)
        if field.name in row or field.default is MISSING  # stores of earlier versions lack the last columns
    }
    return Case(**values)
