"""The tables of a synthetic CBIS-DDSM: descriptions of the masses and listings of the series."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoseg.phantom.cbis_ddsm_plan import Lesion, Plan, series_of

COLUMNS = (
    *("patient_id", "breast_density", "left or right breast", "image view", "abnormality id"),
    *("abnormality type", "mass shape", "mass margins", "assessment", "pathology"),
    *("subtlety", "image file path", "cropped image file path", "ROI mask file path"),
)
OLD_COLUMNS = (
    *("patient_id", "breast_density", "side", "view", "abn_num"),
    *("abnormality_type", "mass_shape", "mass_margins", "assessment", "pathology"),
    *("subtlety", "od_img_path", "od_crop_path", "mask_path"),
)


def write_descriptions(folder: Path, plans: Sequence[Plan], *, old: bool) -> None:
    for part, name in (("Training", "train"), ("Test", "test")):
        rows = [row(image, lesion, old) for image in plans if image.part == part for lesion in image.lesions]
        columns = OLD_COLUMNS if old else COLUMNS
        write_table(folder / f"mass_case_description_{name}_set.csv", columns, rows)


def row(image: Plan, lesion: Lesion, old: bool) -> dict[str, Any]:
    """One mass; the mask's path ends with a newline inside its quotes, as TCIA's do."""

    def path(subject: str, study: str, series: str, number: int) -> str:
        return f"{subject}/{study}/{series}/{number:06d}.dcm"

    subject = f"{image.name}_{lesion.number}"
    film = path(image.name, *series_of(image), 0)
    mask = path(subject, *series_of(image, lesion, "mask"), 1)
    crop = path(subject, *series_of(image, lesion, "crop"), 0)
    if lesion.swapped:
        mask, crop = crop, mask
    cells = [
        *(image.patient, image.density, image.side, image.view, lesion.number, "mass"),
        *("IRREGULAR", "SPICULATED", 4, "MALIGNANT", 4),
        *(film, crop, f"{mask}\n"),
    ]
    if old:
        cells = [cell.replace("/", "\\") if isinstance(cell, str) else cell for cell in cells]
    return dict(zip(OLD_COLUMNS if old else COLUMNS, cells, strict=True))


def write_table(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        table = csv.DictWriter(lines, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
