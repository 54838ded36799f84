"""A folder of mammoseg.predict -> a view: no truth, and images from where they were read, or the overlays."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.read import read_image
from mammoseg.errors import ImageReadError, UserError
from mammoseg.predict.inputs import Input, read_input
from mammoseg.predict.output_folder import NAME
from mammoseg.predict.pictures import LONGEST, small
from mammoseg.view.items import Item

log = logging.getLogger(__name__)

OVERLAYS = "The images are the overlays of mammoseg.predict; give input=<folder> for the mammograms themselves. "
REDUCED = f"Images, masks and probabilities are reduced to {LONGEST} pixels along their longer side."


class PredictedView:
    """What mammoseg.predict wrote into `folder`. `given`: the file or folder that it was given, or None.

    Raises UserError where `folder` is not one that it wrote, or has no image.
    """

    def __init__(self, folder: Path, given: Path | None) -> None:
        if given is not None and not given.exists():
            raise UserError(f"input={given}: no such file or folder; give what the predictions were made from")
        self.folder = folder
        self.given = given
        self.label = "predictions"  # not the folder's name, which may be anything
        self.note = REDUCED if given is not None else OVERLAYS + REDUCED
        try:
            self.threshold: float | None = float(json.loads((folder / NAME).read_text())["made_of"]["threshold"])
            with (folder / "predictions.csv").open(newline="") as lines:
                rows = list(csv.DictReader(lines))
            self.rows: dict[str, list[dict[str, str]]] = {}
            for row in rows:
                self.rows.setdefault(row["name"], []).append(row)
        except FileNotFoundError as error:
            raise UserError(
                f"predictions={folder}: has no {Path(error.filename).name}; give the output folder of mammoseg.predict"
            ) from error
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(f"predictions={folder}: its tables are damaged ({error}); predict again") from error
        if not self.rows:
            raise UserError(f"predictions={folder}: no image was predicted there")

    def __len__(self) -> int:
        return len(self.rows)

    def items(self) -> Iterator[Item]:
        for name, rows in self.rows.items():
            mask, levels = (reduced(self.read(f"{kind}/{name}.png")) for kind in ("masks", "probabilities"))
            first = rows[0]
            yield Item(
                key=name,
                name=first["file"],
                density=None,
                side=first["side"],
                view=first["view"],
                facts=told(rows),
                image=self.image(name, first["file"], mask.shape),
                truth=None,
                mask=mask > 127,
                levels=levels,
            )

    def read(self, file: str) -> NDArray[np.uint8]:
        try:
            return read_image(self.folder / file)[0]
        except ImageReadError as error:
            raise UserError(f"{self.folder / file}: {error}; predict again") from error

    def image(self, name: str, file: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The mammogram where it is found and still has its size, else the overlay in grey."""
        if self.given is not None:
            path = self.given if self.given.is_file() else self.given / file
            try:
                grey, _ = small(read_input(Input(path, file))[0])
                if grey.shape == shape:
                    return grey
                log.warning("%s: has another size than its prediction; its overlay is shown", file)
            except ImageReadError as error:
                log.warning("%s: %s; its overlay is shown", file, error)
        overlay = cv2.imdecode(np.fromfile(self.folder / "overlays" / f"{name}.png", np.uint8), cv2.IMREAD_GRAYSCALE)
        return np.asarray(overlay, np.uint8)


def reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With its longer side at LONGEST or less, as overlays are."""
    scale = min(LONGEST / max(picture.shape), 1)
    wide, tall = (max(round(side * scale), 1) for side in picture.shape[::-1])
    return np.asarray(cv2.resize(picture, (wide, tall), interpolation=cv2.INTER_AREA), np.uint8)


def told(rows: list[dict[str, str]]) -> str:
    """How many masses, and how large."""
    number = int(rows[0]["masses"])
    areas = [f"{float(row['area_mm2']):.0f} mm²" for row in rows if row["area_mm2"]]
    sizes = f" ({', '.join(areas)})" if areas else ""
    return "no mass" if number == 0 else f"{number} mass{'es' if number > 1 else ''}{sizes}"
