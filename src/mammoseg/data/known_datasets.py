"""Licenses, credits and image types of known datasets, for model cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True)
class TrainingDataset:
    """A dataset on which networks are trained.

    Attributes:
        title: Name for display.
        license: Identifier of the license of derived works, as on the Hugging Face Hub.
        credit: Text that the license or the authors require.
        acquisition: Type of the images as in `ImageMetadata`, for formats that do not state it; may be empty.
    """

    title: str
    license: str
    credit: str
    acquisition: str = ""


CBIS_DDSM = TrainingDataset(
    "CBIS-DDSM",
    "cc-by-3.0",
    "The network was trained on CBIS-DDSM, which is licensed under [CC BY 3.0]"
    "(https://creativecommons.org/licenses/by/3.0/): R. Sawyer-Lee, F. Gimenez, A. Hoogi, D. Rubin, Curated Breast "
    "Imaging Subset of Digital Database for Screening Mammography (CBIS-DDSM), The Cancer Imaging Archive, 2016, "
    "[doi:10.7937/K9/TCIA.2016.7O02S9CY](https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY); R. S. Lee et al., A curated "
    "mammography data set for use in computer-aided detection and diagnosis research, Scientific Data 4, 170177 "
    "(2017). Changes: the images were preprocessed as stated above.",
    "film",
)
INBREAST = TrainingDataset(
    "INbreast",
    UNKNOWN_LICENSE,
    "The network was trained on INbreast: I. C. Moreira et al., INbreast: toward a full-field digital mammographic "
    "database, Academic Radiology 19(2), 236-248 (2012). The conditions of the dataset apply.",
    "digital",
)
PHANTOM = TrainingDataset(
    "phantom", "apache-2.0", "The network was trained on synthetic mammograms, which mammoseg generates.", ""
)
BY_NAME = {"cbis_ddsm": CBIS_DDSM, "inbreast": INBREAST, "phantom": PHANTOM, "phantom_negatives": PHANTOM}
BY_READER = {"mammoseg.data.readers.cbis_ddsm.read": CBIS_DDSM, "mammoseg.data.readers.inbreast.read": INBREAST}


def find_datasets(config: Mapping[str, Any]) -> list[TrainingDataset]:
    """Return the datasets of the training: one, or those of a union.

    Args:
        config: Config of the run.
    """
    reader = config["dataset"].get("reader") or {}
    sources = reader.get("sources") or {}
    if not sources:
        return [_find(str(config["dataset"].get("name")), reader)]
    return [_find(str(name), source.get("reader") or {}) for name, source in sources.items()]


def _find(name: str, reader: Mapping[str, Any]) -> TrainingDataset:
    known = BY_NAME.get(name) or BY_READER.get(str(reader.get("_target_")))
    return known or TrainingDataset(
        name, UNKNOWN_LICENSE, f"The network was trained on the dataset {name}, whose conditions apply."
    )


def common_license(datasets: list[TrainingDataset]) -> str:
    """Return the license of all datasets, or `UNKNOWN_LICENSE` if they differ."""
    first, *others = {dataset.license for dataset in datasets}
    return UNKNOWN_LICENSE if others else first
