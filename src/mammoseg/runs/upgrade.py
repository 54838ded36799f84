"""Conversion of settings and configs of earlier versions.

Checkpoints and run records store the `_target_` and the arguments of classes, and run folders store the overrides of
the command line. When a class is moved, or an argument or setting is renamed or added, add an entry to
`schema.renamed`; tests/runs/test_old_checkpoints.py fails without it.
"""

from __future__ import annotations

from typing import Any

from mammoseg.schema.renamed import (
    ADDED_ARGUMENTS,
    RENAMED_ARGUMENTS,
    RENAMED_TARGETS,
    RENAMED_TRAIN_SETTINGS,
    RENAMED_VALUES,
)


def upgrade_config(config: Any) -> Any:
    """Convert the stored config of an earlier version: settings, targets, arguments and keys of the scheduler.

    Args:
        config: The config as plain values; anything but a dict or list is returned unchanged.
    """
    config = _upgrade_targets(config)
    if not isinstance(config, dict):
        return config
    config = {RENAMED_TRAIN_SETTINGS[key] if key in _RENAMED_AT_TOP else key: config[key] for key in config}
    scheduler = config.get("scheduler")
    if isinstance(scheduler, dict) and "_target_" in scheduler:  # version 0.1, stepped once per epoch
        return {**config, "scheduler": {"scheduler": scheduler, "interval": "epoch", "monitor": None}}
    return config


_RENAMED_AT_TOP = ("decay_every", "trial")  # not `ckpt_path`: a stored one differs from `resume`


def _upgrade_targets(node: Any) -> Any:
    """Convert targets, arguments and values at any depth."""
    if isinstance(node, list):
        return [_upgrade_targets(value) for value in node]
    if not isinstance(node, dict):
        return node
    upgraded = {key: _upgrade_targets(value) for key, value in node.items()}
    target = upgraded.get("_target_")
    if not isinstance(target, str):
        return upgraded
    upgraded["_target_"] = target = RENAMED_TARGETS.get(target, target)
    new_names = RENAMED_ARGUMENTS.get(target, {})
    renamed = {new_names.get(key, key): value for key, value in upgraded.items()}
    known = {key: _upgrade_value(target, key, value) for key, value in renamed.items() if key is not None}
    return known | {key: value for key, value in ADDED_ARGUMENTS.get(target, {}).items() if key not in known}


def _upgrade_value(target: str, argument: str, value: Any) -> Any:
    new_values = RENAMED_VALUES.get((target, argument), {})
    return new_values.get(value, value) if isinstance(value, str | bool) else value
