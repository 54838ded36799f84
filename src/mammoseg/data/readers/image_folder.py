"""Reader of a custom dataset: a folder with cases.csv, images and masks.

`cases.csv` has the columns case, image, mask, patient and density; side, view, split and masses are optional. `image`
and `mask` are paths relative to the folder (PNG, TIFF or JPEG of 8 or 16 bits, or DICOM). Each row is one image; its
mask is the union of all its masses. With `negatives`, a row without a mask is an image without a mass.
"""

from __future__ import annotations

from pathlib import Path

from mammoseg.data.readers.cells import parse_count, parse_side, parse_split, resolve_path, strip_unknown
from mammoseg.data.readers.csv_table import check_columns, check_length, normalise_heading, read_csv
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

REQUIRED_COLUMNS = ("case", "image", "mask", "patient", "density")
LAYOUT = "a folder with cases.csv (columns case,image,mask,patient,density; optional side,view,split,masses)"


def read(root: Path, rejected: RejectedCases, *, negatives: bool = False) -> list[Mammogram]:
    """Read the rows of cases.csv, in the order of the file.

    Args:
        root: The folder.
        rejected: Receives the rows that cannot be used.
        negatives: Whether to accept rows without a mask, which are images without a mass.

    Returns:
        The accepted images.

    Raises:
        UserError: If there is no cases.csv, or a required column is missing.
    """
    table = root / "cases.csv"
    if not table.is_file():
        if sheets := sorted(root.glob("cases.xls*")):
            raise UserError(f"{sheets[0]}: spreadsheets are not read; save it as cases.csv")
        raise UserError(
            f"{root}: no cases.csv found; dataset=folder requires {LAYOUT}; set dataset.root to such a folder"
        )
    headings, records = read_csv(table)
    columns = {heading: normalise_heading(heading) for heading in headings}
    hint = f"dataset=folder requires {LAYOUT}, separated by commas, semicolons or tabs"
    check_columns(table, headings, REQUIRED_COLUMNS, hint)
    mammograms: dict[str, Mammogram] = {}
    for line, row in records:
        label = f"cases.csv line {line}"
        try:
            check_length(row)
            mammogram = parse_row(root, {name: row.get(heading, "") for heading, name in columns.items()}, negatives)
        except ValueError as error:
            rejected.add(label, error)
            continue
        if mammogram.case in mammograms:
            rejected.add(label, f"case {mammogram.case} is already defined in an earlier line")
        else:
            mammograms[mammogram.case] = mammogram
    return list(mammograms.values())


def parse_row(root: Path, row: dict[str, str], negatives: bool = False) -> Mammogram:
    """Parse one row of cases.csv.

    Args:
        root: Folder of the dataset.
        row: Cells by column.
        negatives: Whether the mask may be blank.

    Returns:
        The image.

    Raises:
        ValueError: If the row is invalid; the message is the reason.
    """
    mask = strip_unknown(row["mask"]) if negatives else row["mask"]
    for name in ("case", "image", *(() if negatives else ("mask",)), "patient"):
        if not row[name] or (name == "patient" and not strip_unknown(row[name])):
            raise ValueError(f"column {name} is blank")
    masses = parse_count("masses", row.get("masses") or ("1" if mask else "0"))
    if masses and not mask:
        raise ValueError(f"masses must be 0 or blank in a row without a mask, got {masses}")
    try:
        density = ACRDensity.parse(row["density"])
    except ValueError:
        raise ValueError(
            f"density must be an ACR category 1 to 4, A to D or I to IV, or blank, got {row['density']}"
        ) from None
    return Mammogram(
        case=row["case"],
        image_file=resolve_path(root, row["image"]),
        mask_candidates=((resolve_path(root, mask),),) if mask else (),
        patient=row["patient"],
        density=density,
        side=parse_side(row.get("side", "")),
        view=strip_unknown(row.get("view", "")).upper(),
        split=parse_split(row.get("split", "")),
        masses=masses,
    )
