"""Small datasets in the layout of CDD-CESM, with the irregular names and regions of the release."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from helpers.xlsx import write_xlsx

HEIGHT, WIDTH = 120, 80
COLUMNS = [
    *("Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS", "Findings", "View"),
    *("Tags", "Machine", "Pathology Classification/ Follow up"),
]
FOLDER = "Low energy images of CDD-CESM"
POLYGON = {"name": "polygon", "all_points_x": [20, 50, 50, 20], "all_points_y": [30, 30, 60, 60]}
ELLIPSE = {"name": "ellipse", "cx": 40, "cy": 60, "rx": 20, "ry": 10, "theta": 0.5}
CIRCLE = {"name": "circle", "cx": 40, "cy": 60, "r": 12}
POLYLINE = {**POLYGON, "name": "polyline"}
POINT = {"name": "point", "cx": 40, "cy": 60}


class Release:
    """A release of CDD-CESM in `root`; `add` adds an image, `tables` writes the rows added so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[list[object]] = []
        self.regions: list[list[str]] = []
        (root / FOLDER).mkdir(parents=True)

    def add(
        self,
        name: str,
        *regions: Mapping[str, object],
        density: str = "C",
        findings: str = "Mass",
        file: str | None = None,
        filename: str | None = None,
    ) -> Release:
        """Add an image.

        Args:
            name: Name in the spreadsheet, such as P1_L_DM_MLO.
            *regions: Attributes of the shapes of its regions.
            density: Density in the spreadsheet.
            findings: Findings in the spreadsheet.
            file: Name of the file; by default that in the spreadsheet; empty for none.
            filename: Name in the table of regions; by default that of the file.
        """
        patient, side, kind, view = name.strip().split("_")
        path = f"{name}.jpg" if file is None else file
        self.rows.append([name, int(patient[1:]), side, kind, 50, density, "4", findings, view, "", 1, "Malignant"])
        if path:
            pixels = np.random.default_rng(len(self.rows)).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
            cv2.imwrite(str(self.root / FOLDER / path), pixels)
        for index, region in enumerate(regions or [{}]):
            shape = json.dumps(region)
            self.regions.append([filename or path, "1", "{}", str(len(regions)), str(index), shape, "{}"])
        return self

    def tables(self, columns: Sequence[object] = COLUMNS, sheet: str = "all") -> Path:
        """Write the spreadsheet and the table of regions."""
        sheets: dict[str, Sequence[Sequence[object]]] = {"CESM": [["other"]], sheet: [list(columns), *self.rows]}
        write_xlsx(self.root / "Radiology-manual-annotations.xlsx", sheets)
        heading = ["#filename", "file_size", "file_attributes", "region_count", "region_id"]
        heading += ["region_shape_attributes", "region_attributes"]
        path = self.root / "Radiology_hand_drawn_segmentations_v2.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([heading, *self.regions])
        return self.root
