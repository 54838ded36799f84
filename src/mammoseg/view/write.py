"""Views -> a folder with index.html and its data: one script for each image and model, loaded when it is shown.

Scripts, since a page that was opened from disk may load them but not read other files; pictures stand in them as
data: addresses, whose pixels such a page may read.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.metrics import N_LEVELS
from mammoseg.progress import Progress
from mammoseg.view.formulas import metrics_script
from mammoseg.view.items import Item, View

QUALITY = 92  # of the JPEG that the eye sees; what is counted is stored without loss
MARK = '<meta name="generator" content="mammoseg.view">'
SCRIPTS = ("numbers.js", "drawing.js", "page.js")


def write(views: Sequence[View], folder: Path) -> Path:
    """Returns the page, `folder`/index.html. The folder appears whole; an earlier viewer there is replaced.

    Raises UserError if `folder` holds something else.
    """
    if folder.exists() and not is_viewer(folder):
        raise UserError(f"{folder}: is there already and no viewer; choose another folder with out=<folder>")
    scratch = folder.with_name(f".unfinished-{folder.name}-{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "data").mkdir(parents=True)
    try:
        writer = Writer(scratch)
        with Progress("writing the viewer", sum(map(len, views))) as progress:
            for view in views:
                writer.add(view, progress)
        writer.page()
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder / "index.html"


def is_viewer(folder: Path) -> bool:
    page = folder / "index.html"
    return page.is_file() and MARK.encode() in page.read_bytes()


class Writer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.numbers: dict[str, int] = {}  # of the images, by key
        self.truth = False

    def add(self, view: View, progress: Progress) -> None:
        run = len(self.runs)
        rows, mass, rest, numbers = [], [], [], []
        for item in view.items():
            number = self.image(item)
            numbers.append(number)
            rows.append([number, *counted(item)])
            pictures = {"mask": png(np.where(item.mask, np.uint8(255), np.uint8(0)))}
            if item.levels is not None:
                pictures["levels"] = png(item.levels)
                inside = np.zeros_like(item.mask) if item.truth is None else item.truth
                mass.append(histogram(item.levels[inside]))
                rest.append(histogram(item.levels[~inside]))
            self.data(f"run-{run}-{number}", pictures)
            progress.advance()
        self.data(f"run-{run}", {"rows": rows, "mass": mass or None, "rest": rest or None})
        step = None if view.threshold is None else round(view.threshold * N_LEVELS)
        self.runs.append(
            {"label": view.label, "note": view.note, "threshold": view.threshold, "step": step, "images": numbers}
        )

    def image(self, item: Item) -> int:
        if item.key in self.numbers:
            return self.numbers[item.key]
        number = self.numbers[item.key] = len(self.images)
        self.images.append({name: getattr(item, name) for name in ("name", "density", "side", "view", "facts")})
        pictures = {}
        if item.image is not None:
            pictures["image"] = encoded(".jpg", item.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if item.truth is not None:
            pictures["truth"] = png(np.where(item.truth, np.uint8(255), np.uint8(0)))
            self.truth = True
        self.data(f"image-{number}", pictures)
        return number

    def data(self, name: str, value: object) -> None:
        said = json.dumps(value, separators=(",", ":"))
        (self.folder / "data" / f"{name}.js").write_text(f"mammoseg.receive({json.dumps(name)},{said});\n")

    def page(self) -> None:
        here = Path(__file__).parent
        catalogue = json.dumps({"truth": self.truth, "runs": self.runs, "images": self.images})
        text = Template((here / "page.html").read_text(encoding="utf-8")).substitute(
            title=escape(f"mammoseg: {self.runs[0]['label']}" if len(self.runs) == 1 else "mammoseg: predictions"),
            style=(here / "page.css").read_text(encoding="utf-8"),
            script="\n".join([metrics_script(), *((here / name).read_text(encoding="utf-8") for name in SCRIPTS)]),
            catalogue=catalogue.replace("<", "\\u003c"),
        )
        (self.folder / "index.html").write_text(text, encoding="utf-8")


def counted(item: Item) -> list[int]:
    """tp, fp, fn, tn of the mask; without a truth every predicted pixel counts as false."""
    truth = np.zeros_like(item.mask) if item.truth is None else item.truth
    return [
        int(np.count_nonzero(both))
        for both in (item.mask & truth, item.mask & ~truth, ~item.mask & truth, ~item.mask & ~truth)
    ]


def histogram(levels: NDArray[np.uint8]) -> list[int]:
    return np.bincount(levels, minlength=N_LEVELS).tolist()


def png(picture: NDArray[np.uint8]) -> str:
    return encoded(".png", picture, [])


def encoded(suffix: str, picture: NDArray[np.uint8], settings: Sequence[int]) -> str:
    done, data = cv2.imencode(suffix, picture, settings)
    assert done, "OpenCV writes both formats"
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
