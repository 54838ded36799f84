"""View of an output folder of mammoseg.predict: the mammograms or their overlays, without ground truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.read import read_image
from mammoseg.data.images.thumbnail import MAX_SIDE, shrink, thumbnail
from mammoseg.errors import ImageReadError, UserError
from mammoseg.reports.table import format_count
from mammoseg.runs.prediction_folder import Kind, image_file, read_prediction_tables
from mammoseg.view.items import ViewerImage

log = logging.getLogger(__name__)

OVERLAYS_NOTE = "The images are the overlays of mammoseg.predict; set input=<folder> to show the mammograms instead. "
SIZE_NOTE = f"Images, masks and probabilities are downsampled to at most {MAX_SIDE} pixels along the longer side."


class PredictedView:
    """The predictions in an output folder of mammoseg.predict.

    Args:
        folder: Output folder of mammoseg.predict.
        input_path: The mammogram or folder of mammograms that was predicted; None shows overlays instead.

    Raises:
        UserError: If `folder` was not written by mammoseg.predict or has no image, or if `input_path` does not exist.
    """

    def __init__(self, folder: Path, input_path: Path | None) -> None:
        if input_path is not None and not input_path.exists():
            raise UserError(f"input={input_path}: no such file or folder; give the mammograms that were predicted")
        self.folder = folder
        self.input_path = input_path
        self.label = "predictions"  # not the name of the folder, which may be private
        self.note = SIZE_NOTE if input_path is not None else OVERLAYS_NOTE + SIZE_NOTE
        results = read_prediction_tables(folder)
        self.threshold: float | None = results.threshold
        self.rows = results.rows

    def __len__(self) -> int:
        return len(self.rows)

    def items(self) -> Iterator[ViewerImage]:
        """Yield the images in the order of predictions.csv."""
        for name, rows in self.rows.items():
            mask, levels = self.read_output("masks", name), self.read_output("probabilities", name)
            first = rows[0]
            yield ViewerImage(
                key=name,
                name=first["file"],
                density=None,
                side=first["side"],
                view=first["view"],
                caption=caption(rows),
                image=self.read_background(name, first["file"], mask.shape),
                truth=None,
                mask=mask > 127,
                levels=levels,
            )

    def read_output(self, kind: Kind, name: str) -> NDArray[np.uint8]:
        """Read one output image (h, w), downsampled to the size of a thumbnail."""
        path = self.folder / image_file(kind, name)
        try:
            return shrink(read_image(path)[0])[0]
        except ImageReadError as error:
            raise UserError(f"{path}: {error}; run mammoseg.predict again") from error

    def read_background(self, name: str, file: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Read the mammogram, or the overlay in grey if it is not readable or differs in size from the prediction."""
        if self.input_path is not None:
            path = self.input_path if self.input_path.is_file() else self.input_path / file
            try:
                image, _ = thumbnail(read_image(path)[0])
                if image.shape == shape:
                    return image
                log.warning("%s: differs in size from its prediction; showing the overlay instead", file)
            except ImageReadError as error:
                log.warning("%s: %s; showing the overlay instead", file, error)
        encoded = np.fromfile(self.folder / image_file("overlays", name), np.uint8)
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def caption(rows: Sequence[Mapping[str, str]]) -> str:
    """Number of masses and their areas."""
    n_masses = int(rows[0]["masses"])
    areas = [f"{float(row['area_mm2']):.0f} mm²" for row in rows if row["area_mm2"]]
    areas_text = f" ({', '.join(areas)})" if areas else ""
    return "no mass" if n_masses == 0 else f"{format_count(n_masses, 'mass')}{areas_text}"
