"""Conditions on several settings of `train`: config -> error message, or None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mammoseg.nested_config import nested_mappings

# Parts that map intensities from [0, 1] to another range, clip them to it, or raise them to a power -> their names.
UNIT_RANGE_PARTS = {
    "mammoseg.models.efficientnet_unet.EfficientNetUNet": "model=efficientnet_unet",
    **{
        f"albumentations.{name}": f"albumentations.{name}"
        for name in ("RandomGamma", "RandomBrightnessContrast", "GaussNoise")
    },
}


def size_of_network(config: Mapping[str, Any]) -> str | None:
    """Check that images have a size that the network can downsample."""
    model, size = config["model"], config["dataset"].get("size", 256)
    network, factor, formula = str(model.get("_target_")).rpartition(".")[2], 1, ""
    if network == "swin_unetr":
        factor = 32
    elif network == "seg_res_net":
        factor = model.get("patch_size", 2) * 2 ** (len(model.get("blocks", (1, 2, 2, 4))) - 1)
        formula = " (model.patch_size * 2^(number of model.blocks - 1))"
    if size % factor == 0:
        return None
    return f"dataset.size must be a multiple of {factor}{formula} with model={network}, got {size}"


def precision_of_cpu(config: Mapping[str, Any]) -> str | None:
    """Check that a CPU is not to train in 16-mixed precision, which Lightning would replace by bf16-mixed."""
    trainer = config["trainer"]
    if trainer.get("accelerator") != "cpu" or trainer.get("precision") != "16-mixed":
        return None
    return "trainer.precision must be 32-true or bf16-mixed with trainer.accelerator=cpu, got 16-mixed"


def one_kind_of_clipping(config: Mapping[str, Any]) -> str | None:
    """Check that gradients are not clipped both at a fixed norm and at a percentile of the norms."""
    percentile = (config["callbacks"].get("gradient_clipping") or {}).get("percentile")
    fixed = config["trainer"].get("gradient_clip_val")
    if percentile is None or not fixed:
        return None
    return (
        f"trainer.gradient_clip_val must be null with callbacks.gradient_clipping.percentile={percentile}, got {fixed}"
    )


def one_source_of_weights(config: Mapping[str, Any]) -> str | None:
    """Check that the initial weights of the encoder have one source."""
    if config["init_from"] is None or config["encoder_weights"] is None:
        return None
    return (
        f"encoder_weights must be null with init_from, which loads all weights of the network, got "
        f"{config['encoder_weights']}"
    )


def interval_of_automatic_steps(config: Mapping[str, Any]) -> str | None:
    """Check that a schedule over the optimizer steps of the run is stepped after each of them."""
    section = config["scheduler"] or {}
    if section.get("scheduler", {}).get("total_steps") != "auto" or section["interval"] == "step":
        return None
    return f"scheduler.interval must be step with scheduler.scheduler.total_steps=auto, got {section['interval']}"


def patience_has_effect(config: Mapping[str, Any]) -> str | None:
    """Check that `patience` is not set without a callback that uses it."""
    if config["patience"] is None or any("patience" in (callback or {}) for callback in config["callbacks"].values()):
        return None
    return (
        f"patience must be null without callbacks.early_stopping, which uses it, got {config['patience']}; add "
        "callbacks=early_stopping or callbacks=default"
    )


def range_of_intensities(config: Mapping[str, Any]) -> str | None:
    """Check that intensities are between 0 and 1 if the network or a transform of albumentations requires it."""
    if config["dataset"].get("normalise") != "zscore":
        return None
    targets = [str(part.get("_target_")) for part in (config["model"], *nested_mappings(config["augment"]))]
    name = next((UNIT_RANGE_PARTS[target] for target in targets if target in UNIT_RANGE_PARTS), None)
    if name is None:
        return None
    return (
        f"dataset.normalise must be minmax or percentile with {name}, which requires intensities between 0 and 1, got "
        "zscore"
    )


TRAINING_RULES = (
    *(size_of_network, precision_of_cpu, one_kind_of_clipping, one_source_of_weights),
    *(interval_of_automatic_steps, patience_has_effect, range_of_intensities),
)
