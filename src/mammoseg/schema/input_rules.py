"""Conditions on the inputs of `export` and `evaluate`: a checkpoint, or a dataset and the masks of another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mammoseg.schema.types import as_yaml

# Settings without an effect for the other kind of input, with their defaults.
OF_EXPORTED_NETWORK: dict[str, Any] = {
    "ckpt_path": None,
    "onnx": False,
    "half": False,
    "license": None,
    "data_description": None,
    "evaluations": [],
}
OF_EVALUATED_NETWORK = {"ckpt_path": None, "tta": False, "threshold": None, "native": False}
OF_MASKS = {"name": None, "case_names": None, "seed": 0}


def input_of_export(config: Mapping[str, Any]) -> str | None:
    """Check that a network is exported from a checkpoint, and images for nnU-Net from a dataset."""
    if config["format"] == "nnunet":
        return unused(config, OF_EXPORTED_NETWORK, "format=nnunet") or missing_dataset(config, "format=nnunet")
    if config.get("dataset") is not None:
        return (
            f"format must be nnunet to export the dataset {config['dataset'].get('name')}, got {config['format']}; set "
            "format=nnunet, or remove dataset"
        )
    return missing_checkpoint(config)


def input_of_evaluate(config: Mapping[str, Any]) -> str | None:
    """Check that either checkpoints or masks are evaluated, and that the masks have a name and a dataset."""
    if config["masks"] is None:
        return unused(config, OF_MASKS, "masks=null") or missing_checkpoint(config)
    if config["name"] is None:
        return "name must be the name of the method with masks, such as name=nnU-Net, got null"
    return unused(config, OF_EVALUATED_NETWORK, "masks") or missing_dataset(config, "masks")


def unused(config: Mapping[str, Any], defaults: Mapping[str, Any], reason: str) -> str | None:
    """Check that settings have their defaults, since they have no effect.

    Args:
        config: Config of the command.
        defaults: Defaults of these settings.
        reason: The setting because of which they have no effect, for the message.
    """
    for name, default in defaults.items():
        if config[name] != default:
            return f"{name} must be {as_yaml(default)} with {reason}, got {as_yaml(config[name])}"
    return None


def missing_checkpoint(config: Mapping[str, Any]) -> str | None:
    """Check that a checkpoint is set."""
    return "ckpt_path is required; set it with ckpt_path=..., see --help" if config["ckpt_path"] is None else None


def missing_dataset(config: Mapping[str, Any], reason: str) -> str | None:
    """Check that a dataset is chosen, which `reason` requires."""
    if "_target_" in (config.get("dataset") or {}):
        return None
    return f"dataset is required with {reason}; choose one, such as dataset=inbreast"
