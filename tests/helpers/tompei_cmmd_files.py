"""Small datasets in the layout of CMMD with the annotations and the spreadsheet of TOMPEI-CMMD."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from helpers.inbreast_files import dicom, save
from helpers.xlsx import write_xlsx

HEIGHT, WIDTH = 96, 80
HEADER = [
    ["Imaging Diagnosis Details", "", "", "", "", ""],
    ["ID", "LeftRight", "classification", "Mammography", "", "Comment"],
    ["", "", "", "Breast density", "Category", ""],
]
ANNOTATIONS = "TOMPEI-CMMD_v01_20250123"
MEANINGS = {"MLO": "medio-lateral oblique", "CC": "cranio-caudal"}
TRIANGLE = ((10.0, 20.0), (40.5, 20.0), (25.0, 50.0))


def lesion(
    label: str = "mass", points: Sequence[tuple[float, float]] = TRIANGLE, kind: str = "Draw"
) -> dict[str, object]:
    """One lesion of an annotation."""
    return {
        "_id": "1",
        "label": label,
        "type": kind,
        "color": "#f00",
        "cgPoints": [{"x": x, "y": y} for x, y in points],
    }


class Release:
    """A release in `root`; `add` adds a breast with two views, `table` writes the rows added so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[list[object]] = []

    def add(
        self,
        patient: str,
        side: str,
        *lesions: dict[str, object],
        density: str = "heterogeneous dense",
        classification: str = "Malignant",
        tag: str | None = None,
        views: Sequence[str] = ("CC", "MLO"),
    ) -> Release:
        """Add a breast; `tag` is the side in the headers if it is wrong. The breast is bright on its own side."""
        for view in views:
            code = Dataset()
            code.CodeMeaning = MEANINGS[view]
            pixels = np.random.default_rng(len(self.rows)).integers(0, 30, (HEIGHT, WIDTH)).astype(np.uint8)
            half = slice(None, WIDTH // 2) if side == "L" else slice(WIDTH // 2, None)
            pixels[:, half] += 150
            header = dicom(pixels, ImageLaterality=tag or side, ViewCodeSequence=[code])
            series = f"1.2.{len(self.rows)}.{'CC MLO'.index(view)}"
            save(header, self.root / "CMMD" / patient / "1.1" / series / "1-1.dcm")
        if lesions:
            self.annotation(f"{patient}_MLO_{side}_AnnotationFile.json", json.dumps(list(lesions)))
        self.rows.append([patient, side, classification, density, "4", ""])
        return self

    def annotation(self, name: str, content: str) -> None:
        """Write an annotation, and its copy as archives of macOS contain it."""
        for folder, prefix in ((ANNOTATIONS, ""), (f"__MACOSX/{ANNOTATIONS}", "._")):
            path = self.root / folder / f"{prefix}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if not prefix else "\x00\x05\x16\x07", encoding="utf-8")

    def table(
        self, header: Sequence[Sequence[object]] = HEADER, sheet: str = "Imaging Diagnosis Details Sheet"
    ) -> Path:
        """Write the spreadsheet."""
        sheets: dict[str, Sequence[Sequence[object]]] = {"README": [["notes"]], sheet: [*header, *self.rows]}
        write_xlsx(self.root / "TOMPEI-CMMD_clinical_data_v01_20250121.xlsx", sheets)
        return self.root
