"""run.json: what a run was told to do, with which versions, and whether it is done.

No path of the user's machine is in it, so that a run folder may be shared.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mammoseg.errors import OccupiedError, UserError
from mammoseg.runs import checkpoint

NAME = "run.json"
PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy", "pydicom", "mammoseg")
# What may differ between two runs of the same thing: it changes where and how fast, not what comes out.
DEVICES = ("trainer.devices", "trainer.strategy", "trainer.sync_batchnorm", "trainer.use_distributed_sampler")
INDIFFERENT = ("dataset.workers", "num_workers", "trainer.accelerator", "trainer.enable_progress_bar", *DEVICES)


def describe(cfg: DictConfig, about: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run that begins."""
    root = str(Path(cfg.dataset.root).expanduser().resolve())
    return {
        "about": dict(about),
        "settings": checkpoint.portable(cfg),
        "root": hashlib.sha256(root.encode()).hexdigest()[:16],  # tells folders apart without naming them
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def read(folder: Path) -> dict[str, Any] | None:
    """None where there is none. Raises UserError for a damaged one."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
        return {"settings": {}, **record}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it, or the whole run folder, and run again") from error


def write(folder: Path, record: Mapping[str, Any]) -> None:
    beside = folder / f"{NAME}.unfinished"
    beside.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(beside, folder / NAME)


def earlier(folder: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of the same run, finished or not, if `folder` holds one.

    Raises UserError if it holds a run with other settings: the folder of a sweep keeps its name, and results of
    two settings under one name would be worse than none.
    """
    before = read(folder)
    if before is None:
        return None
    was, now = (
        dict(flat({"root": one.get("root"), **one["settings"]})) for one in (before, json.loads(json.dumps(record)))
    )
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key) and not key.startswith(INDIFFERENT):
            difference = "another dataset.root" if key == "root" else f"{key}={was.get(key)}, not {now.get(key)}"
            raise OccupiedError(
                f"{folder}: holds a run with {difference}; choose another folder "
                "(hydra.sweep.dir=..., or hydra.run.dir=... for a single run), or remove this one"
            )
    return before


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("loss.alpha", 2.0) and so on for every value below `node`; lists are values."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
