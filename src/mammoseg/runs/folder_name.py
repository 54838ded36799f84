"""Names of the folders of runs and evaluations, before the date and time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_LENGTH = 120  # characters; file systems allow 255, with the date and time


def folder_name(info: Mapping[str, Any], dataset: str = "") -> str:
    """Return the method, fold and seed of a run in characters that need no quotes in a shell.

    Args:
        info: Values of `runs.results.RUN_COLUMNS`; an empty fold or seed is omitted.
        dataset: Dataset of an evaluation; empty to omit it.

    Example:
        >>> folder_name({"method": "au_net", "fold": 0, "seed": 1}, "inbreast")
        'au_net-fold0-seed1-on-inbreast'
    """
    numbers = [f"{name}{info[name]}" for name in ("fold", "seed") if info[name] != ""]
    parts = [str(info["method"]), *numbers, *([f"on-{dataset}"] if dataset else [])]
    return re.sub(r"[^\w.-]", "_", "-".join(parts))[:MAX_LENGTH]
