"""Lookup of the prepared images on which a run was tested."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from mammoseg.data.store import PreparedStore
from mammoseg.runs.results import COUNTS, ResultRow


def find_store(folders: Iterable[Path], dataset: str, rows: Sequence[ResultRow]) -> PreparedStore | None:
    """Find the prepared store on which a run was tested.

    Args:
        folders: Folders that contain prepared stores.
        dataset: Name of the dataset.
        rows: Results of the run; a store matches if its masks give the same pixel counts.

    Returns:
        The store, or None if none matches.
    """
    for folder in (path for top in folders for path in sorted(top.glob(f"{glob.escape(dataset)}-*/"))):
        store = PreparedStore.open(folder)
        n_pixels = store.masks.shape[1] ** 2
        mass_pixels = {case.case: case.mass_pixels for case in store.cases}
        same_masks = all(mass_pixels.get(row["case"]) == row["tp"] + row["fn"] for row in rows)
        if same_masks and n_pixels == sum(rows[0][name] for name in COUNTS):
            return store
    return None
