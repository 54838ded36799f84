"""The prepared images that a run was tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mammoseg.data.store import PreparedStore
from mammoseg.runs.results import COUNTS, ResultRow


def find_store(folders: Iterable[Path], dataset: str, rows: Sequence[ResultRow]) -> PreparedStore | None:
    """The store below one of `folders` whose masks are those that `rows`, the results of a run, were counted on."""
    for folder in (path for top in folders for path in sorted(top.glob(f"{dataset}-*/"))):
        store = PreparedStore.open(folder)
        pixels = store.masks.shape[1] ** 2
        masses = {case.case: case.mass_pixels for case in store.cases}
        same = all(masses.get(row["case"]) == row["tp"] + row["fn"] for row in rows)
        if same and pixels == sum(rows[0][name] for name in COUNTS):
            return store
    return None
