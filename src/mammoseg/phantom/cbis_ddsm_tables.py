"""Columns of the CBIS-DDSM description tables (two editions), NBIA's metadata.csv and Kaggle's dicom_info.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoseg.files import atomic_write

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
