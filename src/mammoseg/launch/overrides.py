"""Overrides in the grammar of Hydra."""

from __future__ import annotations

from collections.abc import Iterable


def quote(value: object) -> str:
    """Quote `value`, so that Hydra's grammar accepts paths with spaces, brackets or commas.

    Example:
        >>> print(quote("a b (1)"))
        "a b (1)"
    """
    # Hydra unescapes a backslash only before a quote; OmegaConf would resolve ${...}.
    text = str(value).replace('\\"', '\\\\"').replace('"', '\\"').replace("${", "\\${")
    return f'"{text}\\"' if text.endswith("\\") else f'"{text}"'


def key_of(override: str) -> str:
    """The setting or group that an override sets, adds or removes.

    Example:
        >>> key_of("++dataset.size=128")
        'dataset.size'
    """
    return override.lstrip("+~").partition("=")[0]


def merge(overrides: Iterable[str]) -> list[str]:
    """Keep only the last override of each key; it is added with + if the first one was.

    Example:
        >>> merge(["lr=1", "+note=a", "note=b", "lr=2"])
        ['+note=b', 'lr=2']
    """
    merged: dict[str, str] = {}
    for override in overrides:
        key = key_of(override)
        first = merged.pop(key, override)
        added = first.startswith("+") and not override.startswith(("+", "~"))
        merged[key] = f"+{override}" if added else override
    return list(merged.values())
