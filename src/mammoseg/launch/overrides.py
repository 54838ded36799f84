"""Values in the grammar of Hydra's overrides."""

from __future__ import annotations


def quote(value: object) -> str:
    """`value` as a quoted string, so that paths with blanks, brackets or commas pass through Hydra's grammar."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
