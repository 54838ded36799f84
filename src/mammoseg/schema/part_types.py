"""Types of the classes and functions that `conf/` names as `_target_`, and of arguments that several of them have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mammoseg.schema.collection_types import ListOf
from mammoseg.schema.rules import Rule
from mammoseg.schema.types import Integer, Number, SettingType, one_of

WEIGHT = Number(0, 1e6)
POSITIVE = Number(0, 1e6, exclusive_minimum=True)
UNIT = Number(0, 1)
SEED = Integer(0, 2**32 - 1)
APPEARANCE = one_of("realistic", "simple")
WIDTH = Integer(1, 2048)
THETA = ListOf(WEIGHT, 4, 4)
NEGATIVE_FRACTION = Number(0, 1, exclusive_minimum=True, exclusive_maximum=True, optional=True)


@dataclass(frozen=True)
class SubPart(SettingType):
    """A nested mapping with a `_target_`.

    Attributes:
        optional: Whether null is valid.
        partial: Whether the target is called later with further arguments, so that `_partial_: true` is required.
    """

    optional: bool = True
    partial: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` has a `_target_`."""
        return self.optional if value is None else isinstance(value, Mapping) and "_target_" in value

    @property
    def description(self) -> str:
        """A mapping with a _target_."""
        return f"a mapping with a _target_{' or null' if self.optional else ''}"


@dataclass(frozen=True)
class Part:
    """Arguments of a target.

    Attributes:
        arguments: Types of the arguments.
        rules: Conditions on several arguments; each returns an error message or None.
        complete: Whether `arguments` contains all arguments, although the target has a `**kwargs`.
    """

    arguments: Mapping[str, SettingType]
    rules: tuple[Rule, ...] = field(default=())
    complete: bool = False


PART = SubPart()
PARTIAL = SubPart(optional=False, partial=True)
REQUIRED_PART = SubPart(optional=False)
