"""Known datasets: license, source, citation and type of the images, for data reports, documentation and model cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN_LICENSE = "unknown"
# Names and addresses of licenses that allow derived works, by identifier.
LICENSES = {
    "apache-2.0": ("Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "cc-by-3.0": ("CC BY 3.0", "https://creativecommons.org/licenses/by/3.0/"),
    "cc-by-4.0": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
}


@dataclass(frozen=True)
class KnownDataset:
    """A public dataset.

    Attributes:
        title: Name for display.
        license: Identifier of the license of derived works, as on the Hugging Face Hub.
        conditions: Name of the license, or a description of the conditions of use.
        source: Where to get the dataset.
        citation: Text that the license or the authors require; empty for a synthetic or unknown dataset.
        acquisition: Type of the images as in `ImageMetadata`, for formats that do not state it; may be empty.
        note: Sentence of the credit for a dataset without a citation.
    """

    title: str
    license: str
    conditions: str
    source: str
    citation: str = ""
    acquisition: str = ""
    note: str = ""

    @property
    def credit(self) -> str:
        """Credit of a network that was trained on the dataset, as Markdown."""
        if not self.citation:
            return self.note
        if self.license in LICENSES:
            name, address = LICENSES[self.license]
            return (
                f"The network was trained on {self.title}, which is licensed under [{name}]({address}): "
                f"{self.citation}. Changes: the images were preprocessed as stated above."
            )
        return f"The network was trained on {self.title}: {self.citation}. The conditions of the dataset apply."


CBIS_DDSM = KnownDataset(
    title="CBIS-DDSM",
    license="cc-by-3.0",
    conditions="CC BY 3.0",
    source="https://www.cancerimagingarchive.net/collection/cbis-ddsm/",
    citation="R. Sawyer-Lee, F. Gimenez, A. Hoogi, D. Rubin, Curated Breast Imaging Subset of Digital Database for "
    "Screening Mammography (CBIS-DDSM), The Cancer Imaging Archive, 2016, "
    "[doi:10.7937/K9/TCIA.2016.7O02S9CY](https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY); R. S. Lee et al., A curated "
    "mammography data set for use in computer-aided detection and diagnosis research, Scientific Data 4, 170177 "
    "(2017); K. Clark et al., The Cancer Imaging Archive (TCIA): Maintaining and Operating a Public Information "
    "Repository, Journal of Digital Imaging 26(6), 1045-1057 (2013)",
    acquisition="film",
)
INBREAST = KnownDataset(
    title="INbreast",
    license=UNKNOWN_LICENSE,
    conditions="on request from the authors",
    source="Breast Research Group, INESC Porto",
    citation="I. C. Moreira et al., INbreast: toward a full-field digital mammographic database, Academic Radiology "
    "19(2), 236-248 (2012)",
    acquisition="digital",
)
VINDR_MAMMO = KnownDataset(
    title="VinDr-Mammo",
    license=UNKNOWN_LICENSE,
    conditions="data use agreement of PhysioNet (restricted access)",
    source="https://physionet.org/content/vindr-mammo/",
    citation="H. H. Pham, H. Nguyen Trung, H. Q. Nguyen, VinDr-Mammo (version 1.0.0), PhysioNet, 2022, "
    "[doi:10.13026/br2v-7517](https://doi.org/10.13026/br2v-7517); H. T. Nguyen et al., VinDr-Mammo: A large-scale "
    "benchmark dataset for computer-aided diagnosis in full-field digital mammography, Scientific Data 10, 277 (2023)",
    acquisition="digital",
)
MINI_MIAS = KnownDataset(
    title="mini-MIAS",
    license=UNKNOWN_LICENSE,
    conditions="license agreement of the Mammographic Image Analysis Society, which is part of the dataset",
    source="http://peipa.essex.ac.uk/info/mias.html",
    citation="J. Suckling et al., The Mammographic Image Analysis Society digital mammogram database, Excerpta Medica "
    "International Congress Series 1069, 375-378 (1994)",
    acquisition="film",
)
CDD_CESM = KnownDataset(
    title="CDD-CESM",
    license="cc-by-4.0",
    conditions="CC BY 4.0",
    source="https://www.cancerimagingarchive.net/collection/cdd-cesm/",
    citation="R. Khaled et al., Categorized contrast enhanced mammography dataset for diagnostic and artificial "
    "intelligence research, Scientific Data 9, 122 (2022), "
    "[doi:10.1038/s41597-022-01238-0](https://doi.org/10.1038/s41597-022-01238-0)",
    acquisition="digital",
)
TOMPEI_CMMD = KnownDataset(
    title="TOMPEI-CMMD",
    license=UNKNOWN_LICENSE,
    conditions="as stated by The Cancer Imaging Archive for CMMD and for TOMPEI-CMMD",
    source="https://www.cancerimagingarchive.net/analysis-result/tompei-cmmd/",
    citation="C. Cui et al., The Chinese Mammography Database (CMMD), The Cancer Imaging Archive, 2021, "
    "[doi:10.7937/tcia.eqde-4b16](https://doi.org/10.7937/tcia.eqde-4b16); TOMPEI-CMMD, analysis result of The Cancer "
    "Imaging Archive, 2025",
    acquisition="digital",
)
PHANTOM = KnownDataset(
    title="synthetic mammograms",
    license="apache-2.0",
    conditions="Apache 2.0",
    source="generated by mammoseg",
    note="The network was trained on synthetic mammograms, which mammoseg generates.",
)
BY_NAME = {
    "cbis_ddsm": CBIS_DDSM,
    "inbreast": INBREAST,
    "vindr_mammo": VINDR_MAMMO,
    "mini_mias": MINI_MIAS,
    "cdd_cesm": CDD_CESM,
    "tompei_cmmd": TOMPEI_CMMD,
    "phantom": PHANTOM,
    "phantom_negatives": PHANTOM,
}
BY_READER = {
    f"mammoseg.data.readers.{name}.read": dataset for name, dataset in BY_NAME.items() if not name.startswith("phantom")
}


def dataset_title(name: str) -> str:
    """Return the display name of a dataset, or a union of them.

    Args:
        name: Setting `dataset.name`, or several joined by "+".

    Example:
        >>> dataset_title("cbis_ddsm"), dataset_title("clinic"), dataset_title("inbreast+clinic")
        ('CBIS-DDSM', 'clinic', 'INbreast+clinic')
    """
    return "+".join(BY_NAME[part].title if part in BY_NAME else part for part in name.split("+"))


def find_datasets(config: Mapping[str, Any]) -> list[KnownDataset]:
    """Return the datasets of a config: one, or those of a union.

    Args:
        config: Config of a run, or of another command with the section `dataset`.
    """
    reader = config["dataset"].get("reader") or {}
    sources = reader.get("sources") or {}
    if not sources:
        return [_find(str(config["dataset"].get("name")), reader)]
    return [_find(str(name), source.get("reader") or {}) for name, source in sources.items()]


def _find(name: str, reader: Mapping[str, Any]) -> KnownDataset:
    known = BY_NAME.get(name) or BY_READER.get(str(reader.get("_target_")))
    return known or KnownDataset(
        title=name,
        license=UNKNOWN_LICENSE,
        conditions=UNKNOWN_LICENSE,
        source=UNKNOWN_LICENSE,
        note=f"The network was trained on the dataset {name}, whose conditions apply.",
    )


def common_license(datasets: list[KnownDataset]) -> str:
    """Return the license of all datasets, or `UNKNOWN_LICENSE` if they differ."""
    first, *others = {dataset.license for dataset in datasets}
    return UNKNOWN_LICENSE if others else first
