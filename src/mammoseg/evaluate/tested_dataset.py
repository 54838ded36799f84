"""Dataset that `evaluate` tests: that of the training, or the one of the command line with the same preprocessing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.data.preprocessing.preprocessing_settings import crop_name
from mammoseg.ensemble import common_preprocessing
from mammoseg.errors import UserError
from mammoseg.evaluate.members import Member
from mammoseg.metrics.detection import MatchingRule
from mammoseg.runs.settings import flatten
from mammoseg.runs.shared_images import OFFICIAL_SPLIT, SPLIT_OF_UNIONS, find_other_images, settings_of_images

# Defaults are those of the training; another dataset may need others, and the input of the network does not depend on
# them.
DEFAULTS_OF_TRAINING = ("missing_density", "density_model")


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of `mammoseg.evaluate`, as in conf/evaluate.yaml.

    Attributes:
        dataset: The section `dataset`: with a `_target_` if a dataset was chosen, otherwise only root and store.
        split: The section `split`; None without a choice of `dataset`.
        overridden: Names of the settings on the command line.
        part: Part to test: train, val, test or all; None for the default.
        tta: Whether to use test-time augmentation.
        threshold: Probability above which a pixel is mass; None uses the threshold of the checkpoints.
        rule: Definition of a detection. If set, the images are evaluated at native resolution as well, and native.csv,
            candidates.csv and froc.png are written.
        trusted_modules: See `load_checkpoint`.
    """

    dataset: Mapping[str, Any] = field(default_factory=lambda: {"root": None, "store": None})
    split: Mapping[str, Any] | None = None
    overridden: Collection[str] = ()
    part: str | None = None
    tta: bool = False
    threshold: float | None = None
    rule: MatchingRule | None = None
    trusted_modules: Sequence[str] = ()

    @property
    def chooses_dataset(self) -> bool:
        """Whether a dataset was chosen on the command line."""
        return "_target_" in self.dataset

    @property
    def chooses_split(self) -> bool:
        """Whether the split was set on the command line."""
        return any(key == "split" or key.startswith("split.") for key in self.overridden)


def tested_config(members: Sequence[Member], options: EvaluationOptions) -> DictConfig:
    """Return the config of the test, of which the dataset and the split may be those of the command line.

    Args:
        members: The checkpoints.
        options: See `EvaluationOptions`.

    Raises:
        UserError: If the checkpoints differ in preprocessing, or in the dataset if none was chosen, or if a setting of
            the command line contradicts the preprocessing of the checkpoints.
    """
    config = members[0].config
    settings = common_preprocessing([member.config for member in members], [member.path for member in members])
    if not options.chooses_dataset:
        check_same_dataset(members)
        for member in members:
            check_known_split(member, config["dataset"])
        return OmegaConf.create(config)
    for member in members[1:]:
        if (density := member.config["dataset"].get("density")) != config["dataset"].get("density"):
            raise UserError(
                f"ckpt_path: {member.path} was trained with dataset.density={density}, {members[0].path} with "
                f"{config['dataset'].get('density')}; the checkpoints of an ensemble must have the same"
            )
    dataset = dict(options.dataset)
    fixed = {**asdict(settings), "density": config["dataset"].get("density", "given")}
    for name, value in fixed.items():
        if f"dataset.{name}" in options.overridden and crop_name(dataset[name]) != value:
            raise UserError(
                f"dataset.{name} must be {value}, as in the training of {members[0].path}, got {dataset[name]}; remove "
                f"dataset.{name} from the command line"
            )
    for name in DEFAULTS_OF_TRAINING:
        if f"dataset.{name}" not in options.overridden and name in config["dataset"]:
            fixed[name] = config["dataset"][name]
    dataset |= fixed
    for member in members:
        check_known_split(member, dataset)
    return OmegaConf.create({**config, "dataset": dataset, "split": dict(options.split or {})})


def check_known_split(member: Member, dataset: Mapping[str, Any]) -> None:
    """Check that the images of the training are known if the dataset is one of those of the training.

    Without split.csv of the run, the dataset is split again as in the training, which requires the same images. With
    the official split, the test part is known for any images.

    Args:
        member: A checkpoint.
        dataset: The section `dataset` of the config of the test.

    Raises:
        UserError: If they are not.
    """
    name = str(dataset["name"])
    if name not in member.names.all or member.split_file is not None:
        return
    splitter = split_class(member)
    own = member.config["dataset"]
    if name != member.names.name and (splitter != SPLIT_OF_UNIONS or isinstance(own.get("negatives"), float)):
        raise UserError(
            f"{member.path}: must be in its run folder to be tested on {name}, a part of {member.names.name}, "
            "since its training images are unknown without split.csv; use the run folder"
        )
    if splitter != OFFICIAL_SPLIT and (key := find_other_images(own, dataset, name)):
        expected, got = (settings_of_images(section, name)[key] for section in (own, dataset))
        raise UserError(
            f"dataset.{key} must be {expected}, as in the training of {member.path}, got {got}, since the "
            "training images are unknown without split.csv of the run; change it, or use the run folder"
        )


def split_class(member: Member) -> str | None:
    """Return the class of the split of the training."""
    return dict(flatten(member.config)).get("split._target_")


def check_same_dataset(members: Sequence[Member]) -> None:
    """Check that all checkpoints were trained on the same dataset.

    Raises:
        UserError: If they were not.
    """
    trained = list(dict.fromkeys(member.names for member in members))
    if len(trained) > 1:
        listed = ", ".join(names.name for names in trained)
        raise UserError(
            f"dataset must be set for checkpoints that were trained on different datasets ({listed}); choose one, such "
            f"as dataset={trained[0].name}"
        )


def dataset_section(cfg: DictConfig) -> dict[str, Any]:
    """Return the section `dataset` of a config."""
    dataset: Any = OmegaConf.to_container(cfg.dataset)
    return dict(dataset)
