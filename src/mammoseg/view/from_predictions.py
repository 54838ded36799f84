"""View of a folder that mammoseg.predict wrote: no ground truth; shows the mammograms or their overlays."""

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
from mammoseg.runs.prediction_folder import Kind, image_file, read_results
from mammoseg.view.items import ViewerImage

log = logging.getLogger(__name__)

OVERLAYS = "The images are the overlays of mammoseg.predict; give input=<folder> for the mammograms themselves. "
REDUCED = f"Images, masks and probabilities are reduced to {MAX_SIDE} pixels along their longer side."


class PredictedView:
    """The predictions in a folder that mammoseg.predict wrote.

    Args:
        folder: Output folder of mammoseg.predict.
        input_path: The mammogram or folder of mammograms that was predicted; None shows overlays instead.

    Raises:
        UserError: If `folder` was not written by mammoseg.predict or has no image, or if `input_path` does not exist.
    """

    def __init__(self, folder: Path, input_path: Path | None) -> None:
        if input_path is not None and not input_path.exists():
            raise UserError(f"input={input_path}: no such file or folder; give what the predictions were made from")
        self.folder = folder
        self.input_path = input_path
        self.label = "predictions"  # not the folder's name, which may be anything
        self.note = REDUCED if input_path is not None else OVERLAYS + REDUCED
        results = read_results(folder)
        self.threshold: float | None = results.threshold
        self.rows = results.rows

    def __len__(self) -> int:
        return len(self.rows)

    def items(self) -> Iterator[ViewerImage]:
        """Yield the images in the order of the table."""
        for name, rows in self.rows.items():
            mask, levels = self.read("masks", name), self.read("probabilities", name)
            first = rows[0]
            yield ViewerImage(
                key=name,
                name=first["file"],
                density=None,
                side=first["side"],
                view=first["view"],
                caption=caption(rows),
                image=self.image(name, first["file"], mask.shape),
                truth=None,
                mask=mask > 127,
                levels=levels,
            )

    def read(self, kind: Kind, name: str) -> NDArray[np.uint8]:
        """Read one output (h, w), reduced to the size of a thumbnail."""
        path = self.folder / image_file(kind, name)
        try:
            return shrink(read_image(path)[0])[0]
        except ImageReadError as error:
            raise UserError(f"{path}: {error}; predict again") from error

    def image(self, name: str, file: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The mammogram if it can be read and has the size of its prediction, else the overlay in grey."""
        if self.input_path is not None:
            path = self.input_path if self.input_path.is_file() else self.input_path / file
            try:
                grey, _ = thumbnail(read_image(path)[0])
                if grey.shape == shape:
                    return grey
                log.warning("%s: has another size than its prediction; its overlay is shown", file)
            except ImageReadError as error:
                log.warning("%s: %s; its overlay is shown", file, error)
        encoded = np.fromfile(self.folder / image_file("overlays", name), np.uint8)
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def caption(rows: Sequence[Mapping[str, str]]) -> str:
    """Number of masses and their areas."""
    n_masses = int(rows[0]["masses"])
    areas = [f"{float(row['area_mm2']):.0f} mm²" for row in rows if row["area_mm2"]]
    sizes = f" ({', '.join(areas)})" if areas else ""
    return "no mass" if n_masses == 0 else f"{n_masses} mass{'es' if n_masses > 1 else ''}{sizes}"
