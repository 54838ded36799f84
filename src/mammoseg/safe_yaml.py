"""Reading of YAML files that may come from somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

MAX_BYTES = 100_000  # PyYAML takes quadratic time for integers in base 60, such as 1:30:15


def load_yaml_file(path: Path) -> Any:
    """Load a YAML file of plain values without aliases.

    With aliases, a small file can describe an exponentially large value.

    Args:
        path: The file.

    Returns:
        Mappings, lists, strings, numbers, booleans, dates and None.

    Raises:
        ValueError: If the file is damaged, contains an alias, or is larger than `MAX_BYTES`.
    """
    with path.open("rb") as file:
        return load_yaml_bytes(file.read(MAX_BYTES + 1))


def load_yaml_bytes(content: bytes) -> Any:
    """Load YAML as `load_yaml_file` does, from the content of a file.

    Raises:
        ValueError: As `load_yaml_file`.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        return yaml.load(content, _LoaderWithoutAliases)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"damaged YAML file ({type(error).__name__})") from error


class _LoaderWithoutAliases(yaml.SafeLoader):
    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)
