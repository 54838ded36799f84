"""Reader of TOMPEI-CMMD, outlines of masses on mediolateral oblique views of the collection CMMD.

Layout: DICOM files in folders named after the patient, `CMMD/<D1-0001>/<study>/<series>/1-1.dcm`; outlines in
`<patient>_MLO_<L|R>_AnnotationFile.json`; and `TOMPEI-CMMD_clinical_data_*.xlsx`, whose sheet has one row per breast.
Patient, view and side connect them. Copies in `__MACOSX` are ignored.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mammoseg.data.images.read import read_image, read_metadata
from mammoseg.data.readers.cells import strip_unknown
from mammoseg.data.readers.file_tree import add_first, require_folder, require_single, walk
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.spreadsheet import read_sheet, select_columns
from mammoseg.data.readers.tompei_annotations import Breast, Outlines, read_annotations
from mammoseg.density import ACRDensity
from mammoseg.errors import ImageReadError, UserError

PATIENT = re.compile(r"D[12]-\d{4}", re.IGNORECASE)
ANNOTATION = re.compile(r"(?P<patient>D[12]-\d{4})_MLO_(?P<side>[LR])_AnnotationFile\.json", re.IGNORECASE)
TABLE = re.compile(r"TOMPEI-CMMD_clinical_data.*\.xlsx", re.IGNORECASE)
SHEET = "Imaging Diagnosis Details Sheet"
COLUMNS = {
    "patient": ("ID",),
    "side": ("LeftRight", "Left/Right"),
    "classification": ("classification",),
    "density": ("Breast density",),
}
DENSITIES = {
    "fatty": ACRDensity.FATTY,
    "scattered": ACRDensity.SCATTERED,
    "heterogeneous dense": ACRDensity.HETEROGENEOUS,
    "extremely dense": ACRDensity.EXTREME,
}
UNKNOWN_DENSITIES = ("missing", "unknown", "-")
NORMAL, EXCLUDED = "normal", "exclusion"
# The sides in the headers of these patients are wrong: of all images, or of the two oblique views.
WRONG_SIDES = ("D1-0252", "D1-0690", "D1-0711", "D1-0999", "D2-0224", "D2-0229", "D2-0642")
HINT = (
    "dataset.root must contain the DICOM files of CMMD, and the annotations and the spreadsheet of TOMPEI-CMMD, all "
    "from The Cancer Imaging Archive"
)


@dataclass
class Files:
    """Files of the dataset.

    Attributes:
        images: DICOM files by patient.
        annotations: Annotation by breast.
        tables: Spreadsheets.
    """

    images: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    annotations: dict[Breast, Path] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)


def read(root: Path, rejected: RejectedCases, *, negatives: bool = False) -> list[Mammogram]:
    """Read the mediolateral oblique views with an outlined mass, sorted by patient and side.

    Args:
        root: Folder of the dataset.
        rejected: Receives the images that cannot be used; breasts that the authors exclude are only counted.
        negatives: Whether to read the images without a mass as well: breasts that are classified as normal, and
            annotated ones without a mass.

    Returns:
        The accepted images.

    Raises:
        UserError: If `root` does not contain the dataset, or the table lacks a column.
    """
    files = find_files(Path(root), rejected.ignored)
    breasts, contradictory = read_table(files.tables[0], rejected)
    annotations = read_annotations(files.annotations, rejected)
    wanted = select_breasts(breasts, annotations, rejected, negatives)
    for breast in contradictory | (files.annotations.keys() - annotations.keys()):  # rejected above
        wanted.pop(breast, None)
    mammograms = []
    for patient in sorted({patient for patient, _ in wanted}):
        views = oblique_views(patient, files.images.get(patient, []), rejected)
        for side in (side for side in ("L", "R") if (patient, side) in wanted):
            breast = patient, side
            try:
                mammograms.append(make_mammogram(patient, side, views.get(side), wanted[breast], breasts[breast]))
            except ValueError as error:
                rejected.add(f"{patient}_MLO_{side}", error)
    for patient in sorted(files.images.keys() - {patient for patient, _ in breasts}):
        rejected.add(patient, f"no row in the sheet {SHEET}; use the table of the release")
    rejected.found |= {"breasts listed": len(breasts), "annotated images": len(files.annotations)}
    return mammograms


def find_files(root: Path, ignored: Counter[str]) -> Files:
    """Find the files of the dataset.

    Args:
        root: Folder of the dataset.
        ignored: Counts annotations of a breast that has another one.

    Raises:
        UserError: If `root` is not a folder, the images, the annotations or the table are missing, or there are
            several tables.
    """
    require_folder(root, HINT)
    files = Files()
    for folder, names in walk(root):
        patient = next((part.upper() for part in folder.parts[::-1] if PATIENT.fullmatch(part)), "")
        for name in names:
            if annotation := ANNOTATION.fullmatch(name):
                breast = annotation["patient"].upper(), annotation["side"].upper()
                add_first(files.annotations, breast, folder / name, ignored)
            elif TABLE.fullmatch(name):
                files.tables.append(folder / name)
            elif patient and name.lower().endswith(".dcm"):
                files.images[patient].append(folder / name)
    for found, missing in (
        (files.tables, "TOMPEI-CMMD_clinical_data_*.xlsx"),
        (files.annotations, "annotation such as D1-0001_MLO_L_AnnotationFile.json"),
        (files.images, "DICOM file in a folder such as D1-0001"),
    ):
        if not found:
            raise UserError(f"{root}: no {missing} found; {HINT}")
    require_single(root, "spreadsheet of TOMPEI-CMMD", files.tables)
    return files


def read_table(file: Path, rejected: RejectedCases) -> tuple[dict[Breast, dict[str, str]], set[Breast]]:
    """Read the row of each breast.

    Args:
        file: The spreadsheet.
        rejected: Receives breasts with rows that differ.

    Returns:
        The row of each breast, and the rejected breasts.

    Raises:
        UserError: If the sheet or a column is missing.
    """
    records = select_columns(
        file, read_sheet(file, SHEET), COLUMNS, lambda cells: any(PATIENT.fullmatch(cell) for cell in cells)
    )
    breasts: dict[Breast, dict[str, str]] = {}
    contradictory: set[Breast] = set()
    for record in records:
        side = record["side"][:1].upper()
        if PATIENT.fullmatch(record["patient"]) and side in ("L", "R"):
            breast = record["patient"].upper(), side
            if any(breasts.setdefault(breast, record)[name] != record[name] for name in ("classification", "density")):
                contradictory.add(breast)
    for patient, side in sorted(contradictory):
        rejected.add(f"{patient}_MLO_{side}", f"the rows of the breast in the sheet {SHEET} must agree; fix the table")
    return breasts, contradictory


def parse_density(text: str) -> ACRDensity | None:
    """Parse the density of a breast; None if it is unknown.

    Raises:
        ValueError: If it is not in `DENSITIES`; the message is the reason.

    Example:
        >>> parse_density("Heterogeneous  dense")
        <ACRDensity.HETEROGENEOUS: 3>
    """
    words = " ".join(text.lower().split())
    if words in UNKNOWN_DENSITIES or not strip_unknown(words):
        return None
    if words not in DENSITIES:
        raise ValueError(f"breast density must be {', '.join(DENSITIES)} or blank, got {text}; fix the table")
    return DENSITIES[words]


def select_breasts(
    breasts: Mapping[Breast, Mapping[str, str]],
    annotations: Mapping[Breast, Outlines],
    rejected: RejectedCases,
    negatives: bool,
) -> dict[Breast, Outlines]:
    """Select the breasts to read, with the outlines of their masses.

    Args:
        breasts: Row of each breast.
        annotations: Outlines of each annotated breast.
        rejected: Receives annotations without a row; counts the excluded breasts.
        negatives: Whether breasts without a mass are selected.
    """
    selected: dict[Breast, Outlines] = {}
    for breast, outlines in annotations.items():
        if breast not in breasts:
            rejected.add(f"{breast[0]}_MLO_{breast[1]}", f"no row in the sheet {SHEET}; use the table of the release")
        elif breasts[breast]["classification"].lower() == EXCLUDED:
            rejected.ignored["annotated breasts that the authors exclude, which are not used"] += 1
        elif outlines or negatives:
            selected[breast] = outlines
    if negatives:
        normal = {breast for breast, row in breasts.items() if row["classification"].lower() == NORMAL}
        selected |= dict.fromkeys(normal - annotations.keys(), ())
    return selected


def oblique_views(patient: str, files: Iterable[Path], rejected: RejectedCases) -> dict[str, Path]:
    """Find the mediolateral oblique views of a patient.

    Args:
        patient: Identifier of the patient.
        files: DICOM files of the patient.
        rejected: Receives files that cannot be read, and second files of a view.

    Returns:
        The file of each side.
    """
    views: dict[str, Path] = {}
    for file in sorted(files):
        label = f"{patient}/{file.parent.name}/{file.name}"
        try:
            metadata = read_metadata(file)
            if metadata.view != "MLO":
                continue
            is_known = metadata.side != "" and patient not in WRONG_SIDES
            side = metadata.side if is_known else side_of_pixels(read_image(file)[0])
        except ImageReadError as error:
            rejected.add(label, error)
            continue
        if side in views:
            rejected.add(label, f"second image of the view MLO {side} of {patient}; remove one")
        else:
            views[side] = file
    return views


def side_of_pixels(pixels: NDArray[Any]) -> str:
    """Return the side of the breast from its position: a left breast is in the left half of the image.

    Args:
        pixels: (H, W), where brighter is denser.

    Example:
        >>> import numpy as np
        >>> side_of_pixels(np.array([[9, 9, 0, 0]])), side_of_pixels(np.array([[0, 0, 9, 9]]))
        ('L', 'R')
    """
    middle = pixels.shape[1] // 2
    return "L" if pixels[:, :middle].mean() > pixels[:, -middle:].mean() else "R"


def make_mammogram(patient: str, side: str, file: Path | None, outlines: Outlines, row: Mapping[str, str]) -> Mammogram:
    """Create the `Mammogram` of a breast.

    Args:
        patient: Identifier of the patient.
        side: L or R.
        file: DICOM file of the view, None if it is missing.
        outlines: Outlines of the masses.
        row: Row of the breast in the table.

    Raises:
        ValueError: If the file is missing or the density is invalid; the message is the reason.
    """
    if file is None:
        raise ValueError("the DICOM file of this view is missing; download the patient again")
    return Mammogram(
        case=f"{patient}_MLO_{side}",
        image_file=file,
        patient=patient,
        density=parse_density(row["density"]),
        side=side,
        view="MLO",
        outlines=outlines,
        masses=len(outlines),
    )
