"""Settings of the YAML files in conf/ with their defaults and comments, for help texts and the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

COMMENT = re.compile(r"\s#\s(.*)$")


@dataclass(frozen=True)
class Setting:
    """A setting of a YAML file.

    Attributes:
        name: Name in the file, such as "scheduler.gamma".
        default: Source text of the value.
        comment: Comment in the same line or, without one, above it; may be empty.
        target: `_target_` of the mapping that contains it; empty without one.
    """

    name: str
    default: str
    comment: str
    target: str

    @property
    def argument(self) -> str:
        """Last part of the name."""
        return self.name.rsplit(".", 1)[-1]


class SettingsFile:
    """A YAML file of conf/.

    Attributes:
        description: Comment at the beginning, without `@package` and command lines.
        commands: Command lines in this comment.
        is_global: Whether the names of its settings are complete (`@package _global_`).
        targets: Classes and functions that it names as `_target_` in block style.
        settings: Its settings, in order.
    """

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        n_header = next((i for i, line in enumerate(self.lines) if not line.startswith("#")), len(self.lines))
        header = [line.removeprefix("#").strip() for line in self.lines[:n_header]]
        self.is_global = "@package _global_" in header
        self.commands = [
            line.removeprefix("Usage: ") for line in header if line.removeprefix("Usage: ").startswith("python -m")
        ]
        self.description = "\n".join(line for line in header if not re.match("@package|(Usage: )?python -m", line))
        self.first_line = n_header
        self.targets: list[str] = []
        node = yaml.compose(self.text)
        self.settings = list(self._walk(node, "")) if isinstance(node, yaml.MappingNode) else []

    def _walk(self, node: yaml.MappingNode, prefix: str) -> Iterator[Setting]:
        values = {key.value: value for key, value in node.value}
        target = str(values["_target_"].value) if "_target_" in values else ""
        if target:
            self.targets.append(target)
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if key.value in ("_target_", "_partial_") or (not prefix and key.value == "defaults"):
                continue
            if isinstance(value, yaml.MappingNode) and not value.flow_style:
                yield from self._walk(value, f"{name}.")
            else:
                yield Setting(name, self._source(value), self._comment(key.start_mark.line), target)

    def _source(self, value: yaml.Node) -> str:
        """Return the source of a value in one line; lists have brackets."""
        if isinstance(value, yaml.SequenceNode) and not value.flow_style:
            return f"[{', '.join(map(self._source, value.value))}]"
        return " ".join(self.text[value.start_mark.index : value.end_mark.index].split())

    def _comment(self, line: int) -> str:
        """Return the comment of a line, or those in the lines above it, except the header of the file."""
        if found := COMMENT.search(self.lines[line]):
            return found[1]
        above: list[str] = []
        for number in range(line - 1, self.first_line - 1, -1):
            text = self.lines[number].strip()
            if not text.startswith("# "):
                break
            above.insert(0, text.removeprefix("# "))
        return " ".join(above)
