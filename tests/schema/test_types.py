"""Types of settings: which values they accept, and how they describe them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mammoseg.errors import UserError
from mammoseg.schema.collection_types import AnyValue, ListOf, MappingOf, either
from mammoseg.schema.text_types import LocalPath
from mammoseg.schema.types import Boolean, Integer, Number, SettingType, Text, as_yaml, one_of

UNIT = Number(0, 1)
OPEN_UNIT = Number(0, 1, exclusive_minimum=True, exclusive_maximum=True)


@pytest.mark.parametrize(
    ("kind", "valid", "invalid"),
    [
        (Integer(1), [1, 10**9], [0, -1, 1.0, True, "1", None, [1], math.nan]),
        (Integer(0, 4), [0, 4], [5, -1]),
        (Integer(16, 64, multiple_of=16), [16, 32, 64], [17, 8, 80]),
        (Integer(None), [-5, 0], [0.5]),
        (Integer(1, optional=True), [None, 1], [0]),
        (UNIT, [0, 1, 0.5], [-0.1, 1.1, True, math.nan, math.inf, "0.5", None]),
        (OPEN_UNIT, [0.5], [0, 1]),
        (Number(), [-1e9, 0], [math.inf, -math.inf, math.nan]),
        (Boolean(), [True, False], [0, 1, "true", None]),
        (one_of("a", None, 1), ["a", None, 1], ["b", 1.0, True, 0]),
        (Text(), ["a"], ["", "  ", 1, None]),
        (Text(optional=True, empty=True), ["", None], [1]),
        (LocalPath(), ["data", 2024], ["", None, True, 1.5, ["a"], {"a": 1}, "a\0b"]),
        (LocalPath(optional=True, several=True), [None, ["a", 1], "a"], [[], [None], [["a"]]]),
        (ListOf(UNIT, 3, 3), [[0, 0.5, 1], [1, 0.5, 0]], [[0, 1], [0, 1, 2], "abc", None]),
        (ListOf(Text(), 1), [["a"]], [[], ["a", 1]]),
        (MappingOf(Integer(0)), [{}, {"a": 1}], [{"a": -1}, [], None]),
        (either(Integer(1), one_of("auto")), [1, "auto"], [0, "all"]),
        (AnyValue(), [None, [], "a"], []),
    ],
)
def test_accepts(kind: SettingType, valid: list[Any], invalid: list[Any]) -> None:
    for value in valid:
        kind.check("name", value)
    for value in invalid:
        with pytest.raises(UserError, match=r"^name must be "):
            kind.check("name", value)


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        (Integer(1), "an integer of at least 1"),
        (Integer(0, 4, optional=True), "an integer from 0 to 4 or null"),
        (UNIT, "a number from 0 to 1"),
        (OPEN_UNIT, "a number above 0 and below 1"),
        (Number(0), "a number of at least 0"),
        (Number(), "a number"),
        (one_of("a", "b"), "one of a, b"),
        (one_of(False), "false"),
        (either(Boolean(), one_of(None)), "true or false or null"),
        (ListOf(UNIT, 3, 3), "a list of 3 entries, each a number from 0 to 1"),
    ],
)
def test_description(kind: SettingType, description: str) -> None:
    assert kind.description == description


def test_error_suggests_the_nearest_choice() -> None:
    with pytest.raises(UserError, match=r"^flip must be one of none, left, right, got lef; did you mean left\?$"):
        one_of("none", "left", "right").check("flip", "lef")


@pytest.mark.parametrize(
    ("value", "text"), [("3", "'3'"), (True, "true"), (None, "null"), ([1, "a"], "[1, a]"), ({"a": 1}, "{a: 1}")]
)
def test_as_yaml(value: Any, text: str) -> None:
    assert as_yaml(value) == text
