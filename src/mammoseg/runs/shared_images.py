"""Datasets that a run shares with the training of its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mammoseg.runs.dataset_names import DatasetNames
from mammoseg.runs.settings import Role, flatten, role

OFFICIAL_SPLIT = "mammoseg.data.split.Official"


def datasets_split_differently(initial: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return the datasets whose test images in a run may be training images of its initial weights.

    Args:
        initial: Config of the training of the initial weights.
        config: Config of the run.

    Returns:
        Names of the datasets of both trainings; none if both use the official split, or the same split of the same
        images.

    Example:
        >>> cbis_ddsm = {"name": "cbis_ddsm", "reader": {}}
        >>> fold = {"dataset": cbis_ddsm, "split": {"_target_": "mammoseg.data.split.PatientKFold", "fold": 0}}
        >>> official = {"dataset": cbis_ddsm, "split": {"_target_": OFFICIAL_SPLIT}}
        >>> datasets_split_differently(official, fold)
        ['cbis_ddsm']
        >>> datasets_split_differently(official, official)
        []
    """
    shared = DatasetNames.of_config(initial["dataset"]).all & DatasetNames.of_config(config["dataset"]).all
    splits = [dict(flatten(section.get("split") or {})) for section in (initial, config)]
    both_official = all(split.get("_target_") == OFFICIAL_SPLIT for split in splits)
    same_split = splits[0] == splits[1] and reader_settings(initial) == reader_settings(config)
    return [] if both_official or same_split else sorted(shared)


def reader_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name of the dataset, and the settings that select its images."""
    settings = dict(flatten(config["dataset"]))
    names = [name for name in settings if name.startswith("reader.") and role(f"dataset.{name}") is Role.METHOD]
    return {name: settings.get(name) for name in ("name", "negatives", "missing_density", *names)}
