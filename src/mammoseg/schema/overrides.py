"""Overrides of settings on the command line, in the grammar of Hydra."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def split_override(override: str) -> tuple[str, str, str | None]:
    """Split an override into prefix, key and value.

    Args:
        override: Override such as "lr=0.1", "++dataset.size=128" or "~callbacks.ema".

    Returns:
        The prefix ("", "+", "++" or "~"), the key, and the value or None.

    Example:
        >>> split_override("++dataset.size=128")
        ('++', 'dataset.size', '128')
        >>> split_override("~callbacks.ema")
        ('~', 'callbacks.ema', None)
    """
    text = override.lstrip("+~")
    key, equals, value = text.partition("=")
    return override[: len(override) - len(text)], key, value if equals else None


def key_of(override: str) -> str:
    """Return the setting or config group that an override sets, adds or deletes.

    Example:
        >>> key_of("++dataset.size=128")
        'dataset.size'
    """
    return split_override(override)[1]


def quote(value: object) -> str:
    """Quote a value, so that Hydra accepts paths with spaces, brackets or commas.

    Example:
        >>> print(quote("a b (1)"))
        "a b (1)"
    """
    # OmegaConf would resolve ${...}. Hydra unescapes backslashes only before a quote, including the closing one.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", str(value))
    text = re.sub(r'(\\*)"', r'\1\1\\"', text)
    text = re.sub(r"(\\+)\Z", r"\1\1", text)
    return f'"{text}"'


def path_value(path: Path) -> str:
    """Return a path as the value of an override, in quotes only if Hydra requires them.

    Example:
        >>> path_value(Path("outputs/latest"))
        'outputs/latest'
    """
    plain = str(path).replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum()
    return str(path) if plain else quote(path)


def merge(overrides: Iterable[str]) -> list[str]:
    """Keep only the last override of each key, with the prefix "+" or "++" if the first override of the key adds it.

    Example:
        >>> merge(["lr=1", "+note=a", "note=b", "lr=2"])
        ['+note=b', 'lr=2']
    """
    merged: dict[str, str] = {}
    for override in overrides:
        key = key_of(override)
        prefix, _, _ = split_override(merged.pop(key, override))
        added = prefix.startswith("+") and not override.startswith(("+", "~"))
        merged[key] = f"{prefix}{override}" if added else override
    return list(merged.values())
