"""Conversion of settings and configs of earlier versions.

Checkpoints and run records store the `_target_` and the arguments of classes, and run folders store the overrides of
the command line. When a class is moved, or an argument or setting is renamed, add an entry to these tables;
tests/runs/test_old_checkpoints.py fails without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mammoseg.runs.overrides import split_override

# Old -> new name of a setting on the command line, None if it was removed; "key=value" for a renamed value.
RENAMED_DATASET_SETTINGS: dict[str, str | None] = {
    "dataset.on_bad=error": "dataset.on_error=raise",
    "dataset.on_bad": "dataset.on_error",
    "dataset.remark": "dataset.note",
    "preparation": "preprocessing",
    "preparation@dataset": "preprocessing@dataset",
}
RENAMED_SETTINGS: dict[str, str | None] = {
    **RENAMED_DATASET_SETTINGS,
    "ckpt_path": "resume",
    "decay_every": "lr_decay_epochs",
    "trial": "trial_number",
    "model.checkpointing": "model.gradient_checkpointing",
    "model.places": "model.insert_at",
    "model.in_channels": None,
    "model.out_channels": None,
    "scheduler.step_size": "scheduler.scheduler.step_size",
    "scheduler.gamma": "scheduler.scheduler.gamma",
    "loss.terms.ssl.c": "loss.terms.ssl.eps",
    "loss.terms.ssl.share": "loss.terms.ssl.error_threshold",
    "hydra/sweeper=search": "hydra/sweeper=mammoseg_optuna",
    "hydra.sweeper.trials": "hydra.sweeper.n_trials",
    "hydra.sweeper.at_once": "hydra.sweeper.n_jobs",
    "hydra.sweeper.ordered": "hydra.sweeper.monotone",
    # The indices were zero-based, so loss.theta.2 was the weight of ACR 3.
    **{f"loss.theta.{index}": f"theta.acr{index + 1}" for index in range(4)},
}
# Old -> new config file, as in a defaults list.
RENAMED_CHOICES = {
    "preparation/default": "preprocessing/default",
    "hydra/sweeper/search": "hydra/sweeper/mammoseg_optuna",
}
# Old -> new `_target_` of each class or function that was moved.
RENAMED_TARGETS = {
    "mammoseg.data.inbreast.read": "mammoseg.data.readers.inbreast.read",
    "mammoseg.data.cbis_ddsm.read": "mammoseg.data.readers.cbis_ddsm.read",
    "mammoseg.data.folder.read": "mammoseg.data.readers.image_folder.read",
    "mammoseg.data.dataset.Dataset": "mammoseg.data.dataset.build_dataset",
    "mammoseg.models.monai.attention_unet": "mammoseg.models.monai_nets.attention_unet",
    "mammoseg.models.monai.dyn_unet": "mammoseg.models.monai_nets.dyn_unet",
    "mammoseg.models.monai.swin_unetr": "mammoseg.models.monai_nets.swin_unetr",
    "mammoseg.models.monai.unet_plus_plus": "mammoseg.models.monai_nets.unet_plus_plus",
}
# Old -> new name of arguments by (new) target; None if the argument was removed.
RENAMED_ARGUMENTS: dict[str, dict[str, str | None]] = {
    "mammoseg.data.dataset.build_dataset": {"on_bad": "on_error", "remark": "note"},
    "mammoseg.models.au_net.AUNet": {
        "in_channels": None,
        "out_channels": None,
        "checkpointing": "gradient_checkpointing",
    },
    "mammoseg.models.unet.UNet": {"in_channels": None, "out_channels": None},
    "mammoseg.models.arf_net.ARFNet": {"in_channels": None, "out_channels": None, "places": "insert_at"},
    "mammoseg.losses.SSL": {"c": "eps", "share": "error_threshold"},
}
# Old -> new value of an argument, by its (new) target and new name.
RENAMED_VALUES: dict[tuple[str, str], dict[Any, Any]] = {
    ("mammoseg.data.dataset.build_dataset", "on_error"): {"error": "raise"},
}


def upgrade_override(override: str, renamed: Mapping[str, str | None] = RENAMED_SETTINGS) -> str | None:
    """Convert an override of an earlier version.

    Args:
        override: Override in Hydra's grammar, such as "loss.alpha=2" or "++dataset.on_bad=skip".
        renamed: Old -> new name of settings; None for removed settings.

    Returns:
        The override with the new name of the setting, unchanged if it was not renamed; None if the setting was removed.

    Example:
        >>> upgrade_override("++dataset.on_bad=skip")
        '++dataset.on_error=skip'
        >>> upgrade_override("dataset.on_bad=error")
        'dataset.on_error=raise'
    """
    prefix, key, value = split_override(override)
    unquoted = f"{key}={(value or '').strip(_QUOTES)}"
    if value is not None and unquoted in renamed:
        return f"{prefix}{renamed[unquoted]}"
    new_key = renamed.get(key, key)
    if new_key is None:
        return None
    return f"{prefix}{new_key}" if value is None else f"{prefix}{new_key}={value}"


def upgrade_config(config: Any) -> Any:
    """Convert the stored config of an earlier version: settings, targets, arguments and keys of the scheduler.

    Args:
        config: The config as plain values; anything but a dict or list is returned unchanged.
    """
    config = _upgrade_targets(config)
    if not isinstance(config, dict):
        return config
    config = {RENAMED_SETTINGS[key] if key in _RENAMED_AT_TOP else key: config[key] for key in config}
    scheduler = config.get("scheduler")
    if isinstance(scheduler, dict) and "_target_" in scheduler:  # version 0.1, stepped once per epoch
        return {**config, "scheduler": {"scheduler": scheduler, "interval": "epoch", "monitor": None}}
    return config


_QUOTES = "\"'"
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
    return {key: _upgrade_value(target, key, value) for key, value in renamed.items() if key is not None}


def _upgrade_value(target: str, argument: str, value: Any) -> Any:
    new_values = RENAMED_VALUES.get((target, argument), {})
    return new_values.get(value, value) if isinstance(value, str) else value
