"""Anybody's own data: a folder with cases.csv, images and masks.

`cases.csv` needs the columns case, image, mask, patient and density; side, view, split and masses are
read where they are there. `image` and `mask` are paths relative to the folder (PNG, TIFF or JPEG of 8 or
16 bits, or DICOM). One row is one image with the masses of it joined into one mask.
"""

from __future__ import annotations

from pathlib import Path

from mammoseg.data.readers.csv_table import read_csv
from mammoseg.data.readers.mammogram import DENSITIES, BadCases, Mammogram
from mammoseg.errors import UserError

REQUIRED = ("case", "image", "mask", "patient", "density")
PARTS = ("", "train", "val", "test")
LAYOUT = "a folder with cases.csv (columns case,image,mask,patient,density; optional side,view,split,masses)"


def read(root: Path, bad: BadCases) -> list[Mammogram]:
    """The rows of `root`/cases.csv, in the order of the file. Raises UserError if there is no such table."""
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
        place = f"cases.csv line {line}"
        try:
            mammogram = from_row(root, {name: row.get(name, "") for name in columns})
        except ValueError as error:
            bad.add(place, error)
            continue
        if mammogram.case in mammograms:
            bad.add(place, f"case {mammogram.case} stands in an earlier line already")
        else:
            mammograms[mammogram.case] = mammogram
    return list(mammograms.values())


def from_row(root: Path, row: dict[str, str]) -> Mammogram:
    """Raises ValueError with the reason."""
    for name in ("case", "image", "mask", "patient"):
        if not row[name]:
            raise ValueError(f"column {name} is blank")
    if row["density"] not in ("", *map(str, DENSITIES)):
        raise ValueError(f"density {row['density']} is no ACR category 1-4; leave it blank if it is unknown")
    if row.get("split", "") not in PARTS:
        raise ValueError(f"split {row['split']} is none of train, val, test")
    return Mammogram(
        case=row["case"],
        image_file=root / row["image"],
        mask_files=((root / row["mask"],),),
        patient=row["patient"],
        density=int(row["density"]) if row["density"] else None,
        side=row.get("side", "")[:1].upper(),
        view=row.get("view", "").upper(),
        split=row.get("split", ""),
        masses=whole_number(row.get("masses") or "1", "masses"),
    )


def whole_number(text: str, column: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{column} {text} is no whole number")
    return int(text)
