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
    for text in ("0", "5", "3.0", "dense", " 3"):
        with pytest.raises(ValueError, match=f"must be 1, 2, 3, 4 or empty, got {text}"):
            ACRDensity.parse(text)


def test_invalid_index_raises() -> None:
    with pytest.raises(ValueError, match="5 is not a valid ACRDensity"):
        ACRDensity.from_index(4)
