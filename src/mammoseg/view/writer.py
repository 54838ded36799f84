"""Writes a viewer: index.html and one data file per image and model, which the page loads when it shows them.

Data files are scripts, since a page opened from disk may load scripts but not read other files. They hold images as
data URIs, whose pixels such a page may read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.files import atomic_dir, atomic_write_text
from mammoseg.metrics import N_LEVELS
from mammoseg.reports.templates import render
from mammoseg.terminal import Progress
from mammoseg.view.formulas import metrics_script
from mammoseg.view.items import View, ViewerImage

JPEG_QUALITY = 92  # of the displayed image; masks and probabilities, which are counted, are stored losslessly
GENERATOR_TAG = '<meta name="generator" content="mammoseg.view">'
SCRIPTS = ("numbers.js", "drawing.js", "state.js", "list.js", "image.js", "controls.js")


def write(views: Sequence[View], folder: Path) -> Path:
    """Write a viewer of `views` into `folder` atomically, replacing an earlier viewer.

    Returns:
        The page, `folder`/index.html.

    Raises:
        UserError: If `folder` exists and is not a viewer.
    """
    if folder.exists() and not is_viewer(folder):
        raise UserError(f"{folder}: exists and is not a viewer; choose another folder with output=<folder>")
    with atomic_dir(folder, replace=True) as scratch:
        writer = Writer(scratch)
        with Progress("writing the viewer", sum(map(len, views))) as progress:
            for view in views:
                writer.add(view, progress)
        writer.page()
    return folder / "index.html"


def is_viewer(folder: Path) -> bool:
    """Whether `folder` contains a viewer that this module wrote."""
    page = folder / "index.html"
    return page.is_file() and GENERATOR_TAG.encode() in page.read_bytes()


class Writer:
    """Writes the page and its data files to `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.indices: dict[str, int] = {}  # of the images, by key
        self.truth = False

    def add(self, view: View, progress: Progress) -> None:
        """Write the data files of a view."""
        run = len(self.runs)
        rows, mass, rest, numbers = [], [], [], []
        for item in view.items():
            number = self.image(item)
            numbers.append(number)
            rows.append([number, *confusion_counts(item)])
            encoded = {"mask": png(np.where(item.mask, np.uint8(255), np.uint8(0)))}
            if item.levels is not None:
                encoded["levels"] = png(item.levels)
                inside = np.zeros_like(item.mask) if item.truth is None else item.truth
                mass.append(histogram(item.levels[inside]))
                rest.append(histogram(item.levels[~inside]))
            self.data(f"run-{run}-{number}", encoded)
            progress.advance()
        self.data(f"run-{run}", {"rows": rows, "mass": mass or None, "rest": rest or None})
        step = None if view.threshold is None else round(view.threshold * N_LEVELS)
        self.runs.append(
            {"label": view.label, "note": view.note, "threshold": view.threshold, "step": step, "images": numbers}
        )

    def image(self, item: ViewerImage) -> int:
        """Write the data file of an image once, and return its index."""
        if item.key in self.indices:
            return self.indices[item.key]
        number = self.indices[item.key] = len(self.images)
        self.images.append({name: getattr(item, name) for name in ("name", "density", "side", "view", "caption")})
        encoded = {}
        if item.image is not None:
            encoded["image"] = to_data_uri(".jpg", item.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if item.truth is not None:
            encoded["truth"] = png(np.where(item.truth, np.uint8(255), np.uint8(0)))
            self.truth = True
        self.data(f"image-{number}", encoded)
        return number

    def data(self, name: str, value: object) -> None:
        """Write a data file, a script that hands `value` to the page."""
        payload = json.dumps(value, separators=(",", ":"))
        atomic_write_text(self.folder / "data" / f"{name}.js", f"mammoseg.receive({json.dumps(name)},{payload});\n")

    def page(self) -> None:
        """Write index.html."""
        here = Path(__file__).parent
        text = render(
            here / "page.html",
            title=f"mammoseg: {self.runs[0]['label']}" if len(self.runs) == 1 else "mammoseg: predictions",
            style=(here / "page.css").read_text(encoding="utf-8"),
            script="\n".join([metrics_script(), *((here / name).read_text(encoding="utf-8") for name in SCRIPTS)]),
            catalogue={"truth": self.truth, "runs": self.runs, "images": self.images},
        )
        atomic_write_text(self.folder / "index.html", text)


def confusion_counts(item: ViewerImage) -> list[int]:
    """tp, fp, fn, tn of the mask; without ground truth every predicted pixel is a false positive."""
    truth = np.zeros_like(item.mask) if item.truth is None else item.truth
    return [
        int(np.count_nonzero(both))
        for both in (item.mask & truth, item.mask & ~truth, ~item.mask & truth, ~item.mask & ~truth)
    ]


def histogram(levels: NDArray[np.uint8]) -> list[int]:
    """Number of pixels of each level."""
    return [int(n) for n in np.bincount(levels, minlength=N_LEVELS)]


def png(picture: NDArray[np.uint8]) -> str:
    """A PNG image as a data URI."""
    return to_data_uri(".png", picture, [])


def to_data_uri(suffix: str, picture: NDArray[np.uint8], settings: Sequence[int]) -> str:
    """Encode an image with OpenCV's `settings` as a data URI."""
    done, data = cv2.imencode(suffix, picture, settings)
    assert done, "OpenCV writes both formats"
    subtype = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{subtype};base64,{base64.b64encode(data.tobytes()).decode()}"
