"""Validation of settings. Each function returns the valid value or raises UserError "X must be Y, got Z"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from mammoseg.errors import UserError
from mammoseg.schema.types import did_you_mean

T = TypeVar("T")


def one_of(name: str, value: object, choices: Iterable[T]) -> T:
    """Check an enumerated setting.

    Args:
        name: Name of the setting, such as `dataset.aspect`.
        value: Value of the setting.
        choices: Allowed values; None and booleans are displayed in YAML syntax.

    Returns:
        The choice equal to `value`.

    Raises:
        UserError: If `value` is not one of the choices. The message suggests the closest choice for a misspelt string.

    Example:
        >>> one_of("dataset.aspect", "pad", ["stretch", "pad"])
        'pad'
        >>> one_of("dataset.aspect", "pads", ["stretch", "pad"])
        Traceback (most recent call last):
        mammoseg.errors.UserError: dataset.aspect must be one of stretch, pad, got pads; did you mean pad?
    """
    allowed = list(choices)
    for choice in allowed:
        # Compare the type as well, since 1 == True and 0 == False.
        if isinstance(value, bool) == isinstance(choice, bool) and value == choice:
            return choice
    hint = did_you_mean(value, allowed)
    raise UserError(f"{name} must be one of {', '.join(map(as_yaml, allowed))}, got {as_yaml(value)}{hint}")


def subset_of(name: str, values: Iterable[object], choices: Iterable[T]) -> tuple[T, ...]:
    """Check a non-empty list of enumerated values.

    Args:
        name: Name of the setting.
        values: Values of the setting.
        choices: Allowed values.

    Returns:
        The values as a tuple.

    Raises:
        UserError: If `values` is empty, or one of them is not among the choices.
    """
    allowed = list(choices)
    subset = tuple(one_of(name, value, allowed) for value in values)
    if not subset:
        raise UserError(f"{name} must contain one or more of {', '.join(map(as_yaml, allowed))}, got []")
    return subset


def boolean(name: str, value: object) -> bool:
    """Check that a setting is true or false.

    Hydra parses `no` and `off` as strings, which are true in Python.

    Args:
        name: Name of the setting.
        value: Value of the setting.

    Raises:
        UserError: If `value` is not a boolean.
    """
    return one_of(name, value, (True, False))


def positive_int(name: str, value: object, *, minimum: int = 1) -> int:
    """Check that a setting is an integer of at least `minimum`. Floats and booleans are rejected.

    Args:
        name: Name of the setting.
        value: Value of the setting.
        minimum: Smallest valid value.

    Raises:
        UserError: If `value` is invalid.

    Example:
        >>> positive_int("epochs", 0)
        Traceback (most recent call last):
        mammoseg.errors.UserError: epochs must be an integer of at least 1, got 0
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise UserError(f"{name} must be an integer of at least {minimum}, got {as_yaml(value)}")
    return value


def optional_positive_int(name: str, value: object, *, minimum: int = 1) -> int | None:
    """Check that a setting is None or an integer of at least `minimum`.

    Args:
        name: Name of the setting.
        value: Value of the setting.
        minimum: Smallest valid integer.

    Raises:
        UserError: If `value` is invalid.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise UserError(f"{name} must be an integer of at least {minimum} or null, got {as_yaml(value)}")
    return value


def probability(name: str, value: object) -> float:
    """Check that a setting is a number strictly between 0 and 1, such as a threshold or a confidence level.

    Args:
        name: Name of the setting.
        value: Value of the setting.

    Raises:
        UserError: If `value` is invalid.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise UserError(f"{name} must be a number between 0 and 1 (exclusive), got {as_yaml(value)}")
    return value


def non_negative(name: str, value: object) -> float:
    """Check that a setting is a finite number of at least 0, such as an area.

    Raises:
        UserError: If `value` is anything else.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise UserError(f"{name} must be a number of at least 0, got {as_yaml(value)}")
    return value


def fraction(name: str, value: object) -> float:
    """Check that a setting is a number above 0 and at most 1, such as an intersection over union.

    Args:
        name: Name of the setting.
        value: Value of the setting.

    Raises:
        UserError: If `value` is invalid.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise UserError(f"{name} must be a number above 0 and at most 1, got {as_yaml(value)}")
    return value


def as_yaml(value: object) -> str:
    """Format a scalar in YAML syntax: null, true, false, or the plain value.

    Example:
        >>> as_yaml(None)
        'null'
    """
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
