"""mammoseg.validate: accepted values pass through, others raise UserError naming setting, rule and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mammoseg import validate
from mammoseg.errors import UserError

ASPECTS = ("stretch", "pad")


def test_one_of_returns_the_choice() -> None:
    assert validate.one_of("dataset.aspect", "pad", ASPECTS) == "pad"
    assert validate.one_of("loss.rmi.pool", None, ("max", None)) is None


@pytest.mark.parametrize(
    ("value", "choices", "message"),
    [
        ("pads", ASPECTS, "x must be one of stretch, pad, got pads; did you mean pad?"),
        ("zebra", ASPECTS, "x must be one of stretch, pad, got zebra"),
        (None, ASPECTS, "x must be one of stretch, pad, got null"),
        (True, ("max", None), "x must be one of max, null, got true"),
        (1, (True, False), "x must be one of true, false, got 1"),
        (True, (1, 2), "x must be one of 1, 2, got true"),
    ],
)
def test_one_of_rejects_other_values(value: object, choices: tuple[object, ...], message: str) -> None:
    with pytest.raises(UserError) as raised:
        validate.one_of("x", value, choices)
    assert str(raised.value) == message


def test_subset_of_rejects_empty_and_unknown_values() -> None:
    assert validate.subset_of("model.places", ["a", "b"], "abc") == ("a", "b")
    with pytest.raises(UserError, match=r"model.places must contain one or more of a, b, c, got \[\]"):
        validate.subset_of("model.places", [], "abc")
    with pytest.raises(UserError, match=r"model.places must be one of a, b, c, got d"):
        validate.subset_of("model.places", ["a", "d"], "abc")


@pytest.mark.parametrize(
    ("check", "accepted", "rejected"),
    [
        (validate.boolean, [True, False], ["no", "off", 0, 1, None]),
        (validate.positive_int, [1, 7], [0, -1, 1.0, "1", True, None]),
        (validate.optional_positive_int, [None, 1, 7], [0, 1.0, "1", True]),
        (validate.probability, [0.5, 1e-9], [0, 1, 0.0, 1.0, float("nan"), "0.5", True, None]),
        (validate.fraction, [0.5, 1, 1.0], [0, 1.1, float("nan"), "1", True, None]),
    ],
)
def test_checks_return_valid_values_and_reject_others(
    check: Callable[..., Any], accepted: list[object], rejected: list[object]
) -> None:
    for value in accepted:
        assert check("x", value) is value
    for value in rejected:
        with pytest.raises(UserError, match=f"^x must be .*, got {validate.as_yaml(value)}$"):
            check("x", value)


def test_positive_int_rejects_values_below_the_minimum() -> None:
    with pytest.raises(UserError, match="cases must be an integer of at least 8, got 7"):
        validate.positive_int("cases", 7, minimum=8)
