"""Views of run folders: test images with ground truth and prediction."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.runs.discovery import RunResults, find_runs
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.predictions import read_predictions
from mammoseg.runs.results import has_mass
from mammoseg.runs.stores import find_store
from mammoseg.view.items import ViewerImage

log = logging.getLogger(__name__)

MASKS_ONLY_NOTE = (
    "This run stored masks only. To show probabilities and change the threshold of a run of an early version, run "
    "python -m mammoseg.evaluate ckpt_path=<run folder> and view its output folder."
)


def load_run_views(folders: Sequence[Path], store_root: Path | None) -> list[RunView]:
    """Load all finished runs in the folders or below them; runs without predictions are skipped with a warning.

    Args:
        folders: Folders of runs.
        store_root: Folder of the prepared images; None for the folder that each run was trained with.

    Raises:
        UserError: If no run has predictions, or the prepared images of a run are not found.
    """
    runs, predictions = find_runs(folders, with_repeated=True), RunFolder.predictions.name
    runs_with_predictions = []
    for run in runs:
        if run.folder.predictions.is_file():
            runs_with_predictions.append(run)
        else:
            log.warning("%s skipped: it has no %s; test it again with mammoseg.evaluate", run.folder.path, predictions)
    if not runs_with_predictions:
        raise UserError(
            f"runs={', '.join(map(str, folders))}: no run in these folders has {predictions}; "
            "test one again with mammoseg.evaluate"
        )
    labels = unique_labels(runs_with_predictions, folders)
    return [
        RunView(run, label, find_store_of(run, store_root))
        for run, label in zip(runs_with_predictions, labels, strict=True)
    ]


def unique_labels(runs: Sequence[RunResults], folders: Sequence[Path]) -> list[str]:
    """Names of the runs; repeated names are followed by the path below `folders`."""
    names = [str(run.rows[0]["run"]) for run in runs]
    return [
        f"{name} ({relative_label(run.folder.path, folders)})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def relative_label(folder: Path, folders: Sequence[Path]) -> str:
    """Path of `folder` relative to the one of `folders` that contains it."""
    root = next(root for root in folders if folder.is_relative_to(root))
    return folder.relative_to(root).as_posix() if folder != root else folder.resolve().name


def find_store_of(run: RunResults, store_root: Path | None) -> PreparedStore:
    """Find the prepared images that a run was tested on.

    Raises:
        UserError: If they are not found.
    """
    folder = run.folder.data_paths().store if store_root is None else store_root
    store = find_store([folder], run.dataset, run.rows, run.settings.get("dataset"))
    if store is None:
        raise UserError(
            f"{run.folder.path}: the prepared images of the test are not in {folder}; set dataset.store=<folder>, "
            "or prepare them again with mammoseg.prepare"
        )
    return store


class RunView:
    """The test images of one run, at the input size of the network.

    Args:
        run: Results of the run.
        label: Name on the page.
        store: The prepared images.

    Raises:
        UserError: If the predictions of some test images are missing.
    """

    def __init__(self, run: RunResults, label: str, store: PreparedStore) -> None:
        self.folder = run.folder.path
        self.label = label
        self.store = store
        self.rows = run.rows
        self.predictions = read_predictions(run.folder.predictions, [row["case"] for row in run.rows])
        self.threshold = self.predictions.threshold
        self.note = MASKS_ONLY_NOTE if self.predictions.quantised_probs is None else ""

    def __len__(self) -> int:
        return len(self.rows)

    def items(self) -> Iterator[ViewerImage]:
        """Yield the images in the order of results.csv."""
        store_indices = {case.case: index for index, case in enumerate(self.store.cases)}
        prediction_indices = {case: index for index, case in enumerate(self.predictions.cases)}
        levels = self.predictions.quantised_probs
        for row in self.rows:
            i, j = store_indices[row["case"]], prediction_indices[row["case"]]
            yield ViewerImage(
                key=image_key(row["case"], self.store.images[i], self.store.masks[i]),
                name=row["case"],
                density=row["density"],
                side=row["side"],
                view=row["view"],
                caption="" if has_mass(row) else "no mass",
                image=to_uint8(self.store.images[i]),
                truth=self.store.masks[i] > 0,
                mask=self.predictions.masks[j],
                levels=None if levels is None else levels[j],
            )


def image_key(case: str, image: NDArray[np.float32], mask: NDArray[np.uint8]) -> str:
    """Identify a prepared image by its content, which is the same wherever the dataset is stored.

    Args:
        case: Identifier of the image in its dataset.
        image: Prepared image of shape (H, W).
        mask: Ground truth of shape (H, W).
    """
    digest = hashlib.sha256(image.tobytes())
    digest.update(mask.tobytes())
    return f"{case}/{digest.hexdigest()}"


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Rescale grey values linearly from the range of the image to 0 to 255."""
    minimum, maximum = float(image.min()), float(image.max())
    return np.asarray(np.rint((image - minimum) * (255 / max(maximum - minimum, 1e-6))), np.uint8)
