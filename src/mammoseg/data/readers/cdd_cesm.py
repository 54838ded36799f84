"""Reader of CDD-CESM: the low-energy images, which are similar to digital mammograms, with outlines of masses.

Layout, up to four folders deep: `Low energy images of CDD-CESM/P1_L_DM_MLO.jpg`, the sheet `all` of
`Radiology-manual-annotations.xlsx` (one row per image) and `Radiology_hand_drawn_segmentations_v2.csv` (one row per
region). The regions have no label, so an image is used only if all its findings are masses. Names of images may contain
blanks. Pixels are not decoded.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mammoseg.data.readers.cells import parse_side, strip_unknown
from mammoseg.data.readers.csv_table import check_length, iterate_csv
from mammoseg.data.readers.file_tree import add_first, require_folder, walk
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.spreadsheet import read_sheet, select_columns
from mammoseg.data.readers.via_regions import parse_region
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

MAX_FOLDER_DEPTH = 4
TABLE, REGIONS, SHEET = "Radiology-manual-annotations.xlsx", "Radiology_hand_drawn_segmentations_v2.csv", "all"
COLUMNS = {
    "image": ("Image_name",),
    "patient": ("Patient_ID",),
    "side": ("Side",),
    "type": ("Type",),
    "density": ("Breast density (ACR)", "ACR", "Breast density"),
    "findings": ("Findings",),
    "view": ("View",),
}
REGION_COLUMNS = ("#filename", "region_shape_attributes")
LOW_ENERGY = "dm"
IMAGE_NAME = re.compile(r"p\d+_[lr]_(dm|cm)_\S+")
MASS = re.compile(r"(?<!non[ -])\bmass(es)?\b")
HINT = (
    f"dataset.root must contain the low-energy images (.jpg), {TABLE} and {REGIONS} of CDD-CESM from The Cancer "
    "Imaging Archive"
)
Outlines = tuple[NDArray[Any], ...]


@dataclass
class Regions:
    """Regions of all images.

    Attributes:
        outlines: Outlines by image.
        unusable: Images with a region that has no outline.
        kinds: Number of regions of each kind.
    """

    outlines: dict[str, Outlines]
    unusable: set[str]
    kinds: Counter[str]


def read(root: Path, rejected: RejectedCases, *, negatives: bool = False) -> list[Mammogram]:
    """Read the low-energy images whose findings are masses only, sorted by name.

    Args:
        root: Folder of the dataset.
        rejected: Receives the images that cannot be used. Images with masses and other findings, and with masses
            without an outline, are only counted.
        negatives: Whether to read the images without a mass as well, of which some have other findings.

    Returns:
        The accepted images.

    Raises:
        UserError: If `root` does not contain CDD-CESM, or a table lacks a column.
    """
    files = find_files(Path(root), rejected.ignored)
    images = read_table(files[TABLE.lower()])
    regions = read_regions(files[REGIONS.lower()], rejected)
    mammograms = []
    for name in sorted(images):
        try:
            if outlines := usable_outlines(name, images[name], regions, rejected.ignored, negatives):
                mammograms.append(make_mammogram(name, images[name], outlines[0], files))
        except ValueError as error:
            rejected.add(f"{name.upper()}.jpg", error)
    for name in sorted(name for name in files if f"_{LOW_ENERGY}_" in name and name not in images):
        rejected.add(
            files[name].name, f"no row of Type DM in the sheet {SHEET} of {TABLE}; use the table of the release"
        )
    patients = {rows[0]["patient"] for rows in images.values()}
    counts = {f"{kind}s": count for kind, count in regions.kinds.items()}
    rejected.found |= {"low-energy images listed": len(images), "women listed": len(patients), **counts}
    return mammograms


def find_files(root: Path, ignored: Counter[str]) -> dict[str, Path]:
    """Find the tables and the images.

    Args:
        root: Folder of the dataset.
        ignored: Counts files with the name of another one.

    Returns:
        The tables by name in lower case, and the images by `canonical_name`.

    Raises:
        UserError: If `root` is not a folder, or a table or all low-energy images are missing.
    """
    require_folder(root, HINT)
    files: dict[str, Path] = {}
    for folder, names in walk(root, max_depth=MAX_FOLDER_DEPTH):
        for name in names:
            if name.lower() in (TABLE.lower(), REGIONS.lower()):
                add_first(files, name.lower(), folder / name, ignored)
            elif name.lower().endswith((".jpg", ".jpeg")) and IMAGE_NAME.fullmatch(canonical_name(name)):
                add_first(files, canonical_name(name), folder / name, ignored)
    if missing := [name for name in (TABLE, REGIONS) if name.lower() not in files]:
        raise UserError(f"{root}: no {' and no '.join(missing)} found; {HINT}")
    if not any(f"_{LOW_ENERGY}_" in name for name in files):
        raise UserError(f"{root}: no image such as P1_L_DM_MLO.jpg found; {HINT}")
    return files


def canonical_name(name: str) -> str:
    """Return the name of an image in lower case, without white space and suffix.

    Example:
        >>> canonical_name("P1_L_DM_MLO .jpg"), canonical_name(" P1_L_DM_MLO")
        ('p1_l_dm_mlo', 'p1_l_dm_mlo')
    """
    return re.sub(r"\s|\.jpe?g\s*$", "", name.lower())


def read_table(file: Path) -> dict[str, list[dict[str, str]]]:
    """Read the rows of the low-energy images, by `canonical_name`.

    Raises:
        UserError: If the sheet or a column is missing.
    """
    rows = read_sheet(file, SHEET)
    records = select_columns(
        file, rows, COLUMNS, lambda cells: any(IMAGE_NAME.fullmatch(canonical_name(cell)) for cell in cells)
    )
    images: dict[str, list[dict[str, str]]] = defaultdict(list)
    for record in records:
        if record["type"].lower() == LOW_ENERGY:
            images[canonical_name(record["image"])].append(record)
    return dict(images)


def read_regions(file: Path, rejected: RejectedCases) -> Regions:
    """Read the regions of all images.

    Args:
        file: The CSV file.
        rejected: Receives invalid rows, whose image is not used.

    Raises:
        UserError: If a column is missing.
    """
    outlines: dict[str, list[NDArray[Any]]] = defaultdict(list)
    regions = Regions({}, set(), Counter())
    for line, row in iterate_csv(file, REGION_COLUMNS, HINT):
        name = canonical_name(row["#filename"])
        try:
            check_length(row)
            kind, outline = parse_region(row["regionshapeattributes"])
        except ValueError as error:
            rejected.add(f"{file.name} line {line}", error)
            regions.unusable.add(name)
            continue
        if not kind:
            continue
        regions.kinds[kind] += 1
        if outline is None:
            regions.unusable.add(name)
        else:
            outlines[name].append(outline)
    regions.outlines = {name: tuple(drawn) for name, drawn in outlines.items()}
    return regions


def usable_outlines(
    name: str, rows: Sequence[Mapping[str, str]], regions: Regions, ignored: Counter[str], negatives: bool
) -> tuple[Outlines] | None:
    """Return the outlines of the masses of an image; None if the image is not used.

    Args:
        name: Name of the image.
        rows: Its rows in the table.
        regions: Regions of all images.
        ignored: Counts the images that are not used because the outlines of their masses are unknown.
        negatives: Whether images without a mass are used.
    """
    findings = {finding for row in rows for finding in split_findings(row["findings"])}
    masses = {finding for finding in findings if MASS.search(finding)}
    outlines = regions.outlines.get(name, ())
    if not masses:
        if not findings and (outlines or name in regions.unusable):
            ignored["images with regions but without findings, which are not used"] += 1
            return None
        return ((),) if negatives else None
    if masses != findings:
        ignored["images with masses and other findings, which are not used"] += 1
    elif not outlines or name in regions.unusable:
        ignored["images with a mass without an outline, which are not used"] += 1
    else:
        return (outlines,)
    return None


def split_findings(text: str) -> list[str]:
    """Split the cell Findings.

    Example:
        >>> split_findings("Mass$ Architectural distortion"), split_findings("_")
        (['mass', 'architectural distortion'], [])
    """
    findings = [re.sub(r"[\[\]'\"_]", " ", part).strip().lower() for part in text.split("$")]
    return [finding for finding in findings if finding not in ("", "normal", "none", "no findings")]


def common_cell(rows: Sequence[Mapping[str, str]], column: str) -> str:
    """Return the cell of a column in which all rows of an image agree; blank cells and `_` are ignored.

    Args:
        rows: Rows of the image.
        column: Key of the column in `COLUMNS`.

    Raises:
        ValueError: If the rows differ; the message is the reason.

    Example:
        >>> common_cell([{"density": "B"}, {"density": "_"}], "density")
        'B'
    """
    cells = {row[column].strip("_ ") for row in rows} - {""}
    if len(cells) > 1:
        raise ValueError(f"the rows of the image must agree in {column}, got {', '.join(sorted(cells))}; fix the table")
    return next(iter(cells), "")


def make_mammogram(
    name: str, rows: Sequence[Mapping[str, str]], outlines: Outlines, files: Mapping[str, Path]
) -> Mammogram:
    """Create the `Mammogram` of an image.

    Args:
        name: Name of the image.
        rows: Its rows in the table.
        outlines: Outlines of its masses.
        files: See `find_files`.

    Raises:
        ValueError: If the file is missing, or a cell is invalid; the message is the reason.
    """
    if name not in files:
        raise ValueError("the image is missing; download it again")
    patient = strip_unknown(common_cell(rows, "patient").upper()).removeprefix("P")
    if not patient:
        raise ValueError("Patient_ID must not be blank; fix the table")
    cell = common_cell(rows, "density")
    try:
        density = ACRDensity.parse(cell)
    except ValueError:
        raise ValueError(f"density must be ACR A to D or blank, got {cell}; fix the table") from None
    return Mammogram(
        case=name.upper(),
        image_file=files[name],
        patient=f"P{patient}",
        density=density,
        side=parse_side(common_cell(rows, "side")),
        view=common_cell(rows, "view").upper(),
        outlines=outlines,
        masses=len(outlines),
    )
