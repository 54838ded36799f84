"""Arguments of the classes and functions that `conf/` names as `_target_`.

An argument that is not listed here is checked against the annotations of its target, see `signatures.py`, so a part of
the user's own needs no entry. An entry is needed where the annotation is not enough: for ranges, and for choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mammoseg.schema.collection_types import ListOf, MappingOf, either
from mammoseg.schema.rules import (
    Rule,
    equal_lengths,
    fold_in_range,
    min_epochs_in_range,
    some_weight,
    validation_happens,
    weights_of_terms,
)
from mammoseg.schema.text_types import FileName, LocalPath
from mammoseg.schema.trainer_arguments import TRAINER
from mammoseg.schema.types import Boolean, Integer, Number, SettingType, Text, one_of

WEIGHT = Number(0, 1e6)
POSITIVE = Number(0, 1e6, exclusive_minimum=True)
UNIT = Number(0, 1)
SEED = Integer(0, 2**32 - 1)
APPEARANCE = one_of("realistic", "simple")
WIDTH = Integer(1, 2048)
THETA = ListOf(WEIGHT, 4, 4)


@dataclass(frozen=True)
class SubPart(SettingType):
    """A nested mapping with a `_target_`.

    Attributes:
        optional: Whether null is valid.
        partial: Whether the target is called later with further arguments, so that `_partial_: true` is required.
    """

    optional: bool = True
    partial: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` has a `_target_`."""
        return self.optional if value is None else isinstance(value, Mapping) and "_target_" in value

    @property
    def description(self) -> str:
        """A mapping with a _target_."""
        return f"a mapping with a _target_{' or null' if self.optional else ''}"


@dataclass(frozen=True)
class Part:
    """Arguments of a target.

    Attributes:
        arguments: Types of the arguments.
        rules: Conditions on several arguments; each returns an error message or None.
        complete: Whether `arguments` contains all arguments, although the target has a `**kwargs`.
    """

    arguments: Mapping[str, SettingType]
    rules: tuple[Rule, ...] = field(default=())
    complete: bool = False


PART = SubPart()
PARTIAL = SubPart(optional=False, partial=True)
REQUIRED_PART = SubPart(optional=False)


SPLIT = {
    "folds": Integer(2, 1000),
    "fold": Integer(0, 999),
    "seed": SEED,
    "assignment": one_of("balanced", "snake"),
    "test": one_of("half", "both"),
}
ADAM: dict[str, SettingType] = {
    "lr": Number(0, 100),
    "betas": ListOf(Number(0, 1, exclusive_maximum=True), 2, 2),
    "eps": Number(0, 1),
    "weight_decay": Number(0, 100),
    "amsgrad": Boolean(),
    "fused": either(Boolean(), one_of(None)),
    "foreach": either(Boolean(), one_of(None)),
}
HYBRID_PIXEL = {"alpha": WEIGHT, "beta": WEIGHT, "dice": PART, "bce": PART}
HYBRID_REGION = {"eta": WEIGHT, "gamma": WEIGHT, "rmi": PART, "ssim": PART}

