"""Reader of VinDr-Mammo: bounding boxes of masses, and the ACR density of each breast.

Layout: `images/<study_id>/<image_id>.dicom`, `breast-level_annotations.csv` (one row per image) and
`finding_annotations.csv` (one row per finding). Only findings of BI-RADS 3 to 5 have a box. The tables are read row by
row, and pixels are not decoded.
"""

from __future__ import annotations

import ast
import math
from collections import defaultdict
from collections.abc import Set
from pathlib import Path

from mammoseg.data.readers.cells import parse_side, parse_split
from mammoseg.data.readers.csv_table import check_length, iterate_csv
from mammoseg.data.readers.file_tree import require_folder, walk
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.mass_location import MassBox, remove_repeated
from mammoseg.density import ACRDensity

IMAGES, BREASTS, FINDINGS = "images", "breast-level_annotations.csv", "finding_annotations.csv"
BREAST_COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_density", "split")
BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
FINDING_COLUMNS = ("study_id", "image_id", "finding_categories", *BOX_COLUMNS)
MASS = "mass"
HINT = (
    "dataset.root must contain images/, breast-level_annotations.csv and finding_annotations.csv of VinDr-Mammo 1.0.0 "
    "from PhysioNet"
)
Boxes = dict[str, tuple[MassBox, ...]]  # by image_id


def read(root: Path, rejected: RejectedCases, *, negatives: bool = False) -> list[Mammogram]:
    """Read the images with a finding in the category Mass, in the order of the breast-level table.

    Args:
        root: Folder of the dataset.
        rejected: Receives the images that cannot be used.
        negatives: Whether to read the images without a mass as well, of which some have other findings.

    Returns:
        The accepted images, with their part in the official split (train or test). The patient is the exam, since the
        tables contain no patients.

    Raises:
        UserError: If `root` does not contain VinDr-Mammo, or a table lacks a column.
    """
    root = Path(root)
    require_folder(root, HINT)
    boxes, invalid, described = read_boxes(root / FINDINGS, rejected, negatives)
    files = find_images(root / IMAGES)
    mammograms: list[Mammogram] = []
    listed: dict[str, str] = {}
    for line, row in iterate_csv(root / BREASTS, BREAST_COLUMNS, HINT):
        image, name = row["imageid"], f"{row['studyid']}/{row['imageid']}"
        if image in listed:
            rejected.add(f"{BREASTS} line {line}", f"image {image} is in an earlier line; remove one")
            continue
        listed[image] = name
        if image in invalid or (image not in boxes and not negatives):
            continue
        try:
            check_length(row)
            file = root / IMAGES / files[name] if name in files else None
            mammograms.append(make_mammogram(row, boxes.get(image, ()), file, image in described))
        except ValueError as error:
            rejected.add(f"{IMAGES}/{name}.dicom", error)
    reject_unlisted(listed, files.keys(), boxes, rejected)
    exams = {name.partition("/")[0] for name in listed.values()}
    rejected.found |= {"images listed": len(listed), "exams listed": len(exams)}
    return mammograms


def reject_unlisted(listed: dict[str, str], files: Set[str], boxes: Boxes, rejected: RejectedCases) -> None:
    """Reject the DICOM files and the findings of images that are not in the breast-level table.

    Args:
        listed: <study_id>/<image_id> of the images in the table, by image.
        files: <study_id>/<image_id> of the DICOM files.
        boxes: Boxes by image.
        rejected: Receives the rejected images.
    """
    for name in sorted(files - set(listed.values())):
        rejected.add(f"{IMAGES}/{name}.dicom", f"no row in {BREASTS}; use the table of the release")
    for image in sorted(boxes.keys() - listed.keys()):
        rejected.add(image, f"has a mass in {FINDINGS}, but no row in {BREASTS}; use the tables of the release")


