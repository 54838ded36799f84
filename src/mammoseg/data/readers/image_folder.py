"""Reader of a custom dataset: a folder with cases.csv, images and masks.

`cases.csv` has the columns case, image, mask, patient and density; side, view, split and masses are optional. `image`
and `mask` are paths relative to the folder (PNG, TIFF or JPEG of 8 or 16 bits, or DICOM). Each row is one image; its
mask is the union of all its masses.
"""

from __future__ import annotations

from pathlib import Path

from mammoseg.data.readers.csv_table import read_csv
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

REQUIRED_COLUMNS = ("case", "image", "mask", "patient", "density")
SPLITS = ("", "train", "val", "test")
LAYOUT = "a folder with cases.csv (columns case,image,mask,patient,density; optional side,view,split,masses)"


def read(root: Path, rejected: RejectedCases) -> list[Mammogram]:
    """Read the rows of cases.csv, in the order of the file.

    Args:
        root: The folder.
        rejected: Receives the rows that cannot be used.

    Returns:
        The accepted images.

    Raises:
        UserError: If there is no cases.csv, or a required column is missing.
    """
    table = root / "cases.csv"
    if not table.is_file():
        raise UserError(
            f"{root}: no cases.csv found; dataset=folder requires {LAYOUT}; set dataset.root to such a folder"
        )
    columns, records = read_csv(table)
    if missing := [name for name in REQUIRED_COLUMNS if name not in columns]:
        raise UserError(f"{table}: missing columns: {', '.join(missing)}; dataset=folder requires {LAYOUT}")
    mammograms: dict[str, Mammogram] = {}
    for line, row in records:
        label = f"cases.csv line {line}"
        try:
            mammogram = parse_row(root, {name: row.get(name, "") for name in columns})
        except ValueError as error:
            rejected.add(label, error)
            continue
        if mammogram.case in mammograms:
            rejected.add(label, f"case {mammogram.case} is already defined in an earlier line")
        else:
            mammograms[mammogram.case] = mammogram
    return list(mammograms.values())


def parse_row(root: Path, row: dict[str, str]) -> Mammogram:
    """Parse one row of cases.csv.

    Args:
        root: Folder of the dataset.
        row: Cells by column.

    Returns:
        The image.

    Raises:
        ValueError: If the row is invalid; the message is the reason.
    """
    for name in ("case", "image", "mask", "patient"):
        if not row[name]:
            raise ValueError(f"column {name} is blank")
    try:
        density = ACRDensity.parse(row["density"])
    except ValueError:
        raise ValueError(f"density must be an ACR category 1 to 4 or blank, got {row['density']}") from None
    if row.get("split", "") not in SPLITS:
        raise ValueError(f"split must be train, val, test or blank, got {row['split']}")
    return Mammogram(
        case=row["case"],
        image_file=root / row["image"],
        mask_candidates=((root / row["mask"],),),
        patient=row["patient"],
        density=density,
        side=row.get("side", "")[:1].upper(),
        view=row.get("view", "").upper(),
        split=row.get("split", ""),
        masses=parse_int("masses", row.get("masses") or "1"),
    )


def parse_int(column: str, text: str) -> int:
    """Parse a non-negative integer.

    Args:
        column: Name of the column, for the error message.
        text: Content of the cell.

    Returns:
        The integer.

    Raises:
        ValueError: If the cell contains anything but decimal digits.
    """
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{column} must be a non-negative integer, got {text}")
    return int(text)
