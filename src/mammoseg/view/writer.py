"""Write the viewer: index.html, and data files that the page loads when it needs them.

There is one data file for each run, each image, and each prediction of an image. Data files are scripts, since a page
opened from disk may load scripts but not read other files. Images are stored in them as data URIs, since such a page
may not read the pixels of image files.
"""

from __future__ import annotations

import base64
import json
import logging
from collections import Counter
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

log = logging.getLogger(__name__)

GENERATOR_TAG = '<meta name="generator" content="mammoseg.view">'
SCRIPTS = (  # in the order of execution
    *("metrics.js", "drawing.js", "curves.js", "state.js", "viewport.js", "list.js", "panels.js", "controls.js"),
)


def write_files(views: Sequence[View], folder: Path) -> Path:
    """Write the files of a viewer to `folder` atomically; an existing viewer is replaced.

    Args:
        views: Runs or folders of predictions; the page lists each as a run.
        folder: Output folder.

    Returns:
        Path of the page, `folder`/index.html.

    Raises:
        UserError: If `folder` exists and is not a viewer.
    """
    if folder.exists() and not is_viewer(folder):
        raise UserError(f"{folder}: exists and is not a viewer; choose another folder with output=<folder>")
    with atomic_dir(folder, replace=True) as tmp_folder:
        writer = ViewerWriter(tmp_folder)
        with Progress("writing the viewer", sum(map(len, views))) as progress:
            for view in views:
                writer.add_view(view, progress)
        writer.write_page()
    if isolated := writer.runs_without_common_images():
        log.warning(
            "not compared with other runs, since no other run was tested on the same prepared images: %s",
            ", ".join(isolated),
        )
    return folder / "index.html"


def is_viewer(folder: Path) -> bool:
    """Whether `folder` contains a viewer."""
    page = folder / "index.html"
    return page.is_file() and GENERATOR_TAG.encode() in page.read_bytes()


class ViewerWriter:
    """Writes the page and its data files.

    Args:
        folder: Output folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.index_by_key: dict[str, int] = {}  # of the images
        self.has_truth = False

    def add_view(self, view: View, progress: Progress) -> None:
        """Write the data files of a view."""
        run_index = len(self.runs)
        rows, mass_histograms, background_histograms = [], [], []
        for item in view.items():
            image_index = self.add_image(item)
            rows.append([image_index, *viewer_confusion_counts(item)])
            data_uris = {"mask": mask_to_png(item.mask)}
            if item.levels is not None:
                data_uris["levels"] = to_png(item.levels)
                truth = truth_or_empty(item)
                mass_histograms.append(level_histogram(item.levels[truth]))
                background_histograms.append(level_histogram(item.levels[~truth]))
            self.write_data(f"run-{run_index}-{image_index}", data_uris)
            progress.advance()
        data = {
            "rows": rows,
            "mass_histograms": mass_histograms or None,
            "background_histograms": background_histograms or None,
        }
        self.write_data(f"run-{run_index}", data)
        self.runs.append(
            {
                "label": view.label,
                "note": view.note,
                "threshold": view.threshold,
                "threshold_level": None if view.threshold is None else round(view.threshold * N_LEVELS),
                "image_indices": [row[0] for row in rows],
            }
        )

    def add_image(self, item: ViewerImage) -> int:
        """Write the data file of an image unless it exists, and return the index of the image."""
        if item.key in self.index_by_key:
            return self.index_by_key[item.key]
        index = self.index_by_key[item.key] = len(self.images)
        self.images.append({name: getattr(item, name) for name in ("name", "density", "side", "view", "caption")})
        data_uris = {}
        if item.image is not None:
            data_uris["image"] = to_png(item.image)  # without loss: a narrow window would enlarge compression artefacts
        if item.truth is not None:
            data_uris["truth"] = mask_to_png(item.truth)
            self.has_truth = True
        self.write_data(f"image-{index}", data_uris)
        return index

    def write_data(self, name: str, data: object) -> None:
        """Write a data file: a script that passes `data` to the page."""
        payload = json.dumps(data, separators=(",", ":"))
        atomic_write_text(self.folder / "data" / f"{name}.js", f"mammoseg.receive({json.dumps(name)},{payload});\n")

    def runs_without_common_images(self) -> list[str]:
        """Return the labels of the runs that have no image in common with any other run; empty for a single run."""
        n_runs = Counter(index for run in self.runs for index in set(run["image_indices"]))
        isolated = [run["label"] for run in self.runs if all(n_runs[index] == 1 for index in run["image_indices"])]
        return isolated if len(self.runs) > 1 else []

    def title(self) -> str:
        """Return the title of the page; all views must have been added."""
        if not self.has_truth:
            return "mammoseg viewer: predictions"
        runs = f"run {self.runs[0]['label']}" if len(self.runs) == 1 else f"{len(self.runs)} runs"
        return f"mammoseg viewer: {runs}"

    def write_page(self) -> None:
        """Write index.html; all views must have been added."""
        source_folder = Path(__file__).parent
        scripts = [(source_folder / name).read_text(encoding="utf-8") for name in SCRIPTS]
        text = render(
            source_folder / "page.html",
            title=self.title(),
            style=(source_folder / "page.css").read_text(encoding="utf-8"),
            script="\n".join([metrics_script(), *scripts]),
            catalogue={"has_truth": self.has_truth, "runs": self.runs, "images": self.images},
        )
        atomic_write_text(self.folder / "index.html", text)


def truth_or_empty(item: ViewerImage) -> NDArray[np.bool_]:
    """The ground-truth mask, or an empty mask if it is unknown."""
    return np.zeros_like(item.mask) if item.truth is None else item.truth


def viewer_confusion_counts(item: ViewerImage) -> list[int]:
    """tp, fp, fn and tn of the mask; without ground truth, every predicted pixel counts as a false positive."""
    truth = truth_or_empty(item)
    regions = (item.mask & truth, item.mask & ~truth, ~item.mask & truth, ~item.mask & ~truth)
    return [int(np.count_nonzero(region)) for region in regions]


def level_histogram(levels: NDArray[np.uint8]) -> list[int]:
    """Number of pixels of each level."""
    return [int(n_pixels) for n_pixels in np.bincount(levels, minlength=N_LEVELS)]


def mask_to_png(mask: NDArray[np.bool_]) -> str:
    """Encode a mask as a PNG data URI with the values 0 and 255."""
    return to_png(np.where(mask, np.uint8(255), np.uint8(0)))


def to_png(image: NDArray[np.uint8]) -> str:
    """Encode a grey image as a PNG data URI."""
    success, encoded = cv2.imencode(".png", image)
    assert success, "OpenCV failed to encode an image as PNG"
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"
