"""The role of every setting of `train`: which ones define a method, and which do not.

Two runs are the same method if all their method settings are equal, and replicates of it if they differ in replicate
settings as well. Compute settings say how a run is computed; they may change on restart, on resume and within one
comparison. Private settings name files and folders of the user's machine and are never written to checkpoints, run
records, experiment loggers or reports.

An entry below stands for the setting of that name and for all settings under it: ``logger`` covers ``logger.mode``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any


class Role(Enum):
    """Role of a setting in comparisons of runs."""

    METHOD = "method"
    REPLICATE = "replicate"
    COMPUTE = "compute"
    PRIVATE = "private"


PRIVATE = (
    *("dataset.root", "dataset.store", "dataset.reader.tables"),
    *("resume", "trainer.default_root_dir", "hydra"),
    # names accounts and projects
    "logger",
)
COMPUTE = (
    # data loading
    *("dataset.workers", "dataset.on_device", "num_workers"),
    # counts and remarks for the data report
    *("dataset.published", "dataset.note"),
    # memory layout, kernels, recomputation: the same values up to rounding
    *("channels_last", "compile", "model.gradient_checkpointing", "optimizer.fused", "optimizer.foreach"),
    # devices and processes; the batch is that of all of them together
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.plugins"),
    *("trainer.sync_batchnorm", "trainer.use_distributed_sampler", "trainer.benchmark", "trainer.deterministic"),
    # output
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.log_every_n_steps"),
    *("trainer.profiler", "trainer.num_sanity_val_steps", "callbacks.epoch_summary", "callbacks.lr_monitor"),
    # number of the Optuna trial, and trust in stored settings
    *("trial_number", "trusted_modules"),
)
REPLICATE = ("seed", "split.fold", "split.seed")
METHOD = (
    *("batch_size", "threshold", "init_from"),
    *("callbacks.early_stopping", "callbacks.ema", "callbacks.gradient_accumulation"),
    *("dataset._target_", "dataset.name", "dataset.reader._target_", "dataset.reader._partial_"),
    *("dataset.reader.lesions", "dataset.source", "dataset.on_error"),
    *("dataset.size", "dataset.crop", "dataset.aspect", "dataset.normalise", "dataset.flip"),
    *("dataset.density", "dataset.missing_density", "dataset.density_cuts"),
    *("split._target_", "split.folds", "split.val_share"),
    # 16-bit arithmetic gives other weights than 32-bit
    *("trainer._target_", "trainer.precision", "trainer.max_epochs", "trainer.gradient_clip_val"),
)
# Every setting in these sections belongs to the method unless it is listed above, so that a new loss or network needs
# no entry here. Elsewhere tests/contracts/test_settings.py asks for one.
METHOD_SECTIONS = ("model", "loss", "optimizer", "scheduler", "augment")
# Short names whose values reach a run through other settings, such as width through model.width. They are not stored.
SHORTHANDS = ("width", "lr", "epochs", "lr_decay_epochs", "patience", "theta")
# What a resumed run may change besides compute and private settings.
RESUMABLE = ("trainer.max_epochs",)
# Method settings that are paths: a run stores a digest of the file instead.
DIGESTED = ("init_from",)
# The settings that reports show for each run, and name where they differ between methods.
HEADLINE = ("model.width", "trainer.max_epochs", "optimizer.lr", "batch_size", "dataset.size")

ROLES = {
    **dict.fromkeys(PRIVATE, Role.PRIVATE),
    **dict.fromkeys(COMPUTE, Role.COMPUTE),
    **dict.fromkeys(REPLICATE, Role.REPLICATE),
    **dict.fromkeys(METHOD, Role.METHOD),
}


# An absolute path, or one in the home folder, anywhere in the text of an override.
LOCAL_PATH = re.compile(r"""(?:^|[\s:=,'"\[{(])(?:/|~|[A-Za-z]:\\)""")


def covers(entry: str, key: str) -> bool:
    """Whether `entry` is the setting `key` or a section that contains it."""
    return key == entry or key.startswith(f"{entry}.")


def role(key: str) -> Role:
    """The role of the setting `key`, such as "loss.alpha"; unlisted settings belong to the method."""
    return next((listed for entry, listed in ROLES.items() if covers(entry, key)), Role.METHOD)


def is_private(override: str) -> bool:
    """Whether the override `key=value` names a file, a folder or an account of the user."""
    key, _, value = override.lstrip("+~").partition("=")
    return role(key) is Role.PRIVATE or key in DIGESTED or LOCAL_PATH.search(value) is not None


def public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they may leave this machine and as runs are compared: nested plain values.

    Short names are dropped; private settings, and any other value that is a path on this machine, become None.

    Args:
        settings: The composed and resolved configuration of a run, as plain values.
    """
    found = {
        name: _without_paths(value, name)
        for name, value in settings.items()
        if name not in SHORTHANDS and role(name) is not Role.PRIVATE
    }
    if (callbacks := found.get("callbacks")) and (callbacks.get("early_stopping") or {}).get("patience") is None:
        # Without a patience it is not built, which must be the same as not choosing it.
        found["callbacks"] = {name: value for name, value in callbacks.items() if name != "early_stopping"}
    return found


def _without_paths(node: Any, key: str) -> Any:
    if role(key) is Role.PRIVATE or key in DIGESTED:
        return None
    if isinstance(node, Mapping):
        return {name: _without_paths(value, f"{key}.{name}") for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_without_paths(value, key) for value in node]
    return None if isinstance(node, str) and _is_local_path(node) else node


def _is_local_path(text: str) -> bool:
    return text.startswith("~") or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ("loss.alpha", 2.0) and so on for every value below `node`. Lists are values."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def select(settings: Mapping[str, Any], *roles: Role) -> dict[str, Any]:
    """The flat settings that have one of `roles`."""
    return {key: value for key, value in flatten(settings) if role(key) in roles}


def method_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The flat settings that define the method of a run."""
    return select(settings, Role.METHOD)


def varying(runs: Sequence[Mapping[str, Any]], *roles: Role) -> list[str]:
    """The settings of these roles, by default of the method, in which runs differ.

    Sections that one of the runs lacks are not compared, see `differing`.
    """
    common = set.intersection(*(set(settings) for settings in runs)) if runs else set()
    flat = [select({name: settings[name] for name in common}, *(roles or (Role.METHOD,))) for settings in runs]
    keys = sorted({key for settings in flat for key in settings})
    return [key for key in keys if len({str(settings.get(key)) for settings in flat}) > 1]


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The method and replicate settings in which two runs differ. Empty for the same run, computed twice.

    A setting that one of the two lacks counts as None there. Sections that one of them lacks are not compared, since
    earlier versions did not store all of them.
    """
    common = first.keys() & second.keys()
    flat_first, flat_second = (
        select({name: settings[name] for name in common}, Role.METHOD, Role.REPLICATE) for settings in (first, second)
    )
    return [
        key for key in sorted(flat_first.keys() | flat_second.keys()) if flat_first.get(key) != flat_second.get(key)
    ]
