"""Types of settings that are lists or mappings, or have one of several types."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mammoseg.schema.types import SettingType


@dataclass(frozen=True)
class ListOf(SettingType):
    """A list.

    Attributes:
        item: Type of the entries.
        minimum: Smallest number of entries.
        maximum: Largest number of entries.
        optional: Whether null is valid.
    """

    item: SettingType
    minimum: int = 0
    maximum: int | None = None
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is a list of valid entries."""
        if value is None:
            return self.optional
        if not isinstance(value, list) or not all(map(self.item.accepts, value)):
            return False
        return self.minimum <= len(value) <= (len(value) if self.maximum is None else self.maximum)

    @property
    def description(self) -> str:
        """Such as "a list of 3 entries, each a number"."""
        length = {
            (self.minimum, self.maximum): f" of {self.minimum} or more entries",
            (0, None): "",
            (self.minimum, self.minimum): f" of {self.minimum} entries",
        }[self.minimum, self.maximum]
        return f"a list{length}, each {self.item.description}{' or null' if self.optional else ''}"


@dataclass(frozen=True)
class MappingOf(SettingType):
    """A mapping from arbitrary names to values of one type.

    Attributes:
        item: Type of the values.
        optional: Whether null is valid.
    """

    item: SettingType
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is a mapping with valid values."""
        if value is None:
            return self.optional
        return isinstance(value, Mapping) and all(map(self.item.accepts, value.values()))

    @property
    def description(self) -> str:
        """Such as "a mapping from names to an integer of at least 0"."""
        return f"a mapping from names to values, each {self.item.description}{' or null' if self.optional else ''}"


@dataclass(frozen=True)
class Either(SettingType):
    """A value of one of several types.

    Attributes:
        types: The types.
    """

    types: tuple[SettingType, ...]

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is valid for one of the types."""
        return any(kind.accepts(value) for kind in self.types)

    @property
    def description(self) -> str:
        """The descriptions of the types, separated by "or"."""
        return " or ".join(kind.description for kind in self.types)


def either(*types: SettingType) -> Either:
    """Return the union of several types."""
    return Either(types)


@dataclass(frozen=True)
class AnyValue(SettingType):
    """Any value, for arguments whose type is not known."""

    def accepts(self, value: Any) -> bool:  # noqa: ARG002
        """Return True."""
        return True

    @property
    def description(self) -> str:
        """Any value."""
        return "any value"


@dataclass(frozen=True)
class Section(SettingType):
    """A mapping with a fixed set of keys.

    Attributes:
        settings: Types of the settings in it.
        extra: Type of entries with other names; None if there are none.
        absent: Settings that may be missing, since not every choice of a group has them.
        optional: Whether null is valid.
    """

    settings: Mapping[str, SettingType]
    extra: SettingType | None = None
    absent: Collection[str] = ()
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is a mapping; its entries are checked one by one."""
        return self.optional if value is None else isinstance(value, Mapping)

    @property
    def description(self) -> str:
        """A mapping."""
        content = f"with {', '.join(self.settings)}" if self.settings else "from names to parts, each with a _target_"
        return f"a mapping {content}{' or null' if self.optional else ''}"


@dataclass(frozen=True)
class SectionOrPart(Section):
    """A mapping with a fixed set of keys or, if a group was chosen for it, a part with a `_target_`."""
