"""Download of datasets whose license allows it, on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoseg.data.negatives import uses_negatives
from mammoseg.errors import UserError
from mammoseg.prepare.http_files import download_file
from mammoseg.prepare.nbia import download_collection

CBIS_DDSM_READER = "mammoseg.data.readers.cbis_ddsm.read"
# Readers of datasets that must be obtained by hand -> how to obtain them.
OBTAINED_BY_HAND = {
    "mammoseg.data.readers.inbreast.read": "INbreast is available from its authors on request",
}


@dataclass(frozen=True)
class Collection:
    """A dataset in The Cancer Imaging Archive.

    Attributes:
        name: Name of the collection.
        license: License and attribution, which are printed before the download.
        folder: Folder of the images in the folder of the dataset.
        tables: Addresses of tables that are not part of the collection.
        patients: Beginnings of the IDs of the patients whose images are downloaded.
    """

    name: str
    license: str
    folder: str
    tables: Sequence[str]
    patients: Sequence[str]


def cbis_ddsm(with_negatives: bool) -> Collection:
    """Return the mass images of CBIS-DDSM, and with `with_negatives` those of the calcifications as well."""
    kinds = ("mass", "calc") if with_negatives else ("mass",)
    tables = [
        f"{TABLES_OF_CBIS_DDSM}/{kind}_case_description_{part}_set.csv" for kind in kinds for part in ("train", "test")
    ]
    patients = [f"{kind.capitalize()}-" for kind in kinds]
    return Collection("CBIS-DDSM", LICENSE_OF_CBIS_DDSM, "CBIS-DDSM", tables, patients)


TABLES_OF_CBIS_DDSM = "https://www.cancerimagingarchive.net/wp-content/uploads"
LICENSE_OF_CBIS_DDSM = (
    "CBIS-DDSM, The Cancer Imaging Archive, doi:10.7937/K9/TCIA.2016.7O02S9CY. License: Creative Commons Attribution "
    "3.0 (CC BY 3.0), https://creativecommons.org/licenses/by/3.0/. Publications must cite the dataset and R. S. Lee "
    "et al., Scientific Data 4, 170177 (2017)."
)


def download_dataset(dataset: Mapping[str, Any]) -> None:
    """Download a dataset to its folder; files that are complete are not downloaded again.

    Args:
        dataset: The section `dataset` of the config.

    Raises:
        UserError: If the dataset has no automatic download, or the download fails.
    """
    target = str((dataset.get("reader") or {}).get("_target_"))
    if target != CBIS_DDSM_READER:
        by_hand = None if dataset.get("source") else OBTAINED_BY_HAND.get(target)  # synthetic datasets are generated
        why = by_hand or "only CBIS-DDSM is downloaded automatically"
        raise UserError(f"download must be false with dataset {dataset.get('name')}: {why}; see docs/data.md")
    collection = cbis_ddsm(uses_negatives(dataset.get("negatives", "none")))
    print(collection.license)
    root = Path(str(dataset["root"])).expanduser()
    tables = Path(str(dataset["reader"].get("tables") or root)).expanduser()
    for url in collection.tables:
        path = tables / url.rpartition("/")[2]
        if not path.is_file():
            download_file(url, path)
    download_collection(collection.name, collection.patients, root / collection.folder)