def find_images(folder: Path) -> dict[str, str]:
    """Return the DICOM files by <study_id>/<image_id>, relative to a folder; nothing if it does not exist."""
    if not folder.is_dir():
        return {}
    return {
        f"{subfolder.name}/{Path(name).stem}": f"{subfolder.name}/{name}"
        for subfolder, names in walk(folder, max_depth=1)
        for name in names
        if name.lower().endswith(".dicom")
    }


def read_boxes(table: Path, rejected: RejectedCases, negatives: bool) -> tuple[Boxes, set[str], set[str]]:
    """Read the bounding boxes of masses.

    Args:
        table: finding_annotations.csv.
        rejected: Receives invalid rows; counts repeated boxes, which are not used.
        negatives: Whether images without a mass are read.

    Returns:
        Boxes by image; the images that cannot be used since one of their rows is invalid; and the images
        with a row: those with a mass and, with `negatives`, all others.

    Raises:
        UserError: If the table is missing or lacks a column.
    """
    boxes: dict[str, list[MassBox]] = defaultdict(list)
    invalid: set[str] = set()
    others: set[str] = set()
    for line, row in iterate_csv(table, FINDING_COLUMNS, HINT):
        if negatives:
            others.add(row["imageid"])
        try:
            check_length(row)
            if MASS in parse_categories(row["findingcategories"]):
                boxes[row["imageid"]].append(parse_box(row))
        except ValueError as error:
            rejected.add(f"{table.name} line {line}", error)
            invalid.add(row["imageid"])
    unique = {image: remove_repeated(marked, rejected.ignored) for image, marked in boxes.items()}
    return unique, invalid, others | boxes.keys()


def parse_categories(text: str) -> set[str]:
    """Parse the categories of a finding, a Python list as text.

    Returns:
        The categories in lower case.

    Raises:
        ValueError: If the cell contains anything else.

    Example:
        >>> sorted(parse_categories("['Mass', 'Suspicious Calcification']"))
        ['mass', 'suspicious calcification']
    """
    try:
        categories = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        categories = None
    if not isinstance(categories, list) or not all(isinstance(category, str) for category in categories):
        raise ValueError(f"finding_categories must be a list such as ['Mass'], got {text or 'nothing'}")
    return {category.strip().lower() for category in categories}


def parse_box(row: dict[str, str]) -> MassBox:
    """Parse the bounding box of a finding.

    Raises:
        ValueError: If it is missing or has no area; the message is the reason.
    """
    try:
        left, top, right, bottom = (float(row[name]) for name in BOX_COLUMNS)
    except ValueError:
        left = top = right = bottom = math.nan
    if not (math.isfinite(left + top + right + bottom) and left < right and top < bottom):
        cells = ", ".join(row[name] or "nothing" for name in BOX_COLUMNS)
        raise ValueError(f"a mass must have xmin < xmax and ymin < ymax, got {cells}")
    return MassBox(left, top, right, bottom)


def make_mammogram(row: dict[str, str], boxes: tuple[MassBox, ...], file: Path | None, described: bool) -> Mammogram:
    """Create the `Mammogram` of a row of the breast-level table.

    Args:
        row: Cells by normalised heading.
        boxes: Boxes of the masses in the image.
        file: The DICOM file, None if it is missing.
        described: Whether the table of findings has a row of the image; otherwise it is unknown if it has a mass.

    Raises:
        ValueError: If the file is missing or a cell is invalid; the message is the reason.
    """
    if file is None:
        raise ValueError("the DICOM file is missing; download it again")
    if not described:
        raise ValueError(f"no row in {FINDINGS}; use the table of the release")
    try:
        density = ACRDensity.parse(row["breastdensity"])
    except ValueError:
        raise ValueError(f"breast_density must be DENSITY A to D or blank, got {row['breastdensity']}") from None
    return Mammogram(
        case=row["imageid"],
        image_file=file,
        patient=row["studyid"],
        density=density,
        side=parse_side(row["laterality"]),
        view=row["viewposition"].upper(),
        locations=boxes,
        split=parse_split(row["split"]),
        masses=len(boxes),
    )
