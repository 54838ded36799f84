"""Types of settings that are text: file names, durations and paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mammoseg.schema.types import SettingType


@dataclass(frozen=True)
class FileName(SettingType):
    """A string that can be part of the name of a file: it contains no separator of folders.

    Attributes:
        optional: Whether null is valid.

    Example:
        >>> FileName().accepts("clinic"), FileName().accepts("../clinic")
        (True, False)
    """

    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is such a string."""
        if value is None:
            return self.optional
        return isinstance(value, str) and re.fullmatch(r"\w[\w. -]*", value) is not None

    @property
    def description(self) -> str:
        """Letters, digits and some other characters."""
        text = "a string of letters, digits, spaces and the characters _ . -, which starts with a letter or digit"
        return f"{text}, or null" if self.optional else text


@dataclass(frozen=True)
class DeviceIndices(SettingType):
    """Indices of devices as text, such as "0,2".

    Example:
        >>> DeviceIndices().accepts("0,2"), DeviceIndices().accepts("gpu")
        (True, False)
    """

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is such a string."""
        return isinstance(value, str) and re.fullmatch(r"-1|\d+(,\s*\d+)*,?", value) is not None

    @property
    def description(self) -> str:
        """Numbers and commas."""
        return "indices separated by commas"


@dataclass(frozen=True)
class Duration(SettingType):
    """A duration such as "00:12:00:00", or null; see `lightning.pytorch.callbacks.Timer`.

    Example:
        >>> Duration().accepts("01:12:00:00"), Duration().accepts("12 hours"), Duration().accepts("00:00:00:00")
        (True, False, False)
    """

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is null or a duration above 0."""
        if value is None:
            return True
        match = re.fullmatch(r"(\d+):(\d\d):(\d\d):(\d\d)", value) if isinstance(value, str) else None
        return (
            match is not None and any(map(int, match.groups())) and all(int(part) < 60 for part in match.groups()[1:])
        )

    @property
    def description(self) -> str:
        """Days, hours, minutes and seconds."""
        return "a duration above 0 as DD:HH:MM:SS (days, hours, minutes, seconds), such as 00:12:00:00, or null"


@dataclass(frozen=True)
class LocalPath(SettingType):
    """A path on this machine. Integers are valid, since a folder may be called 2024.

    Attributes:
        optional: Whether null is valid.
        several: Whether a list of paths is valid as well.
    """

    optional: bool = False
    several: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` can be a path."""
        if value is None:
            return self.optional
        if isinstance(value, list):
            return self.several and bool(value) and all(map(LocalPath().accepts, value))
        if isinstance(value, str):
            return bool(value.strip()) and "\0" not in value
        return isinstance(value, int) and not isinstance(value, bool)

    @property
    def description(self) -> str:
        """Such as "a path or null"."""
        return f"a path{' or a list of paths' if self.several else ''}{' or null' if self.optional else ''}"

    def hint(self, value: Any) -> str:
        """Explain that YAML reads some names as other values."""
        if isinstance(value, bool | float):
            return "; quote a name that YAML reads as another value, as in '\"1.5\"'"
        return ""
