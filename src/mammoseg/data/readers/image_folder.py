"""The reader of a plain folder: cases.csv with images and masks.

`cases.csv` needs the columns case, image, mask, patient and density; side, view, split and masses are optional.
`image` and `mask` are paths relative to the folder (PNG, TIFF or JPEG of 8 or 16 bits, or DICOM). A row is one image
with all its masses united in one mask.
"""

from __future__ import annotations

from pathlib import Path

from mammoseg.data.readers.csv_table import read_csv
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

REQUIRED = ("case", "image", "mask", "patient", "density")
SPLIT_NAMES = ("", "train", "val", "test")
LAYOUT = "a folder with cases.csv (columns case,image,mask,patient,density; optional side,view,split,masses)"


def read(root: Path, rejected: RejectedCases) -> list[Mammogram]:
    """Read the rows of cases.csv, in the order of the file.

    Args:
        root: The folder.
        rejected: Receives the rows that cannot be used.

    Returns:
        The images.

    Raises:
        UserError: If there is no cases.csv, or it lacks a column.
    """
    table = root / "cases.csv"
    if not table.is_file():
        raise UserError(
            f"{root}: no cases.csv there; dataset=folder expects {LAYOUT}, so set dataset.root to such a folder"
        )
    columns, records = read_csv(table)
    if missing := [name for name in REQUIRED if name not in columns]:
        raise UserError(f"{table}: the columns {', '.join(missing)} are missing; expected is {LAYOUT}")
    mammograms: dict[str, Mammogram] = {}
    for line, row in records:
        label = f"cases.csv line {line}"
        try:
            mammogram = parse_row(root, {name: row.get(name, "") for name in columns})
        except ValueError as error:
            rejected.add(label, error)
            continue
        if mammogram.case in mammograms:
            rejected.add(label, f"case {mammogram.case} stands in an earlier line already")
        else:
            mammograms[mammogram.case] = mammogram
    return list(mammograms.values())


def parse_row(root: Path, row: dict[str, str]) -> Mammogram:
    """Raises ValueError with the reason if the row is invalid."""
    for name in ("case", "image", "mask", "patient"):
        if not row[name]:
            raise ValueError(f"column {name} is blank")
    try:
        density = ACRDensity.parse(row["density"])
    except ValueError:
        raise ValueError(f"density {row['density']} is no ACR category 1-4; leave it blank if it is unknown") from None
    if row.get("split", "") not in SPLIT_NAMES:
        raise ValueError(f"split {row['split']} is none of train, val, test")
    return Mammogram(
        case=row["case"],
        image_file=root / row["image"],
        mask_candidates=((root / row["mask"],),),
        patient=row["patient"],
        density=density,
        side=row.get("side", "")[:1].upper(),
        view=row.get("view", "").upper(),
        split=row.get("split", ""),
        masses=parse_int(row.get("masses") or "1", "masses"),
    )


def parse_int(text: str, column: str) -> int:
    """Raises ValueError for anything but decimal digits."""
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{column} {text} is no whole number")
    return int(text)
