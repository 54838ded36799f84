"""Stored configurations of earlier versions, brought to the layout of this one.

Checkpoints and run records store the path and the arguments of every class they were made with. Whoever moves or
renames one adds a line here; tests/runs/test_old_checkpoints.py fails without it.
"""

from __future__ import annotations

from typing import Any

# Old -> new name of settings of `train` on the command line; None for those that were removed.
RENAMED_SETTINGS: dict[str, str | None] = {
    "model.checkpointing": "model.gradient_checkpointing",
    "model.in_channels": None,
    "model.out_channels": None,
    "scheduler.step_size": "scheduler.scheduler.step_size",
    "scheduler.gamma": "scheduler.scheduler.gamma",
    "ckpt_path": None,
}
# Old -> new path of every `_target_` that has moved. Checkpoints of earlier versions store the old one.
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
# Arguments of a (renamed) target that have another name now, or were removed (None).
RENAMED_ARGUMENTS: dict[str, dict[str, str | None]] = {
    "mammoseg.models.au_net.AUNet": {
        "in_channels": None,
        "out_channels": None,
        "checkpointing": "gradient_checkpointing",
    },
    "mammoseg.models.unet.UNet": {"in_channels": None, "out_channels": None},
    "mammoseg.models.arf_net.ARFNet": {"in_channels": None, "out_channels": None},
    "mammoseg.losses.SSL": {"c": "eps", "share": "error_threshold"},
}


def upgrade_override(override: str) -> str | None:
    """An override of the command line with the setting's name of this version, None if the setting was removed."""
    key, equals, value = override.partition("=")
    prefix, name = key[: len(key) - len(key.lstrip("+~"))], key.lstrip("+~")
    if name not in RENAMED_SETTINGS:
        return override
    renamed = RENAMED_SETTINGS[name]
    return None if renamed is None else f"{prefix}{renamed}{equals}{value}"


def upgrade_config(config: Any) -> Any:
    """Bring a stored config to the layout of this version: targets, arguments, and how a scheduler is described."""
    config = _upgrade_targets(config)
    scheduler = config.get("scheduler") if isinstance(config, dict) else None
    if isinstance(scheduler, dict) and "_target_" in scheduler:  # version 0.1: stepped once an epoch
        return {**config, "scheduler": {"scheduler": scheduler, "interval": "epoch", "monitor": None}}
    return config


def _upgrade_targets(node: Any) -> Any:
    """A stored config with the targets and arguments of this version; see `RENAMED_TARGETS`, `RENAMED_ARGUMENTS`."""
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
    return {key: value for key, value in renamed.items() if key is not None}
