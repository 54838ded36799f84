"""Reader of the description tables of CBIS-DDSM, in the editions of TCIA and Kaggle: masses, and calcifications."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mammoseg.data.readers.csv_table import normalise_heading, read_csv, strip_decimals
from mammoseg.data.readers.mammogram import RejectedCases

# Mass-Training_P_00001_LEFT_CC, followed by _1 for the first mass of that image.
SUBJECT = re.compile(
    r"(?P<image>(?:Mass|Calc)-(?P<part>Training|Test)_(?P<patient>P_\d+)_(?P<side>LEFT|RIGHT)_(?P<view>CC|MLO))"
    r"(?:_(?P<mass>\d+))?",
    re.IGNORECASE,
)
# Canonical name of each column -> names in the editions of the tables, without spaces and underscores.
COLUMN_SPELLINGS = {
    "patient": ("patientid", "patient"),
    "density": ("breastdensity", "density"),
    "abnormality": ("abnormalityid", "abnnum", "abnid"),
    "type": ("abnormalitytype",),
    "image": ("imagefilepath", "odimgpath"),
    "crop": ("croppedimagefilepath", "odcroppath"),
    "mask": ("roimaskfilepath", "maskpath"),
}


@dataclass(frozen=True)
class LesionDescription:
    """Row of a description table, which describes one mass or one calcification.

    Attributes:
        source: Table and line, for error messages.
        image: Name of the image, such as Mass-Training_P_00001_LEFT_CC.
        abnormality: Identifier of the lesion within the image.
        density: ACR density, as text.
        image_path: Path of the full mammogram in the table.
        mask_paths: Paths of mask and crop in the table; some tables swap them.
    """

    source: str
    image: str
    abnormality: str
    density: str
    image_path: PurePosixPath
    mask_paths: tuple[PurePosixPath, ...]


def read_descriptions(
    tables: Sequence[Path], root: Path, rejected: RejectedCases, *, masses: bool = True
) -> list[LesionDescription]:
    """Read the masses, or the calcifications, from all description tables of any edition.

    Args:
        tables: CSV files; those that are not description tables are ignored.
        root: Folder of the dataset, to which file names in messages are relative.
        rejected: Receives invalid and contradictory rows.
        masses: Whether to read the masses; otherwise, the calcifications.

    Returns:
        The description of each lesion.
    """
    rows: dict[tuple[str, str], LesionDescription] = {}
    for table in sorted(tables):
        label = table.relative_to(root).as_posix() if table.is_relative_to(root) else table.name
        for line, values in read_csv(table)[1]:
            cells = canonical_columns(values)
            if not {"image", "mask", "density"} <= cells.keys():
                break  # not a description table
            if is_mass(cells) != masses:
                continue
            try:
                row = parse_description(f"{label} line {line}", cells)
            except ValueError as error:
                rejected.add(f"{label} line {line}", error)
                continue
            first = rows.setdefault((row.image, row.abnormality), row)
            if (first.density, first.image_path) != (row.density, row.image_path):
                rejected.add(
                    row.source, f"contradicts {first.source} on {row.image}, abnormality {row.abnormality}; keep one"
                )
    return list(rows.values())


def is_mass(cells: Mapping[str, str]) -> bool:
    """Return whether a row of a description table, by canonical column name, describes a mass."""
    return cells.get("type", "mass").lower() == "mass" or cells["image"].lower().startswith("mass")


def canonical_columns(values: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of the columns in `COLUMN_SPELLINGS`, under their canonical names."""
    normalised = {normalise_heading(column): cell for column, cell in values.items()}
    return {
        name: normalised[spelling]
        for name, spellings in COLUMN_SPELLINGS.items()
        for spelling in spellings
        if spelling in normalised
    }


def parse_description(source: str, cells: Mapping[str, str]) -> LesionDescription:
    """Parse one row of a description table.

    Args:
        source: Table and line, for error messages.
        cells: Cells by canonical column name.

    Returns:
        The description of the lesion.

    Raises:
        ValueError: If a path is missing; the message is the reason.
    """
    image, mask, crop = (path_from_subject(cells.get(name, "")) for name in ("image", "mask", "crop"))
    if not image.parts:
        raise ValueError("no image name such as Mass-Training_P_00001_LEFT_CC in the image file path; use TCIA's table")
    subject = SUBJECT.fullmatch(image.parts[0])
    assert subject is not None, "checked above"
    masks = tuple(path for path in (mask, crop) if path.parts)
    if not masks:
        raise ValueError("the paths of mask and crop are missing; use TCIA's table")
    mask_subject = SUBJECT.fullmatch(masks[0].parts[0])
    abnormality = strip_decimals(cells.get("abnormality", "")) or (mask_subject["mass"] if mask_subject else "") or "1"
    density = strip_decimals(cells["density"])
    return LesionDescription(source, subject["image"], abnormality, density, image, masks)


def path_from_subject(text: str) -> PurePosixPath:
    r"""Return a path of a table without the folders before the subject, which some copies prepend.

    Args:
        text: Cell of a table.

    Returns:
        The path, empty if it does not contain a subject.

    Example:
        >>> path_from_subject(r"CBIS-DDSM\Mass-Test_P_00016_LEFT_CC\1.2\1.3\000000.dcm")
        PurePosixPath('Mass-Test_P_00016_LEFT_CC/1.2/1.3/000000.dcm')
    """
    parts = PurePosixPath(text.replace("\\", "/").strip("/ ")).parts
    start = next((index for index, part in enumerate(parts) if SUBJECT.fullmatch(part)), len(parts))
    return PurePosixPath(*parts[start:])