PARTS: dict[str, Part] = {
    "lightning.Trainer": Part(TRAINER, (validation_happens, min_epochs_in_range)),
    "mammoseg.data.dataset.build_dataset": Part(
        {
            "name": FileName(),
            "root": LocalPath(),
            "reader": PARTIAL,
            "store": LocalPath(),
            "on_error": one_of("raise", "skip"),
            "workers": Integer(1, 4096, optional=True),
            "on_device": Boolean(),
            "density": one_of("given", "estimated"),
            "missing_density": one_of("error", "drop", "estimate", 1, 2, 3, 4),
            "density_model": either(FileName(), one_of(None)),
            "source": SubPart(partial=True),
            "published": MappingOf(Integer(0), optional=True),
            "note": Text(empty=True),
            "size": Integer(16, 8192, multiple_of=16),
            "crop": either(one_of("breast", "film", "none"), Boolean()),
            "aspect": one_of("stretch", "pad"),
            "normalise": one_of("minmax", "percentile", "zscore"),
            "flip": one_of("none", "left", "right"),
        },
        complete=True,
    ),
    "mammoseg.data.readers.cbis_ddsm.read": Part({"tables": LocalPath(optional=True)}),
    "mammoseg.data.readers.inbreast.read": Part({"lesions": ListOf(Text(), 1)}),
    "mammoseg.data.readers.image_folder.read": Part({}),
    "mammoseg.phantom.write.write_inbreast": Part(
        {"cases": Integer(8, 1_000_000), "seed": SEED, "height": Integer(128, 8192), "appearance": APPEARANCE}
    ),
    "mammoseg.data.split.PatientKFold": Part(SPLIT, (fold_in_range,)),
    "mammoseg.data.split.ImageKFold": Part(SPLIT, (fold_in_range,)),
    "mammoseg.data.split.Official": Part(
        {
            "val_share": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True),
            "seed": SEED,
            "stratify": Boolean(),
        }
    ),
    "mammoseg.data.augment.Augmentation": Part({"transforms": ListOf(REQUIRED_PART)}),
    "mammoseg.data.augment_monai.MonaiAugmentation": Part({"transforms": ListOf(REQUIRED_PART)}),
    "mammoseg.models.au_net.AUNet": Part({"width": WIDTH, "gradient_checkpointing": Boolean()}),
    "mammoseg.models.arf_net.ARFNet": Part(
        {
            "width": WIDTH,
            "insert_at": ListOf(one_of("encode", "skip", "decode"), 1),
            "dilations": ListOf(Integer(1, 64), 2),
            "reduction": Integer(1, 4096),
        }
    ),
    "mammoseg.models.unet.UNet": Part({"width": WIDTH}),
    "mammoseg.models.monai_nets.attention_unet": Part(
        {"width": WIDTH, "dropout": Number(0, 1, exclusive_maximum=True)}
    ),
    "mammoseg.models.monai_nets.unet_plus_plus": Part(
        {"width": WIDTH, "norm": either(one_of("batch", "instance", "group", "layer"))}
    ),
    "mammoseg.models.monai_nets.dyn_unet": Part(
        {"width": WIDTH, "norm_name": one_of("instance", "batch", "group"), "res_block": Boolean()}
    ),
    "mammoseg.models.monai_nets.seg_res_net": Part(
        {
            "width": WIDTH,
            "blocks": ListOf(Integer(1, 64), 2, 8),
            "patch_size": Integer(1, 16),
            "deep_supervision": Integer(1, 7),
            "norm": one_of("batch", "instance"),
        }
    ),
    "mammoseg.models.monai_nets.swin_unetr": Part(
        {
            "width": WIDTH,
            "depths": ListOf(Integer(1, 64), 4, 4),
            "num_heads": ListOf(Integer(1, 64), 4, 4),
            "window_size": Integer(2, 64),
        }
    ),
    "mammoseg.losses.BCE": Part({"positive": WEIGHT, "negative": WEIGHT}, (some_weight("positive", "negative"),)),
    "mammoseg.losses.Dice": Part({"factor": POSITIVE, "eps": POSITIVE}),
    "mammoseg.losses.RMI": Part(
        {
            "radius": Integer(1, 15),
            "pool": one_of("max", "avg", None),
            "stride": Integer(1, 64),
            "bce_weight": WEIGHT,
        }
    ),
    "mammoseg.losses.SSIM": Part(
        {
            "window_size": one_of(*range(3, 64, 2)),
            "sigma": POSITIVE,
            "c1": POSITIVE,
            "c2": POSITIVE,
            "padding": one_of("valid", "same"),
        }
    ),
    "mammoseg.losses.SSL": Part(
        {"window_size": one_of(*range(3, 64, 2)), "sigma": POSITIVE, "eps": POSITIVE, "error_threshold": UNIT}
    ),
    "mammoseg.losses.PerSample": Part({"loss": REQUIRED_PART, "prediction_type": one_of("logits", "probability")}),
    "mammoseg.losses.ClippedGradient": Part({"term": REQUIRED_PART, "max_norm": POSITIVE}),
    "mammoseg.losses.Criterion": Part(
        {"terms": MappingOf(REQUIRED_PART), "weights": MappingOf(WEIGHT, optional=True), "priority": PART},
        (weights_of_terms,),
    ),
    "mammoseg.losses.HybridPixel": Part(HYBRID_PIXEL, (some_weight("alpha", "beta"),)),
    "mammoseg.losses.HybridRegion": Part(HYBRID_REGION, (some_weight("eta", "gamma"),)),
    "mammoseg.losses.DensityASP": Part(
        {**HYBRID_PIXEL, **HYBRID_REGION, "theta": THETA, "interpolate": Boolean()},
        (some_weight("alpha", "beta", "eta", "gamma"),),
    ),
    "mammoseg.losses.ASP": Part({**HYBRID_PIXEL, "priority": REQUIRED_PART}, (some_weight("alpha", "beta"),)),
    "mammoseg.losses.ByDensity": Part({"theta": THETA, "terms": ListOf(Text(), 1), "interpolate": Boolean()}),
    "mammoseg.losses.ByRatio": Part(
        {"grouping": one_of("quantile", "cluster"), "table": MappingOf(ListOf(WEIGHT, 1))}, (equal_lengths,)
    ),
    "mammoseg.losses.UncertaintyByRatio": Part(
        {"terms": ListOf(Text(), 2, 2), "max_log_weight": Number(0, 20, exclusive_minimum=True)}
    ),
    "mammoseg.losses.LearnedByRatio": Part(
        {"terms": ListOf(Text(), 2, 2), "span": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True)}
    ),
    "monai.losses.FocalLoss": Part({"gamma": WEIGHT, "alpha": Number(0, 1, optional=True)}),
    "monai.losses.TverskyLoss": Part({"alpha": UNIT, "beta": UNIT}, (some_weight("alpha", "beta"),)),
    "monai.losses.AsymmetricUnifiedFocalLoss": Part({"weight": UNIT, "gamma": UNIT, "delta": UNIT}),
    "torch.optim.Adam": Part(ADAM),
    "torch.optim.AdamW": Part(ADAM),
    "torch.optim.SGD": Part(
        {
            "lr": Number(0, 100),
            "momentum": Number(0, 1),
            "dampening": Number(0, 1),
            "weight_decay": Number(0, 100),
            "nesterov": Boolean(),
            "fused": either(Boolean(), one_of(None)),
            "foreach": either(Boolean(), one_of(None)),
        }
    ),
    "torch.optim.lr_scheduler.StepLR": Part({"step_size": Integer(1), "gamma": Number(0, 1, exclusive_minimum=True)}),
    "torch.optim.lr_scheduler.ReduceLROnPlateau": Part(
        {
            "mode": one_of("min", "max"),
            "factor": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True),
            "patience": Integer(0),
            "threshold": Number(0),
            "cooldown": Integer(0),
            "min_lr": Number(0),
        }
    ),
    "torch.optim.lr_scheduler.OneCycleLR": Part(
        {
            "max_lr": Number(0, 100, exclusive_minimum=True),
            "total_steps": either(Integer(1), one_of("auto")),
            "pct_start": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True),
        }
    ),
    "mammoseg.schedulers.cosine_with_warmup": Part(
        {
            "total_steps": either(Integer(1), one_of("auto")),
            "warmup": Number(0, 1, exclusive_maximum=True),
        }
    ),
    "mammoseg.schedulers.polynomial_with_warmup": Part(
        {
            "total_steps": either(Integer(1), one_of("auto")),
            "power": POSITIVE,
            "warmup": Number(0, 1, exclusive_maximum=True),
        }
    ),
    "mammoseg.schedulers.step_with_warmup": Part(
        {
            "steps_per_epoch": either(Integer(1), one_of("auto")),
            "step_size": Integer(1),
            "gamma": Number(0, 1, exclusive_minimum=True),
            "warmup_epochs": Number(0, 1_000_000),
        }
    ),
    "mammoseg.callbacks.early_stopping.early_stopping": Part(
        {
            "monitor": Text(),
            "mode": one_of("min", "max"),
            "patience": Integer(1, optional=True),
            "min_delta": Number(0),
        }
    ),
    "mammoseg.callbacks.epoch_summary.EpochSummary": Part({}),
    "mammoseg.callbacks.gradient_clipping.GradientClipping": Part(
        {"percentile": Number(0, 100, optional=True), "window": Integer(1, 1_000_000, optional=True)}
    ),
    "mammoseg.callbacks.loss_term_gradients.LossTermGradients": Part({"every_n_steps": Integer(1, 1_000_000)}),
    "lightning.pytorch.callbacks.EMAWeightAveraging": Part(
        {"decay": Number(0, 1, exclusive_maximum=True), "update_every_n_steps": Integer(1)}
    ),
    "lightning.pytorch.callbacks.GradientAccumulationScheduler": Part({"scheduling": MappingOf(Integer(1))}),
    "lightning.pytorch.callbacks.LearningRateMonitor": Part({"logging_interval": one_of("epoch", "step", None)}),
    "mammoseg.loggers.wandb.WandbRunLogger": Part(
        {"mode": one_of("offline", "online", "disabled"), "project": Text(), "entity": Text(optional=True)}
    ),
    "mammoseg.loggers.tensorboard.TensorBoardRunLogger": Part({}),
}
