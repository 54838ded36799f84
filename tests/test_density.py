"""Encodings of the ACR density."""

from __future__ import annotations

import json

import pytest

from mammoseg.density import ACRDensity


def test_value_is_one_based_and_index_zero_based() -> None:
    assert [int(density) for density in ACRDensity] == [1, 2, 3, 4]
    assert [density.index for density in ACRDensity] == [0, 1, 2, 3]
    assert [ACRDensity.from_index(index) for index in range(4)] == list(ACRDensity)


def test_density_is_serialised_as_integer() -> None:
    assert f"{ACRDensity.EXTREME}" == str(ACRDensity.EXTREME) == json.dumps(ACRDensity.EXTREME) == "4"


def test_parse_accepts_categories_and_blanks_only() -> None:
    assert ACRDensity.parse("3") is ACRDensity.HETEROGENEOUS
    assert ACRDensity.parse("") is None
    for text in ("0", "5", "2.5", "dense", "E", "V", "1 2"):
        with pytest.raises(ValueError, match=f"must be 1 to 4, A to D, I to IV or empty, got {text}"):
            ACRDensity.parse(text)


@pytest.mark.parametrize("spelling", ["{n}", "{n}.0", " {n} ", "{letter}", "{lower}", "{roman}", "ACR {letter}"])
def test_parse_spellings(spelling: str) -> None:
    for density, letter, roman in zip(ACRDensity, "ABCD", ("I", "II", "III", "IV"), strict=True):
        cell = spelling.format(n=int(density), letter=letter, lower=letter.lower(), roman=roman)
        assert ACRDensity.parse(cell) is density
    # VinDr-Mammo
    assert ACRDensity.parse("DENSITY C") is ACRDensity.HETEROGENEOUS
    assert [ACRDensity.parse(cell) for cell in ("nan", "NA", "N/A", "None", " ")] == [None] * 5


def test_invalid_index_raises() -> None:
    with pytest.raises(ValueError, match="5 is not a valid ACRDensity"):
        ACRDensity.from_index(4)
