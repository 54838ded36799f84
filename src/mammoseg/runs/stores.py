"""Lookup of the preprocessed images that a run was tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mammoseg.data.store import PreparedStore
from mammoseg.runs.results import COUNTS, ResultRow


def find_store(folders: Iterable[Path], dataset: str, rows: Sequence[ResultRow]) -> PreparedStore | None:
    """Find the store of a run.

    Args:
        folders: Folders that contain stores.
        dataset: Name of the dataset.
        rows: Results of the run, whose counts identify the masks.

    Returns:
        The store, or None.
    """
    for folder in (path for top in folders for path in sorted(top.glob(f"{dataset}-*/"))):
        store = PreparedStore.open(folder)
        n_pixels = store.masks.shape[1] ** 2
        mass_pixels = {case.case: case.mass_pixels for case in store.cases}
        same_masks = all(mass_pixels.get(row["case"]) == row["tp"] + row["fn"] for row in rows)
        if same_masks and n_pixels == sum(rows[0][name] for name in COUNTS):
            return store
    return None
