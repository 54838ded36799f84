"""Search in nested configs, such as for transforms within other transforms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def nested_mappings(node: Any) -> Iterator[Mapping[Any, Any]]:
    """Yield a mapping and all mappings that it contains, also in lists; nothing for other values.

    Example:
        >>> [mapping["p"] for mapping in nested_mappings([{"p": 1, "transforms": [{"p": 2}, "flip"]}, None])]
        [1, 2]
    """
    if isinstance(node, Mapping):
        yield node
        node = list(node.values())
    if isinstance(node, Sequence) and not isinstance(node, str | bytes):
        for child in node:
            yield from nested_mappings(child)
