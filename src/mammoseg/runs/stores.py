"""Lookup of the prepared images on which a run was tested."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings, crop_name
from mammoseg.data.split_result import read_parts
from mammoseg.data.store import PreparedStore
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.results import COUNTS, ResultRow


def find_store(
    folders: Iterable[Path],
    dataset: str,
    rows: Sequence[ResultRow],
    settings: Mapping[str, Any] | None = None,
    cases: Collection[str] = (),
) -> PreparedStore | None:
    """Find the prepared store on which a run was tested.

    Args:
        folders: Folders that contain prepared stores.
        dataset: Name of the dataset.
        rows: Results of the run; a store matches if its masks give the same pixel counts.
        settings: Section `dataset` of the settings of the run, whose preprocessing a store must have; None if unknown.
        cases: Further images that a store must contain.

    Returns:
        The store, or None if none matches.
    """
    for folder in (path for top in folders for path in sorted(top.glob(f"{glob.escape(dataset)}-*/"))):
        store = PreparedStore.open(folder)
        n_pixels = store.masks.shape[1] ** 2
        mass_pixels = {case.case: case.mass_pixels for case in store.cases}
        same_masks = all(mass_pixels.get(row["case"]) == row["tp"] + row["fn"] for row in rows)
        same_size = n_pixels == sum(rows[0][name] for name in COUNTS)
        same_settings = settings is None or is_same_preprocessing(settings, store.about)
        if same_masks and same_size and same_settings and mass_pixels.keys() >= set(cases):
            return store
    return None


def find_training_store(
    run: RunFolder, dataset: str, rows: Sequence[ResultRow], settings: Mapping[str, Any]
) -> PreparedStore | None:
    """Find the prepared store with all images of a run.

    Args:
        run: Run folder, with split.csv.
        dataset: Name of the dataset.
        rows: Results of the run.
        settings: Section `dataset` of the settings of the run.

    Returns:
        The store, or None if it no longer exists.

    Raises:
        UserError: If split.csv is damaged.
    """
    cases = [row["case"] for row in read_parts(run.split)]
    return find_store([run.data_paths().store], dataset, rows, settings, cases)


def is_same_preprocessing(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two mappings have the same preprocessing, apart from settings that one of them lacks.

    Example:
        >>> is_same_preprocessing({"size": 64, "crop": True}, {"size": 64, "crop": "breast", "flip": "left"})
        True
    """
    common = [field.name for field in fields(PreprocessingSettings) if field.name in first and field.name in second]
    return all(crop_name(first[name]) == crop_name(second[name]) for name in common)
