"""Checks of single settings. Each returns the valid value and raises UserError "X must be Y, got Z" otherwise."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar

from mammoseg.errors import UserError

T = TypeVar("T")


def one_of(name: str, value: object, choices: Iterable[T]) -> T:
    """Check an enumerated setting.

    Args:
        name: The setting as the user writes it, such as `dataset.aspect`.
        value: What the user gave.
        choices: The allowed values; None and booleans are displayed as YAML writes them.

    Returns:
        The choice equal to `value`.

    Raises:
        UserError: If `value` is none of the choices. Suggests the closest choice for a misspelt string.
    """
    allowed = list(choices)
    for choice in allowed:
        # Type as well as value: 1 == True and 0 == False.
        if isinstance(value, bool) == isinstance(choice, bool) and value == choice:
            return choice
    close = difflib.get_close_matches(str(value), [choice for choice in allowed if isinstance(choice, str)], n=1)
    hint = f"; did you mean {close[0]}?" if isinstance(value, str) and close else ""
    raise UserError(f"{name} must be one of {', '.join(map(as_yaml, allowed))}, got {as_yaml(value)}{hint}")


def subset_of(name: str, values: Iterable[object], choices: Iterable[T]) -> tuple[T, ...]:
    """Check a non-empty list of enumerated values.

    Raises:
        UserError: If `values` is empty, or one of them is not among the choices.
    """
    allowed = list(choices)
    given = tuple(one_of(name, value, allowed) for value in values)
    if not given:
        raise UserError(f"{name} must contain one or more of {', '.join(map(as_yaml, allowed))}, got []")
    return given


def boolean(name: str, value: object) -> bool:
    """Check for true or false. Hydra parses `no` and `off` as strings, which Python would treat as true."""
    return one_of(name, value, (True, False))


def positive_int(name: str, value: object, *, minimum: int = 1) -> int:
    """Check for an integer of at least `minimum`. A float or a boolean is rejected.

    Raises:
        UserError: If it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise UserError(f"{name} must be an integer of at least {minimum}, got {as_yaml(value)}")
    return value


def optional_positive_int(name: str, value: object, *, minimum: int = 1) -> int | None:
    """As `positive_int`, or None."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise UserError(f"{name} must be an integer of at least {minimum} or null, got {as_yaml(value)}")
    return value


def probability(name: str, value: object) -> float:
    """Check for a number strictly between 0 and 1, such as a threshold or a confidence level.

    Raises:
        UserError: If it is none.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise UserError(f"{name} must be a number between 0 and 1 (exclusive), got {as_yaml(value)}")
    return value


def fraction(name: str, value: object) -> float:
    """Check for a number above 0 and at most 1, such as an intersection over union.

    Raises:
        UserError: If it is none.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise UserError(f"{name} must be a number above 0 and at most 1, got {as_yaml(value)}")
    return value


def as_yaml(value: object) -> str:
    """A scalar as the user would write it: null, true, false, or the plain value."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
