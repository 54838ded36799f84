"""Quoting for Hydra's override grammar."""

from __future__ import annotations


def quote(value: object) -> str:
    """Quote `value`, so that Hydra's grammar accepts paths with spaces, brackets or commas.

    Example:
        >>> print(quote("a b (1)"))
        "a b (1)"
    """
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
