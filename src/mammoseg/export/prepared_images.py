"""Prepared images of the run of a checkpoint: range of the training images, and test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.input_range import InputRange
from mammoseg.data.known_datasets import find_datasets
from mammoseg.data.split_result import read_parts
from mammoseg.data.store import PreparedStore
from mammoseg.ensemble import preprocessing_settings
from mammoseg.runs import checkpoint
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.stores import find_training_store


@dataclass(frozen=True)
class PreparedImages:
    """Prepared images of a run.

    Attributes:
        store: The images.
        parts: Part of each image in split.csv of the run.
    """

    store: PreparedStore
    parts: Mapping[str, str]


def find_prepared_images(loaded: dict[str, Any], ckpt_path: Path) -> PreparedImages | None:
    """Find the prepared images of a checkpoint in its run folder; None if they or the run are not available.

    Args:
        loaded: Content of the checkpoint.
        ckpt_path: Path of the checkpoint.
    """
    folder = RunFolder.of_checkpoint(ckpt_path.resolve())
    if not (folder.results.is_file() and folder.split.is_file()):
        return None
    run = read_run(folder)
    if run.rows[0]["run"] != checkpoint.run_info_of(loaded)["run"]:
        return None
    store = find_training_store(folder, run.dataset, run.rows, checkpoint.config_of(loaded)["dataset"])
    if store is None:
        return None
    return PreparedImages(store, {row["case"]: row["part"] for row in read_parts(folder.split)})


def find_input_range(loaded: dict[str, Any], ckpt_path: Path, prepared: PreparedImages | None) -> InputRange | None:
    """Return the range of the training images of a checkpoint: the one that it states, or that of the prepared images.

    Args:
        loaded: Content of the checkpoint.
        ckpt_path: Path of the checkpoint, for error messages.
        prepared: Prepared images of its run.

    Returns:
        The range; None if neither the checkpoint nor the prepared images are available.
    """
    stated = checkpoint.input_range_of(loaded)
    if stated is not None:
        return InputRange.from_plain(stated, ckpt_path)
    if prepared is None:
        return None
    config = checkpoint.config_of(loaded)
    cases = [case for case in prepared.store.cases if prepared.parts.get(case.case) == "train"]
    acquisitions = [dataset.acquisition for dataset in find_datasets(config)]
    return InputRange.of_cases(cases, preprocessing_settings(config), acquisitions) if cases else None


def read_test_images(loaded: dict[str, Any], prepared: PreparedImages | None, n_images: int) -> NDArray[np.float32]:
    """Read prepared test images of a checkpoint, at equal distances in the order of the store.

    Args:
        loaded: Content of the checkpoint.
        prepared: Prepared images of its run.
        n_images: Largest number of images.

    Returns:
        Images (N, size, size); N is 0 if the prepared images are not available.
    """
    if prepared is None:
        size = preprocessing_settings(checkpoint.config_of(loaded)).size
        return np.zeros((0, size, size), np.float32)
    not_tested = {None, "train", "val", checkpoint.selected_on(loaded)}
    rows = np.flatnonzero([prepared.parts.get(case.case) not in not_tested for case in prepared.store.cases])
    selected = rows[np.unique(np.linspace(0, len(rows) - 1, min(n_images, len(rows))).astype(int))]
    return np.asarray(prepared.store.images[selected], np.float32)
