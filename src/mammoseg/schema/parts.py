"""Arguments of the classes and functions that `conf/` names as `_target_`.

An argument that is not listed here is checked against the annotations of its target, see `signatures.py`, so a part of
the user's own needs no entry. An entry is needed where the annotation is not enough: for ranges, and for choices.
"""

from __future__ import annotations

from mammoseg.schema.collection_types import ListOf, MappingOf, Section, either
from mammoseg.schema.part_types import (
    APPEARANCE,
    NEGATIVE_FRACTION,
    PART,
    PARTIAL,
    POSITIVE,
    REQUIRED_PART,
    SEED,
    THETA,
    UNIT,
    WEIGHT,
    WIDTH,
    Part,
    SubPart,
)
from mammoseg.schema.rules import (
    cpu_has_no_indices,
    equal_lengths,
    fold_in_range,
    min_epochs_in_range,
    some_weight,
    validation_happens,
    weights_of_terms,
)
from mammoseg.schema.text_types import FileName, LocalPath
from mammoseg.schema.trainer_arguments import TRAINER
from mammoseg.schema.training_parts import TRAINING_PARTS
from mammoseg.schema.types import Boolean, Integer, Number, Text, one_of

SPLIT = {
    "folds": Integer(2, 1000),
    "fold": Integer(0, 999),
    "seed": SEED,
    "assignment": one_of("balanced", "snake"),
    "test": one_of("half", "both"),
}
OFFICIAL = {
    "val_share": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True),
    "seed": SEED,
    "stratify": Boolean(),
}
SOURCE = Section({"folder": FileName(), "reader": PARTIAL})  # of a union of datasets
HYBRID_PIXEL = {"alpha": WEIGHT, "beta": WEIGHT, "dice": PART, "bce": PART}
HYBRID_REGION = {"eta": WEIGHT, "gamma": WEIGHT, "rmi": PART, "ssim": PART}

PARTS: dict[str, Part] = {
    "lightning.Trainer": Part(TRAINER, (validation_happens, min_epochs_in_range, cpu_has_no_indices)),
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
            "negatives": either(one_of("none", "all"), Number(0, 1, exclusive_minimum=True)),
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
    "mammoseg.data.readers.mini_mias.read": Part(
        {
            "lesions": ListOf(one_of("circ", "spic", "misc", "calc", "arch", "asym"), 1),
            "tissue_density": Section(dict.fromkeys(("fatty", "glandular", "dense"), Integer(1, 4))),
        }
    ),
    **{f"mammoseg.data.readers.{name}.read": Part({}) for name in ("vindr_mammo", "cdd_cesm", "tompei_cmmd")},
    "mammoseg.data.readers.union.read": Part({"sources": MappingOf(SOURCE)}),
    "mammoseg.phantom.write.write_inbreast": Part(
        {
            "cases": Integer(8, 1_000_000),
            "seed": SEED,
            "height": Integer(128, 8192),
            "appearance": APPEARANCE,
            "negatives": NEGATIVE_FRACTION,
        }
    ),
    "mammoseg.data.split.PatientKFold": Part(SPLIT, (fold_in_range,)),
    "mammoseg.data.split.ImageKFold": Part(SPLIT, (fold_in_range,)),
    "mammoseg.data.split.Official": Part(OFFICIAL),
    "mammoseg.data.split_by_source.BySource": Part(
        {**OFFICIAL, **{name: SPLIT[name] for name in ("folds", "fold", "assignment")}}, (fold_in_range,)
    ),
    "mammoseg.data.samplers.NegativeFraction": Part(
        {"fraction": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True)}
    ),
    "mammoseg.data.samplers.FewImages": Part({"images": Integer(1, 1_000_000)}),
    "mammoseg.data.samplers.BalancedDensity": Part({}),
    "mammoseg.data.samplers.BalancedMassSize": Part({"groups": Integer(2, 100)}),
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
    "mammoseg.models.resnet_unet.ResNetUNet": Part({"width": WIDTH, "depth": one_of(18, 34, 50)}),
    "mammoseg.models.efficientnet_unet.EfficientNetUNet": Part({"width": WIDTH, "deep_supervision": Integer(1, 4)}),
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
    "mammoseg.losses.PerSample": Part(
        {"loss": REQUIRED_PART, "prediction_type": one_of("logits", "probability"), "empty_mask": PART}
    ),
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
    **TRAINING_PARTS,
}
