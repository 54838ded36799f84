"""Names of settings, choices and targets of earlier versions, and the errors that name their successors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.errors import UserError
from mammoseg.schema.overrides import split_override

# Old -> new name of a setting on the command line, None if it was removed; "key=value" for a renamed value.
RENAMED_DATASET_SETTINGS: dict[str, str | None] = {
    "dataset.on_bad=error": "dataset.on_error=raise",
    "dataset.on_bad": "dataset.on_error",
    "dataset.remark": "dataset.note",
    "dataset.density_cuts": None,
    "preparation": "preprocessing",
    "preparation@dataset": "preprocessing@dataset",
}
RENAMED_TRAIN_SETTINGS: dict[str, str | None] = {
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
    "loss.terms.unified_focal.input": "loss.terms.unified_focal.prediction_type",
    "loss.terms.ssl.c": "loss.terms.ssl.eps",
    "loss.terms.ssl.share": "loss.terms.ssl.error_threshold",
    "hydra/sweeper=search": "hydra/sweeper=mammoseg_optuna",
    "hydra.sweeper.trials": "hydra.sweeper.n_trials",
    "hydra.sweeper.at_once": "hydra.sweeper.n_jobs",
    "hydra.sweeper.ordered": "hydra.sweeper.monotone",
    # The indices were zero-based, so loss.theta.2 was the weight of ACR 3.
    **{f"{name}.{index}": f"theta.acr{index + 1}" for index in range(4) for name in ("loss.theta", "theta.values")},
}
RENAMED_SETTINGS: dict[str, dict[str, str | None]] = {  # by command
    "train": RENAMED_TRAIN_SETTINGS,
    "prepare": RENAMED_DATASET_SETTINGS,
    "fit_density": RENAMED_DATASET_SETTINGS,
    "evaluate": {
        **{"ckpt": "ckpt_path", "root": "dataset.root", "store": "dataset.store", "trust": "trusted_modules"},
        **{"detection.above": "detection.prob_threshold", "detection.hit": "detection.matching"},
        "detection.iou": "detection.iou_threshold",
    },
    "predict": {"ckpt": "ckpt_path", "out": "output", "flips": "tta", "trust": "trusted_modules"},
    "export": {"ckpt": "ckpt_path", "trust": "trusted_modules"},
    "compare": {"out": "output", "store": "dataset.store", "unit": None},
    "view": {"out": "output", "store": "dataset.store"},
    "sweep_report": {"out": "output"},
    "dashboard": {"out": "output"},
}
# Old -> new config file, as in a defaults list.
RENAMED_CHOICES = {
    "preparation/default": "preprocessing/default",
    "hydra/sweeper/search": "hydra/sweeper/mammoseg_optuna",
}
# Old -> new `_target_` of each class or function that was moved.
RENAMED_TARGETS = {
    "lightning.pytorch.callbacks.EMAWeightAveraging": "mammoseg.callbacks.ema.EMA",
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
    "mammoseg.data.dataset.build_dataset": {"on_bad": "on_error", "remark": "note", "density_cuts": None},
    "mammoseg.callbacks.ema.EMA": {"update_every_n_steps": None},
    "mammoseg.models.au_net.AUNet": {
        "in_channels": None,
        "out_channels": None,
        "checkpointing": "gradient_checkpointing",
    },
    "mammoseg.models.unet.UNet": {"in_channels": None, "out_channels": None},
    "mammoseg.models.arf_net.ARFNet": {"in_channels": None, "out_channels": None, "places": "insert_at"},
    "mammoseg.losses.PerSample": {"input": "prediction_type"},
    "mammoseg.losses.SSL": {"c": "eps", "share": "error_threshold"},
}
# Arguments that were added to a target, with the values that correspond to earlier versions. They must be the defaults
# of the class, which apply to YAML files of users without the argument.
ADDED_ARGUMENTS: dict[str, dict[str, Any]] = {
    "mammoseg.data.dataset.build_dataset": {"negatives": "none"},
    "mammoseg.data.split.PatientKFold": {"assignment": "snake", "test": "half"},
    "mammoseg.data.split.ImageKFold": {"assignment": "snake", "test": "half"},
    "mammoseg.data.split.Official": {"stratify": False},
    "mammoseg.phantom.write.write_inbreast": {"appearance": "simple"},
    "mammoseg.losses.PerSample": {"empty_mask": None},
}
# Settings of `train` whose default has changed, with the earlier default, which runs of earlier versions keep.
CHANGED_DEFAULTS: dict[str, str | None] = {
    "split.assignment": "snake",
    "dataset.source.appearance": "simple",
    "loss.ssim.padding": "valid",
    "loss.terms.ssim.padding": "valid",
    "loss.terms.generalized_dice.empty_mask": None,
}
# Old -> new value of an argument, by its (new) target and new name.
RENAMED_VALUES: dict[tuple[str, str], dict[Any, Any]] = {
    ("mammoseg.data.dataset.build_dataset", "on_error"): {"error": "raise"},
    ("mammoseg.data.dataset.build_dataset", "crop"): {True: "breast", False: "none"},
}

_QUOTES = "\"'"


def earlier_defaults(stored: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a run that have an earlier default, with its value in YAML syntax.

    Args:
        stored: Stored settings of the run, as a flat mapping.

    Example:
        >>> earlier_defaults({"split.assignment": "snake", "seed": 0})
        {'split.assignment': 'snake'}
    """
    return {
        key: "null" if value is None else value
        for key, value in CHANGED_DEFAULTS.items()
        if key in stored and stored[key] == value
    }


