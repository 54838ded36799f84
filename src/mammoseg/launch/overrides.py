"""Overrides in the grammar of Hydra."""

from __future__ import annotations

from collections.abc import Iterable


def quote(value: object) -> str:
    """`value` as a quoted string, so that paths with blanks, brackets or commas pass through Hydra's grammar."""
    # Hydra unescapes a backslash only before a quote; OmegaConf would resolve ${...}.
    text = str(value).replace('\\"', '\\\\"').replace('"', '\\"').replace("${", "\\${")
    return f'"{text}\\"' if text.endswith("\\") else f'"{text}"'


def key_of(override: str) -> str:
    """The setting or group that an override sets, adds or removes."""
    return override.lstrip("+~").partition("=")[0]


def merge(overrides: Iterable[str]) -> list[str]:
    """The overrides with only the last one of each key, which is added with + if the first one was."""
    merged: dict[str, str] = {}
    for override in overrides:
        key = key_of(override)
        first = merged.pop(key, override)
        added = first.startswith("+") and not override.startswith(("+", "~"))
        merged[key] = f"+{override}" if added else override
    return list(merged.values())
