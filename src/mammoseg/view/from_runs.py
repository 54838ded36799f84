"""Run folders -> views."""

from __future__ import annotations

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
from mammoseg.runs.stores import find_store
from mammoseg.view.items import Item

log = logging.getLogger(__name__)

MASKS_ONLY = (
    "This run kept masks only. To see probabilities and to move the threshold, test it again with "
    "python -m mammoseg.evaluate ckpt_path=<run folder>, and view the folder that it writes."
)


def look(folders: Sequence[Path], place: Path | None) -> list[RunView]:
    """All finished runs in the folders or below them that kept predictions; the others are named in the log.

    `place`: folder of the prepared images; None looks where the runs say.
    Raises UserError where no run is left, or where the prepared images of one are not found.
    """
    runs, predictions = find_runs(folders), RunFolder.predictions.name
    kept = []
    for run in runs:
        if run.folder.predictions.is_file():
            kept.append(run)
        else:
            log.warning("%s left out: it has no %s; test it again with mammoseg.evaluate", run.folder.path, predictions)
    if not kept:
        raise UserError(f"runs={', '.join(map(str, folders))}: no run there kept its {predictions}; test one again")
    labels = labelled(kept, folders)
    return [RunView(run, label, store_of(run, place)) for run, label in zip(kept, labels, strict=True)]


def labelled(runs: Sequence[RunResults], folders: Sequence[Path]) -> list[str]:
    """Each run's name; with its place below `folders` where two share one, and never a path above them."""
    names = [str(run.rows[0]["run"]) for run in runs]
    return [
        f"{name} ({below(run.folder.path, folders)})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def below(folder: Path, folders: Sequence[Path]) -> str:
    top = next(top for top in folders if folder.is_relative_to(top))
    return folder.relative_to(top).as_posix() if folder != top else folder.resolve().name


def store_of(run: RunResults, place: Path | None) -> PreparedStore:
    folder = run.folder.data_paths().store if place is None else place
    store = find_store([folder], run.dataset, run.rows)
    if store is None:
        raise UserError(
            f"{run.folder.path}: the prepared images it was tested on are not in {folder}; set dataset.store=<folder>, "
            "or prepare them again with mammoseg.prepare"
        )
    return store


class RunView:
    """The test images of one run, as the network saw them."""

    def __init__(self, run: RunResults, label: str, store: PreparedStore) -> None:
        self.folder = run.folder.path
        self.label = label
        self.store = store
        self.rows = run.rows
        self.predictions = read_predictions(run.folder.predictions)
        if missing := {str(row["case"]) for row in run.rows} - set(self.predictions.cases):
            raise UserError(
                f"{run.folder.predictions}: lacks {len(missing)} images of results.csv, such as {min(missing)}; "
                "test the run again with mammoseg.evaluate"
            )
        self.threshold = self.predictions.threshold
        self.note = MASKS_ONLY if self.predictions.quantised_probs is None else ""

    def __len__(self) -> int:
        return len(self.rows)

    def items(self) -> Iterator[Item]:
        in_store = {case.case: number for number, case in enumerate(self.store.cases)}
        predicted = {case: number for number, case in enumerate(self.predictions.cases)}
        levels = self.predictions.quantised_probs
        for row in self.rows:
            number, place = in_store[row["case"]], predicted[row["case"]]
            yield Item(
                key=f"{self.store.folder.name}/{row['case']}",
                name=row["case"],
                density=row["density"],
                side=row["side"],
                view=row["view"],
                facts="",
                image=grey(self.store.images[number]),
                truth=self.store.masks[number] > 0,
                mask=self.predictions.masks[place],
                levels=None if levels is None else levels[place],
            )


def grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Any grey values -> 0 to 255, from the image's least to its greatest."""
    low, high = float(image.min()), float(image.max())
    return np.rint((image - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
