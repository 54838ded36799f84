"""CBIS-DDSM description tables (two editions), NBIA's metadata.csv and Kaggle's dicom_info.csv."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoseg.files import atomic_write
from mammoseg.phantom.cbis_ddsm_specs import CbisDdsmImageSpec, LesionSpec

DESCRIPTION_COLUMNS = (
    *("patient_id", "breast_density", "left or right breast", "image view", "abnormality id"),
    *("abnormality type", "mass shape", "mass margins", "assessment", "pathology"),
    *("subtlety", "image file path", "cropped image file path", "ROI mask file path"),
)
FIRST_EDITION_COLUMNS = (
    *("patient_id", "breast_density", "side", "view", "abn_num"),
    *("abnormality_type", "mass_shape", "mass_margins", "assessment", "pathology"),
    *("subtlety", "od_img_path", "od_crop_path", "mask_path"),
)
METADATA_COLUMNS = (
    *("Series UID", "Collection", "Subject ID", "Study UID", "Study Date"),
    *("Series Description", "Modality", "File Location"),
)
DICOM_INFO_COLUMNS = (
    *("file_path", "image_path", "BitsAllocated", "Columns", "Laterality"),
    *("PatientID", "PatientOrientation", "Rows", "SeriesDescription", "SeriesInstanceUID"),
    *("StudyInstanceUID",),
)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write a CSV table.

    Args:
        path: File to write.
        columns: Columns to write; other keys of the rows are ignored.
        rows: Cells by column.
    """
    with atomic_write(path) as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def cbis_ddsm_uid(*sources: object) -> str:
    """Return a UID derived from `sources`, with the root of the UIDs of CBIS-DDSM."""
    suffix = int(hashlib.sha256(repr(sources).encode()).hexdigest()[:32], 16)
    return f"1.3.6.1.4.1.9590.100.1.2.{suffix}"


def series_uids(image: CbisDdsmImageSpec, lesion: LesionSpec | None = None, role: str = "") -> tuple[str, str]:
    """Return Study Instance UID and Series Instance UID.

    Args:
        image: Specification of the image.
        lesion: The mass, for masks and crops; None for the full mammogram. Mask and crop are in the same series unless
            they are swapped.
        role: "mask" or "crop"; empty for the full mammogram.
    """
    distinct_role = role if lesion is not None and lesion.swapped else ""
    abnormality = lesion.abnormality if lesion is not None else 0
    sources = (image.name, abnormality, distinct_role)
    return cbis_ddsm_uid("study", *sources), cbis_ddsm_uid("series", *sources)


def write_descriptions(folder: Path, specs: Sequence[CbisDdsmImageSpec], *, old: bool) -> None:
    """Write the description tables, with the columns of the first edition if `old`.

    The tables of calcifications are written only if there are images without a mass.
    """
    columns = FIRST_EDITION_COLUMNS if old else DESCRIPTION_COLUMNS
    for part, name in (("Training", "train"), ("Test", "test")):
        images = [image for image in specs if image.part == part]
        rows = [description_row(image, lesion, old) for image in images for lesion in image.lesions]
        write_csv(folder / f"mass_case_description_{name}_set.csv", columns, rows)
        if any(not image.masses for image in specs):
            calcification = LesionSpec(abnormality=1, swapped=False, scale=1)
            rows = [description_row(image, calcification, old) for image in images if not image.masses]
            write_csv(folder / f"calc_case_description_{name}_set.csv", columns, rows)


def description_row(image: CbisDdsmImageSpec, lesion: LesionSpec, old: bool) -> dict[str, Any]:
    """Return the row of a lesion; the path of the mask ends with a newline inside the quotes, as in TCIA's tables."""

    def path(subject: str, study: str, series: str, index: int) -> str:
        return f"{subject}/{study}/{series}/{index:06d}.dcm"

    subject = f"{image.name}_{lesion.abnormality}"
    full_image = path(image.name, *series_uids(image), 0)
    mask = path(subject, *series_uids(image, lesion, "mask"), 1)
    crop = path(subject, *series_uids(image, lesion, "crop"), 0)
    if lesion.swapped:
        mask, crop = crop, mask
    cells = [
        *(image.patient, image.density, image.side, image.view, lesion.abnormality, image.lesion_type),
        *("IRREGULAR", "SPICULATED", 4, "MALIGNANT", 4),
        *(full_image, crop, f"{mask}\n"),
    ]
    if old:
        cells = [cell.replace("/", "\\") if isinstance(cell, str) else cell for cell in cells]
    return dict(zip(FIRST_EDITION_COLUMNS if old else DESCRIPTION_COLUMNS, cells, strict=True))
