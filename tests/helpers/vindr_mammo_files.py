"""Small datasets in the layout of VinDr-Mammo: DICOM files of synthetic mammograms and both tables."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.inbreast_files import dicom, save
from mammoseg.phantom.anatomy import draw_phantom

IMAGE_COLUMNS = ["study_id", "series_id", "image_id", "laterality", "view_position", "height", "width"]
BREAST_COLUMNS = [*IMAGE_COLUMNS, "breast_birads", "breast_density", "split"]
FINDING_COLUMNS = [*BREAST_COLUMNS, "finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax"]
NO_FINDING = ("['No Finding']", "", "", "", "", "")
HEIGHT, WIDTH = 128, 96
Finding = Sequence[object]  # categories, BI-RADS and box


def uid(name: str) -> str:
    """An identifier of 32 hexadecimal digits, as in the release."""
    return hashlib.md5(name.encode()).hexdigest()


class Release:
    """A release of VinDr-Mammo in `root`; `add` adds an image, `tables` writes the rows added so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.breasts: list[list[object]] = []
        self.findings: list[list[object]] = []

    def add(
        self,
        exam: str,
        side: str = "L",
        view: str = "CC",
        density: str = "DENSITY C",
        split: str = "training",
        findings: Sequence[Finding] = (),
        with_file: bool = True,
    ) -> str:
        """Add an image with its rows; without findings, the row of its finding is that of a normal image.

        Returns:
            Its identifier.
        """
        image = uid(f"{exam}{side}{view}")
        row = [uid(exam), uid(f"{exam} series"), image, side, view, HEIGHT, WIDTH, "BI-RADS 4", density, split]
        self.breasts.append(row)
        self.findings += [[*row, *finding] for finding in findings or [NO_FINDING]]
        if with_file:
            self.file(exam, image, f"{side}{view}")
        return image

    def add_phantom(self, exam: str, seed: int, n_masses: int = 1, split: str = "test") -> str:
        """Add a synthetic mammogram, whose masses are marked by their bounding boxes."""
        rng = np.random.default_rng(seed)
        phantom = draw_phantom(rng, density=2, view="CC", side="L", height=HEIGHT, width=WIDTH)
        boxes = [[*outline.min(axis=0).tolist(), *outline.max(axis=0).tolist()] for outline in phantom.outlines]
        findings = [("['Mass']", "BI-RADS 4", *box) for box in boxes] if n_masses else []
        image = self.add(exam, split=split, density="DENSITY B", findings=findings, with_file=False)
        save(dicom(phantom.pixels.astype(np.uint16)), self.root / "images" / uid(exam) / f"{image}.dicom")
        return image

    def file(self, exam: str, image: str, seed: str) -> None:
        """Write a DICOM file of noise."""
        rng = np.random.default_rng([*f"{exam}{seed}".encode()])
        pixels = rng.integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)
        save(dicom(pixels, BitsStored=12), self.root / "images" / uid(exam) / f"{image}.dicom")

    def tables(self) -> Path:
        """Write both tables."""
        self.root.mkdir(parents=True, exist_ok=True)
        for name, columns, rows in (
            ("breast-level_annotations.csv", BREAST_COLUMNS, self.breasts),
            ("finding_annotations.csv", FINDING_COLUMNS, self.findings),
        ):
            with (self.root / name).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([columns, *rows])
        return self.root
