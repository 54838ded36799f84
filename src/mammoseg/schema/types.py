"""Types and ranges of settings.

Each type checks a value and describes the values it accepts, for error messages and for the settings reference:

    >>> Integer(minimum=1).check("epochs", 1.5)
    Traceback (most recent call last):
    mammoseg.errors.UserError: epochs must be an integer of at least 1, got 1.5
"""

from __future__ import annotations

import difflib
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from mammoseg.errors import UserError


class SettingType(ABC):
    """Set of values that a setting accepts."""

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Return whether `value`, a plain YAML value, is valid."""

    @property
    @abstractmethod
    def description(self) -> str:
        """The valid values, completing "X must be ..."."""

    def check(self, name: str, value: Any) -> None:
        """Check the value of a setting.

        Args:
            name: Full name of the setting, such as `dataset.size`.
            value: Its value, as plain Python objects.

        Raises:
            UserError: If the value is invalid.
        """
        if not self.accepts(value):
            raise UserError(f"{name} must be {self.description}, got {as_yaml(value)}{self.hint(value)}")

    def hint(self, value: Any) -> str:  # noqa: ARG002
        """Text to append to the error message for `value`."""
        return ""


@dataclass(frozen=True)
class Integer(SettingType):
    """An integer in a range; booleans and floats are rejected.

    Attributes:
        minimum: Smallest valid value; None if there is no bound.
        maximum: Largest valid value; None if there is no bound.
        multiple_of: Divisor of the valid values.
        optional: Whether null is valid.
    """

    minimum: int | None = 0
    maximum: int | None = None
    multiple_of: int = 1
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is an integer in the range."""
        if value is None:
            return self.optional
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        if self.minimum is not None and value < self.minimum:
            return False
        return (self.maximum is None or value <= self.maximum) and value % self.multiple_of == 0

    @property
    def description(self) -> str:
        """Such as "an integer from 0 to 4"."""
        kind = "an integer" if self.multiple_of == 1 else f"a multiple of {self.multiple_of}"
        limits = f" from {self.minimum} to {self.maximum}" if self.maximum is not None else ""
        if self.maximum is None and self.minimum is not None:
            limits = f" of at least {self.minimum}"
        return f"{kind}{limits}{' or null' if self.optional else ''}"


@dataclass(frozen=True)
class Number(SettingType):
    """A finite number in a range; booleans are rejected.

    Attributes:
        minimum: Lower bound.
        maximum: Upper bound.
        exclusive_minimum: Whether the lower bound itself is invalid.
        exclusive_maximum: Whether the upper bound itself is invalid.
        optional: Whether null is valid.
    """

    minimum: float = -math.inf
    maximum: float = math.inf
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is a number in the range."""
        if value is None:
            return self.optional
        if not isinstance(value, int | float) or isinstance(value, bool) or not is_finite(value):
            return False
        above = value > self.minimum if self.exclusive_minimum else value >= self.minimum
        below = value < self.maximum if self.exclusive_maximum else value <= self.maximum
        return above and below

    @property
    def description(self) -> str:
        """Such as "a number above 0 and at most 1"."""
        null = " or null" if self.optional else ""
        if math.isfinite(self.minimum) and math.isfinite(self.maximum) and not self.exclusive_minimum:
            exclusive = " (exclusive)" if self.exclusive_maximum else ""
            return f"a number from {self.minimum:g} to {self.maximum:g}{exclusive}{null}"
        limits = []
        if math.isfinite(self.minimum):
            limits.append(f"{'above' if self.exclusive_minimum else 'of at least'} {self.minimum:g}")
        if math.isfinite(self.maximum):
            limits.append(f"{'below' if self.exclusive_maximum else 'at most'} {self.maximum:g}")
        return f"a number {' and '.join(limits)}".rstrip() + null


def is_finite(value: float) -> bool:
    """Return whether a number is finite and, if it is an integer, in the range of floating-point numbers.

    Example:
        >>> is_finite(1), is_finite(math.inf), is_finite(10**400)
        (True, False, False)
    """
    return abs(value) <= sys.float_info.max


@dataclass(frozen=True)
class Boolean(SettingType):
    """true or false; words such as "no" and "off", which YAML leaves as strings, are rejected."""

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is a boolean."""
        return isinstance(value, bool)

    @property
    def description(self) -> str:
        """True or false."""
        return "true or false"


@dataclass(frozen=True)
class Choice(SettingType):
    """One of several values.

    Attributes:
        choices: The values: strings, integers or None.
    """

    choices: tuple[Any, ...]

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is one of the choices."""
        # Compare the type as well, since 1 == True and 1 == 1.0.
        return any(type(value) is type(choice) and value == choice for choice in self.choices)

    @property
    def description(self) -> str:
        """Such as "one of stretch, pad"."""
        names = ", ".join(map(as_yaml, self.choices))
        return names if len(self.choices) == 1 else f"one of {names}"

    def hint(self, value: Any) -> str:
        """Suggest the most similar choice for a misspelt string."""
        return did_you_mean(value, self.choices)


def one_of(*choices: Any) -> Choice:
    """Return the type of a setting with these values."""
    return Choice(choices)


@dataclass(frozen=True)
class Text(SettingType):
    """A string.

    Attributes:
        optional: Whether null is valid.
        empty: Whether the empty string is valid.
    """

    optional: bool = False
    empty: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is a string."""
        if value is None:
            return self.optional
        return isinstance(value, str) and (self.empty or bool(value.strip()))

    @property
    def description(self) -> str:
        """Such as "a string or null"."""
        return f"a {'' if self.empty else 'non-empty '}string{' or null' if self.optional else ''}"


def as_yaml(value: Any) -> str:
    """Format a value as it is written on the command line, on one line.

    Example:
        >>> as_yaml([None, True, "3", "a"])
        "[null, true, '3', a]"
    """
    try:
        text: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False)
    except ValueError:  # Python does not convert integers of more than 4300 digits to text
        return "an integer with too many digits"
    return text.removesuffix("\n").removesuffix("\n...")


def did_you_mean(value: object, choices: Iterable[object]) -> str:
    """Return a hint that suggests the string in `choices` most similar to `value`, or an empty string.

    Example:
        >>> did_you_mean("epoch", ["epochs", "seed"])
        '; did you mean epochs?'
    """
    match = closest(value, choices)
    return "" if match is None else f"; did you mean {match}?"


def closest(value: object, choices: Iterable[object]) -> str | None:
    """Return the string in `choices` most similar to `value`, or None if none is similar.

    The case is ignored if no string is similar otherwise.

    Example:
        >>> closest("epoch", ["epochs", "seed"]), closest("AU_NET", ["au_net", "unet"])
        ('epochs', 'au_net')
    """
    if not isinstance(value, str):
        return None
    candidates = [choice for choice in choices if isinstance(choice, str)]
    folded = {choice.casefold(): choice for choice in candidates}
    if matches := difflib.get_close_matches(value, candidates, n=1):
        return matches[0]
    matches = difflib.get_close_matches(value.casefold(), folded, n=1)
    return folded[matches[0]] if matches else None