def upgrade_override(override: str, renamed: Mapping[str, str | None] = RENAMED_TRAIN_SETTINGS) -> str | None:
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


def check_renamed(argv: Iterable[str], renamed: Mapping[str, str | None]) -> None:
    """Check the command line for settings that were renamed.

    Args:
        argv: Command-line arguments.
        renamed: Old -> new name of settings; None for removed settings.

    Raises:
        UserError: If an argument uses an old name.

    Example:
        >>> check_renamed(["trust=my_package"], {"trust": "trusted_modules"})
        Traceback (most recent call last):
        mammoseg.errors.UserError: trust is now called trusted_modules; write trusted_modules=my_package instead
    """
    for arg in argv:
        if arg.startswith("-") or not ("=" in arg or arg.startswith("~")):
            continue
        upgraded = upgrade_override(arg, renamed)
        if upgraded is not None and upgraded != arg:  # Hydra reports removed settings
            (_, old, old_value), (_, new, new_value) = split_override(arg), split_override(upgraded)
            if old == new:  # only the value was renamed
                old, new = f"{old}={old_value}", f"{new}={new_value}"
            raise UserError(f"{old} is now called {new}; write {upgraded} instead")


def check_renamed_config(cfg: DictConfig, renamed: Mapping[str, str | None]) -> None:
    """Check a composed config for renamed settings, which a user's own YAML files may contain.

    Args:
        cfg: Composed config.
        renamed: Old -> new name of settings; None for removed settings.

    Raises:
        UserError: If the config uses an old name.
    """
    for old, new in renamed.items():
        section, _, key = old.rpartition(".")
        node = OmegaConf.select(cfg, section, throw_on_resolution_failure=False) if section else cfg
        if new is not None and isinstance(node, DictConfig) and key in node:
            raise UserError(f"{old} is now called {new}; rename it in your YAML file")


def check_theta_overrides(overrides: Iterable[str]) -> None:
    """Check that entries of theta are not set together with the vector that replaces them.

    Raises:
        UserError: If they are.

    Example:
        >>> check_theta_overrides(["loss.theta=[1,1,1,1]", "theta.acr3=0.9"])
        Traceback (most recent call last):
        mammoseg.errors.UserError: theta.acr3 has no effect with loss.theta, which replaces it; set one of them
    """
    keys = [split_override(override)[1] for override in overrides if not override.startswith("-")]
    vector = next((key for key in keys if key in ("loss.theta", "theta.values")), None)
    entry = next((key for key in keys if key.startswith("theta.acr")), None)
    if vector and entry:
        raise UserError(f"{entry} has no effect with {vector}, which replaces it; set one of them")


def renamed_target_message(name: str, part: Mapping[str, Any]) -> str | None:
    """Return the error message for a part of an earlier version, or None.

    Args:
        name: Name of the section.
        part: Mapping with a `_target_`.
    """
    target = part["_target_"]
    if target in RENAMED_TARGETS:
        return f"{name}._target_: {target} is now called {RENAMED_TARGETS[target]}; rename it in your YAML file"
    for old, new in RENAMED_ARGUMENTS.get(target, {}).items():
        if old in part:
            successor = f"is now called {name}.{new}; rename it" if new else "was removed; delete it"
            return f"{name}.{old} {successor} in your YAML file"
    return None
