"""Settings of each command."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mammoseg.schema.collection_types import ListOf, MappingOf, Section, SectionOrPart
from mammoseg.schema.input_rules import input_of_evaluate, input_of_export
from mammoseg.schema.part_types import (
    APPEARANCE,
    NEGATIVE_FRACTION,
    PART,
    PARTIAL,
    REQUIRED_PART,
    SEED,
    THETA,
    WEIGHT,
    WIDTH,
)
from mammoseg.schema.text_types import FileName, LocalPath
from mammoseg.schema.training_rules import TRAINING_RULES
from mammoseg.schema.types import Boolean, Integer, Number, SettingType, Text, one_of

PUBLISHED_TABLE = Section(
    {
        **dict.fromkeys(("name", "title", "dataset", "source"), Text()),
        "pooled": Boolean(),
        "rows": MappingOf(MappingOf(Number(0, 1000))),
    }
)
PROBABILITY = Number(0, 1, exclusive_minimum=True, exclusive_maximum=True)
OPTIONAL_PROBABILITY = Number(0, 1, exclusive_minimum=True, exclusive_maximum=True, optional=True)
BATCH_SIZE = Integer(1, 65536)
TRUSTED_MODULES = ListOf(Text(), optional=True)
RUNS = LocalPath(several=True)

TRAIN = {
    "width": WIDTH,
    "lr": Number(0, 100),
    "epochs": Integer(1, 1_000_000),
    "lr_decay_epochs": Integer(1, 1_000_000),
    "layer_decay": Number(0, 1, exclusive_minimum=True),
    "seed": SEED,
    "batch_size": BATCH_SIZE,
    "num_workers": Integer(0, 256),
    "threshold": PROBABILITY,
    "channels_last": Boolean(),
    "compile": one_of(None, "default", "reduce-overhead", "max-autotune"),
    "model_selection": one_of("best", "last"),
    "patience": Integer(1, optional=True),
    "resume": LocalPath(optional=True),
    "init_from": LocalPath(optional=True),
    "encoder_weights": LocalPath(optional=True),
    "trusted_modules": TRUSTED_MODULES,
    "find_lr": Boolean(),
    "trial_number": Integer(0, optional=True),
    "dataset": REQUIRED_PART,
    "split": REQUIRED_PART,
    "theta": Section(
        {"acr1": WEIGHT, "acr2": WEIGHT, "acr3": WEIGHT, "acr4": WEIGHT, "values": THETA, "alpha": WEIGHT}
    ),
    "model": REQUIRED_PART,
    "loss": REQUIRED_PART,
    "augment": PART,
    "sampler": PART,
    "optimizer": PARTIAL,
    "scheduler": Section(
        {
            "scheduler": PARTIAL,
            "interval": one_of("epoch", "step"),
            "monitor": Text(optional=True),
            "frequency": Integer(1),
        },
        absent=("frequency",),
        optional=True,
    ),
    "callbacks": Section({}, extra=PART),
    "trainer": REQUIRED_PART,
    "logger": Section(
        {
            "mode": one_of("offline", "online", "disabled"),
            "project": Text(),
            "entity": Text(optional=True),
        },
        extra=PART,
        absent=("mode", "project", "entity"),  # with logger=csv
    ),
}
# What dataset=phantom sets besides the dataset.
SIZES_OF_PHANTOM_RUNS = {name: TRAIN[name] for name in ("width", "lr", "epochs", "lr_decay_epochs")}
SETTINGS: dict[str, Mapping[str, SettingType]] = {
    "train": TRAIN,
    "prepare": {
        **{name: TRAIN[name] for name in ("dataset", "theta", "split")},
        **SIZES_OF_PHANTOM_RUNS,
        "download": Boolean(),
    },
    "fit_density": {
        **{name: TRAIN[name] for name in ("dataset", "theta", "split")},
        **SIZES_OF_PHANTOM_RUNS,
        "output": LocalPath(),
        "cuts_only": Boolean(),
    },
    "evaluate": {
        **{name: TRAIN[name] for name in ("theta", "split")},
        **SIZES_OF_PHANTOM_RUNS,
        "ckpt_path": LocalPath(several=True, optional=True),
        "masks": LocalPath(optional=True),
        "name": FileName(optional=True),
        "case_names": LocalPath(optional=True),
        "seed": SEED,
        "dataset": SectionOrPart({"root": LocalPath(optional=True), "store": LocalPath(optional=True)}),
        "part": one_of("train", "val", "test", "all", None),
        "tta": Boolean(),
        "threshold": OPTIONAL_PROBABILITY,
        "trusted_modules": TRUSTED_MODULES,
        "native": Boolean(),
        "detection": Section(
            {
                "prob_threshold": OPTIONAL_PROBABILITY,
                "matching": one_of("centre", "iou"),
                "iou_threshold": Number(0, 1, exclusive_minimum=True),
            }
        ),
    },
    "predict": {
        "ckpt_path": LocalPath(several=True, optional=True),
        "input": LocalPath(),
        "output": LocalPath(),
        "tta": Boolean(),
        "threshold": OPTIONAL_PROBABILITY,
        "min_area_mm2": Number(0, 1e6),
        "min_area_pixels": Integer(0, optional=True),
        "max_masses": Integer(1, optional=True),
        "max_masses_by": one_of("area", "score"),
        "float_probabilities": Boolean(),
        "structured_report": Boolean(),
        "exams": LocalPath(optional=True),
        "segmentation": one_of("anonymous", "identified", "none"),
        "for_processing": one_of("auto", "include", "skip"),
        "accelerator": one_of("auto", "cpu", "gpu"),
        "batch_size": BATCH_SIZE,
        "workers": Integer(1, 4096, optional=True),
        "trusted_modules": TRUSTED_MODULES,
    },
    "export": {
        **{name: TRAIN[name] for name in ("dataset", "theta", "split")},
        **SIZES_OF_PHANTOM_RUNS,
        "format": one_of("safetensors", "nnunet"),
        "ckpt_path": LocalPath(optional=True),
        "output": LocalPath(),
        "dataset_id": Integer(1, 999),
        "onnx": Boolean(),
        "half": Boolean(),
        "license": Text(optional=True),
        "data_description": Text(optional=True),
        "evaluations": ListOf(LocalPath()),
        "trusted_modules": TRUSTED_MODULES,
    },
    "models": {"name": Text(optional=True), "verify": Boolean()},
    "compare": {
        "runs": RUNS,
        "output": LocalPath(optional=True),
        "paper": one_of("auto", "table1", "table2", "none"),
        "baseline": Text(),
        "primary": one_of("dsc", "area_difference", "sensitivity", "accuracy"),
        "primary_method": Text(optional=True),
        "resamples": Integer(100, 10_000_000),
        "level": PROBABILITY,
        "seed": SEED,
        "per_density": Integer(1, 100),
        "dataset": Section({"store": LocalPath(optional=True)}),
        "names": MappingOf(Text()),
        "published": MappingOf(PUBLISHED_TABLE),
    },
    "sweep_report": {"runs": RUNS, "output": LocalPath(optional=True), "top": Integer(1, 1_000_000)},
    "view": {
        "runs": LocalPath(optional=True, several=True),
        "predictions": LocalPath(optional=True),
        "output": LocalPath(optional=True),
        "open": Boolean(),
        "dataset": Section({"store": LocalPath(optional=True)}),
        "input": LocalPath(optional=True),
    },
    "phantom": {
        "layout": one_of("inbreast", "cbis_ddsm", "cbis_ddsm_tcia_old", "cbis_ddsm_kaggle", "cbis_ddsm_png"),
        "root": LocalPath(),
        "cases": Integer(8, 1_000_000),
        "seed": SEED,
        "height": Integer(128, 8192),
        "appearance": APPEARANCE,
        "negatives": NEGATIVE_FRACTION,
    },
    "dashboard": {
        "project": Text(),
        "entity": Text(optional=True),
        "name": Text(),
        "mode": one_of("offline", "online"),
        "output": LocalPath(),
    },
}


def entity_when_online(config: Mapping[str, Any]) -> str | None:
    """Check that a W&B account is named where one is needed."""
    if config["mode"] == "online" and config["entity"] is None:
        return "entity must be a W&B user or team with mode=online, got null"
    return None


def report_with_segmentation(config: Mapping[str, Any]) -> str | None:
    """Check that the patient attributes of Structured Reports are chosen."""
    if config["structured_report"] and config["segmentation"] == "none":
        return "segmentation must be anonymous or identified with structured_report=true, got none"
    return None


# Settings of each command that only some choices of `dataset` set.
ABSENT: dict[str, Collection[str]] = {
    **dict.fromkeys(("prepare", "fit_density"), SIZES_OF_PHANTOM_RUNS),
    "evaluate": {*SIZES_OF_PHANTOM_RUNS, "theta", "split"},
    "export": {*SIZES_OF_PHANTOM_RUNS, "theta", "split", "dataset"},
}


def command_section(command: str) -> Section:
    """Return the type of the whole config of a command."""
    return Section(SETTINGS[command], absent=ABSENT.get(command, ()))


# Conditions on several settings of a command: config -> error message, or None.
COMMAND_RULES = {
    "train": TRAINING_RULES,
    "predict": (report_with_segmentation,),
    "dashboard": (entity_when_online,),
    "evaluate": (input_of_evaluate,),
    "export": (input_of_export,),
}
