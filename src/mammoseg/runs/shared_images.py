"""Whether two configs select the same images of a dataset, and split them in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mammoseg.runs.dataset_names import DatasetNames
from mammoseg.runs.settings import Role, covers, flatten, role

OFFICIAL_SPLIT = "mammoseg.data.split.Official"
SPLIT_OF_UNIONS = "mammoseg.data.split_by_source.BySource"  # which splits each dataset by itself
# Settings that, with those of the reader, determine the images of a dataset, and their values in earlier versions.
IMAGE_SETTINGS = {"negatives": "none", "missing_density": "error", "density_model": None}


def settings_of_images(dataset: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of a dataset.

    Args:
        dataset: The section `dataset` of a config.
        name: Name of the dataset, or of one of the sources of a union.

    Returns:
        Values by setting without `dataset.`. For a source, the settings of the reader are its own.
    """
    settings = {**IMAGE_SETTINGS, **dict(flatten(dataset))}
    prefix = f"reader.sources.{name}."
    return settings | {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


def find_other_images(dataset: Mapping[str, Any], other: Mapping[str, Any], name: str) -> str | None:
    """Return a setting because of which the images of a dataset may differ between two configs, such as its reader.

    Args:
        dataset: The section `dataset` of a config.
        other: That of the other config.
        name: Name of the dataset in both of them, or of a source of a union.

    Returns:
        Name of the first such setting without `dataset.`, or None if there is none.
    """
    own, others = settings_of_images(dataset, name), settings_of_images(other, name)
    for key in sorted(own.keys() & others.keys()):
        is_of_reader = covers("reader", key) and role(f"dataset.{key}") is Role.METHOD
        if (is_of_reader or key in IMAGE_SETTINGS) and own[key] != others[key]:
            return key
    return None


def datasets_split_differently(initial: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return the datasets whose test images in a run may be training images of its initial weights.

    Args:
        initial: Config of the training of the initial weights.
        config: Config of the run.

    Returns:
        Names of the datasets of both trainings, unless both use the official parts, or the same split of the same
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
    splits = [dict(flatten(settings.get("split") or {})) for settings in (initial, config)]
    classes = [split.get("_target_") for split in splits]
    # BySource uses the official parts of datasets that have them, which those with an official split do.
    if OFFICIAL_SPLIT in classes and set(classes) <= {OFFICIAL_SPLIT, SPLIT_OF_UNIONS}:
        return []
    datasets = initial["dataset"], config["dataset"]
    names = [DatasetNames.of_config(dataset) for dataset in datasets]
    shared = sorted(names[0].all & names[1].all)
    if splits[0] != splits[1] or (classes[0] != SPLIT_OF_UNIONS and names[0] != names[1]):
        return shared
    return [name for name in shared if find_other_images(*datasets, name) is not None]
