"""Roles of the settings of `train`: method, replicate, compute or private.

Runs with equal method settings are runs of the same method; they are replicates if they differ in replicate settings.
Compute settings affect how a run is computed, but not its results up to rounding; they may change on restart and on
resume, and may differ between compared runs. Private settings are paths and accounts of the user; they are never
written to checkpoints, run records, experiment loggers or reports.

An entry of the tables below covers the setting of that name and all settings in the section of that name: ``logger``
covers ``logger.mode``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from mammoseg.schema.overrides import split_override


class Role(Enum):
    """Role of a setting in comparisons of runs."""

    METHOD = "method"
    REPLICATE = "replicate"
    COMPUTE = "compute"
    PRIVATE = "private"


PRIVATE = (
    *("dataset.root", "dataset.store", "dataset.reader.tables"),
    *("resume", "trainer.default_root_dir", "hydra"),
    # accounts and projects
    "logger",
)
COMPUTE = (
    # data loading
    *("dataset.workers", "dataset.on_device", "num_workers"),
    # counts and text for the data report
    *("dataset.published", "dataset.note"),
    # memory layout, kernels, recomputation: equal results up to rounding
    *("channels_last", "compile", "model.gradient_checkpointing", "optimizer.fused", "optimizer.foreach"),
    # devices and processes; batch_size is the total over all of them
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.plugins"),
    *("trainer.sync_batchnorm", "trainer.use_distributed_sampler", "trainer.benchmark", "trainer.deterministic"),
    # output
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.log_every_n_steps"),
    *("trainer.profiler", "trainer.num_sanity_val_steps", "callbacks.epoch_summary", "callbacks.lr_monitor"),
    *("callbacks.gradient_clipping._target_", "callbacks.loss_term_gradients"),
    # index of the Optuna trial, trust in stored settings, and a test that trains no network
    *("trial_number", "trusted_modules", "find_lr"),
)
REPLICATE = ("seed", "split.fold", "split.seed")
METHOD = (
    *("batch_size", "threshold", "model_selection", "init_from", "encoder_weights", "layer_decay"),
    *("callbacks.early_stopping", "callbacks.ema", "callbacks.gradient_accumulation", "callbacks.freeze_encoder"),
    *("callbacks.gradient_clipping.percentile", "callbacks.gradient_clipping.window"),
    *("dataset._target_", "dataset.name", "dataset.reader._target_", "dataset.reader._partial_"),
    *(
        "dataset.reader.lesions",
        "dataset.reader.tissue_density",
        "dataset.reader.sources",
        "dataset.source",
        "dataset.on_error",
    ),
    *("dataset.size", "dataset.crop", "dataset.aspect", "dataset.normalise", "dataset.flip"),
    *("dataset.density", "dataset.missing_density", "dataset.density_model", "dataset.negatives"),
    *("split._target_", "split.folds", "split.val_share", "split.assignment", "split.test", "split.stratify"),
    # 16-bit arithmetic changes the results by more than rounding
    *("trainer._target_", "trainer.precision", "trainer.max_epochs", "trainer.gradient_clip_val"),
    "trainer.limit_train_batches",
)
# Settings in these sections belong to the method unless they are listed above, so that a new loss or network needs no
# entry. tests/contracts/test_settings.py requires an entry for every other setting.
METHOD_SECTIONS = ("model", "loss", "optimizer", "scheduler", "augment", "sampler")
# Short names of other settings, such as width for model.width. They are not stored.
SHORTHANDS = ("width", "lr", "epochs", "lr_decay_epochs", "patience", "theta")
# Settings that may change on resume, in addition to compute and private settings.
RESUMABLE = ("trainer.max_epochs",)
# Method settings that are paths; a run stores the hash of the file instead.
DIGESTED = ("init_from", "encoder_weights")
# Settings that reports list for each run.
HEADLINE = ("model.width", "trainer.max_epochs", "optimizer.lr", "batch_size", "dataset.size")

ROLES = {
    **dict.fromkeys(PRIVATE, Role.PRIVATE),
    **dict.fromkeys(COMPUTE, Role.COMPUTE),
    **dict.fromkeys(REPLICATE, Role.REPLICATE),
    **dict.fromkeys(METHOD, Role.METHOD),
}


# An absolute path or a path in the home folder, at any position in an override.
LOCAL_PATH = re.compile(r"""(?:^|[\s:=,'"\[{(])(?:/|~|[A-Za-z]:\\)""")


def covers(entry: str, key: str) -> bool:
    """Return True if `entry` is the setting `key` or a section that contains it.

    Example:
        >>> covers("logger", "logger.mode")
        True
    """
    return key == entry or key.startswith(f"{entry}.")


def role(key: str) -> Role:
    """Return the role of a setting; settings that are not listed belong to the method.

    Example:
        >>> role("loss.alpha").value
        'method'
    """
    return next((listed for entry, listed in ROLES.items() if covers(entry, key)), Role.METHOD)


def is_private(override: str) -> bool:
    """Return True if an override such as "dataset.root=/data" contains a path or an account of the user."""
    _, key, value = split_override(override)
    return role(key) is Role.PRIVATE or key in DIGESTED or LOCAL_PATH.search(value or "") is not None


def public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are stored with a run and compared between runs.

    Args:
        settings: Composed and resolved config of a run, as nested plain values.

    Returns:
        The nested settings without short names; private settings, and other values that are local paths, are None.
    """
    stored = {
        name: _without_paths(value, name)
        for name, value in settings.items()
        if name not in SHORTHANDS and role(name) is not Role.PRIVATE
    }
    if (callbacks := stored.get("callbacks")) and (callbacks.get("early_stopping") or {}).get("patience") is None:
        # Early stopping without a patience is not built, so it must not distinguish two runs.
        stored["callbacks"] = {name: value for name, value in callbacks.items() if name != "early_stopping"}
    return stored


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
    """Yield (key, value) for every value in nested mappings; lists are values.

    Args:
        node: Nested mapping, or a value.
        prefix: Key of `node`.

    Example:
        >>> dict(flatten({"loss": {"alpha": 2.0}, "seed": 0}))
        {'loss.alpha': 2.0, 'seed': 0}
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def select(settings: Mapping[str, Any], *roles: Role) -> dict[str, Any]:
    """Return the settings with one of `roles`, as a flat dict."""
    return {key: value for key, value in flatten(settings) if role(key) in roles}


def method_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that define the method of a run, as a flat dict."""
    return select(settings, Role.METHOD)


def string_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of the method that are strings, or lists that do not consist of numbers, as text.

    Args:
        settings: Stored settings of a run.
    """
    return {
        key: str(value)
        for key, value in method_of(settings).items()
        if isinstance(value, str)
        or (isinstance(value, list) and not all(isinstance(element, int | float) for element in value))
    }


def varying(runs: Sequence[Mapping[str, Any]], *roles: Role) -> list[str]:
    """Return the settings in which runs differ, in the sections that all runs have.

    Args:
        runs: Nested settings of each run.
        *roles: Roles of the settings to compare; by default those of the method.
    """
    flat = _select_common(runs, *(roles or (Role.METHOD,)))
    keys = sorted({key for settings in flat for key in settings})
    return [key for key in keys if len({str(settings.get(key)) for settings in flat}) > 1]


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the method and replicate settings in which two runs differ, in the sections that both have.

    A setting that one of the runs lacks counts as None.
    """
    flat_first, flat_second = _select_common((first, second), Role.METHOD, Role.REPLICATE)
    return [
        key for key in sorted(flat_first.keys() | flat_second.keys()) if flat_first.get(key) != flat_second.get(key)
    ]


def _select_common(runs: Sequence[Mapping[str, Any]], *roles: Role) -> list[dict[str, Any]]:
    """Flat settings with one of `roles`, without sections that one of the runs lacks.

    Earlier versions did not store all sections.
    """
    common = set.intersection(*(set(settings) for settings in runs)) if runs else set()
    return [select({name: settings[name] for name in common}, *roles) for settings in runs]
