"""Location and content of `conf/`, the YAML files of all choices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

# Parts of a section that are called in a way of their own: a reader and a generator of datasets.
PART_KEYS = ("reader", "source")
GLOBAL_PACKAGE = re.compile(r"#\s*@package\s+_global_\s*$", re.MULTILINE)


def conf_dir() -> Path:
    """Return the folder `conf/`, in the package if installed from a wheel, otherwise at the top of the checkout.

    Raises:
        FileNotFoundError: If there is none.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "conf", package.parents[1] / "conf"):
        if (candidate / "train.yaml").is_file():
            return candidate
    raise FileNotFoundError(f"conf/ must be in {package} or two folders above it; reinstall mammoseg")


def targets_in(groups: Sequence[str], folders: Sequence[Path]) -> frozenset[tuple[str, str]]:
    """Return the position and the name of every `_target_` in the YAML files of some groups; see `iter_positions`.

    Args:
        groups: Names of groups, such as "loss".
        folders: `conf/` and folders of the user.
    """
    return frozenset().union(*(_targets_in(folder / group) for folder in folders for group in groups))


@cache
def _targets_in(folder: Path) -> frozenset[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        if GLOBAL_PACKAGE.search(text) and isinstance(content, dict):  # the file contains several sections
            found.update(*map(iter_positions, content.values()))
        else:
            found.update(iter_positions(content))
    return frozenset(found)


def iter_positions(section: Any) -> Iterator[tuple[str, str]]:
    """Yield the position and the name of every `_target_` in a section of a config, at any depth.

    The position is "" for the section itself, the key of a part that has a meaning of its own (`PART_KEYS`), and
    "part" for all others.

    Example:
        >>> list(iter_positions({"_target_": "mine.Sum", "terms": {"dice": {"_target_": "mine.Dice"}}}))
        [('', 'mine.Sum'), ('part', 'mine.Dice')]
    """
    yield from _iter_positions(section, "")


def _iter_positions(node: Any, position: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield position, str(node["_target_"])
        for key, value in node.items():
            yield from _iter_positions(value, key if key in PART_KEYS else "part")
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _iter_positions(value, position or "part")
