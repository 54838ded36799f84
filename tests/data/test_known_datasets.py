"""Licenses and sources of datasets agree with docs/data.md, and every dataset of conf/ has an entry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mammoseg.conf import conf_dir
from mammoseg.data.known_datasets import BY_NAME, CBIS_DDSM, CDD_CESM, INBREAST, VINDR_MAMMO, find_datasets

DOCS = Path(__file__).resolve().parents[2] / "docs" / "data.md"
OF_THE_USER = {"folder", "union"}
VARIANTS = {"phantom_negatives"}
CHOICES = {path.stem for path in (conf_dir() / "dataset").glob("*.yaml")}


def table() -> dict[str, str]:
    """Rows of the table of datasets by the name of the choice."""
    rows = re.findall(
        r"^\| `(\w+)` \|(.*)\|$", DOCS.read_text(encoding="utf-8").partition("## INbreast")[0], re.MULTILINE
    )
    return dict(rows)


def test_the_documentation_lists_all_datasets() -> None:
    assert set(table()) == CHOICES - VARIANTS
    assert set(BY_NAME) == CHOICES - OF_THE_USER


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - VARIANTS))
def test_the_documentation_states_license_and_source(name: str) -> None:
    row, dataset = table()[name], BY_NAME[name]
    assert dataset.conditions in row
    assert dataset.source in row


def test_the_credit_states_the_license_only_if_it_is_known() -> None:
    assert "licensed under [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/): R. Khaled" in CDD_CESM.credit
    assert VINDR_MAMMO.credit.endswith("(2023). The conditions of the dataset apply.")
    assert CBIS_DDSM.credit.startswith("The network was trained on CBIS-DDSM, which is licensed under [CC BY 3.0]")
    assert INBREAST.credit == (
        "The network was trained on INbreast: I. C. Moreira et al., INbreast: toward a full-field digital mammographic "
        "database, Academic Radiology 19(2), 236-248 (2012). The conditions of the dataset apply."
    )
    reader = {"_target_": "mammoseg.data.readers.vindr_mammo.read"}
    assert find_datasets({"dataset": {"name": "mine", "reader": reader}}) == [VINDR_MAMMO]
