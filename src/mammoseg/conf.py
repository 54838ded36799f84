"""Location and content of `conf/`, the YAML files of all choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml


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


def targets_in(groups: Sequence[str], folders: Sequence[Path]) -> frozenset[str]:
    """Return every `_target_` in the YAML files of some groups.

    Args:
        groups: Names of groups, such as "loss".
        folders: `conf/` and folders of the user.
    """
    return frozenset().union(*(_targets_in(folder / group) for folder in folders for group in groups))


@cache
def _targets_in(folder: Path) -> frozenset[str]:
    contents = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml")))
    return frozenset(target for content in contents for target in iter_targets(content))


def iter_targets(node: Any) -> Iterator[str]:
    """Yield every `_target_` in a mapping or list, at any depth.

    Example:
        >>> list(iter_targets({"dice": {"_target_": "mammoseg.losses.Dice"}, "weights": [1, 2]}))
        ['mammoseg.losses.Dice']
    """
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list | tuple):
        for value in node:
            yield from iter_targets(value)
