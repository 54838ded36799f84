"""Checkpoints that `evaluate` tests: their settings, and the part of the data that each of them has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from mammoseg.build import build_section
from mammoseg.data.negatives import uses_negatives
from mammoseg.data.split_result import HALVES, Indices, Split
from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.exported_model import WEIGHTS_FILE
from mammoseg.runs import checkpoint
from mammoseg.runs.dataset_names import DatasetNames
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import read_record_or_skip
from mammoseg.runs.settings import flatten
from mammoseg.runs.untrusted_config import check_targets
from mammoseg.schema.check import check_section

INSTANTIATED_SECTIONS = ("dataset", "split", "model", "loss")
OTHER_DATASET_SECTIONS = ("model", "loss")  # if the dataset is that of the command line
USED_SETTINGS = ("batch_size", "num_workers", "seed", "threshold", "channels_last")
TRAINER_SETTINGS = ("accelerator", "precision")  # used here; the others, such as max_steps, are only for training


@dataclass(frozen=True)
class Member:
    """A checkpoint, alone or in an ensemble.

    Attributes:
        path: The file.
        loaded: Its content.
        trusted_modules: See `load_checkpoint`.
    """

    path: Path
    loaded: dict[str, Any]
    trusted_modules: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name for messages: that of the file, or of the folder of an exported model."""
        return self.path.parent.name if self.path.name == WEIGHTS_FILE else self.path.name

    @property
    def config(self) -> dict[str, Any]:
        """Config of the run."""
        return checkpoint.config_of(self.loaded)

    @property
    def run_info(self) -> dict[str, Any]:
        """Identity of the run."""
        return checkpoint.run_info_of(self.loaded)

    @property
    def selected_on(self) -> str | None:
        """Half of the held-out fold that selected the checkpoint, see `checkpoint.selected_on`."""
        return checkpoint.selected_on(self.loaded)

    @property
    def names(self) -> DatasetNames:
        """Names of the datasets of the training."""
        return DatasetNames.of_config(self.config["dataset"])

    @property
    def folder(self) -> RunFolder:
        """Folder in which the run folder of the checkpoint is expected."""
        return RunFolder.of_checkpoint(self.path.resolve())

    @cached_property
    def run(self) -> RunFolder | None:
        """Run folder of the checkpoint; None if the file is outside its run folder."""
        record = read_record_or_skip(self.folder)
        return None if record is None or record.run_info != self.run_info else self.folder

    @property
    def split_file(self) -> Path | None:
        """Table with the part of each image; None if the file is not in its run folder."""
        return self.run.split if self.run is not None and self.run.split.is_file() else None

    def parts(self, cases: Sequence[Case]) -> dict[str, Indices]:
        """Split a dataset as in the training.

        Args:
            cases: Images of the dataset.

        Returns:
            Rows of `cases` by part: train, val and test. The validation part contains the images that selected the
            checkpoint; there are none if it is the last one of a run with split.test=both.

        Raises:
            UserError: If the split of the config is not trusted, or its arguments are invalid.
        """
        check_targets(self.config, ("split",), self.path, trusted_modules=self.trusted_modules)
        splitter = build_section(OmegaConf.create(self.config), "split")
        split: Split = splitter(cases, by_mass=uses_negatives(self.config["dataset"].get("negatives", "none")))
        if not split.test_both:
            if self.selected_on is not None:
                raise UserError(
                    f"{self.path}: was selected on {self.selected_on}, but its config does not have split.test=both"
                )
            return split.parts()
        for selection in split.selections():
            if selection.name == self.selected_on:
                return {"train": split.train, "val": selection.val, "test": selection.test}
        both = np.sort(np.concatenate([split.val, split.test]))
        return {"train": split.train, "val": both[:0], "test": both}

    def part_of_half(self, part: str) -> str:
        """Return the role of a part in split.csv for this checkpoint: train, val or test."""
        if part not in HALVES:
            return part
        return "val" if part == self.selected_on else "test"


def load_members(paths: Sequence[Path], trusted_modules: Sequence[str], sections: Sequence[str]) -> list[Member]:
    """Load checkpoints, and check everything in them that the test uses; see `load_checkpoint`.

    Args:
        paths: The checkpoints.
        trusted_modules: Modules whose classes may be instantiated.
        sections: Sections of the configs that will be instantiated.

    Raises:
        UserError: If a checkpoint is invalid, or was selected on another half than its name says.
    """
    if not paths:
        raise UserError("ckpt_path must name at least one checkpoint, got []")
    members = []
    for path in paths:
        loaded = checkpoint.load_checkpoint(path, sections, trusted_modules)
        checkpoint.check_run_info(checkpoint.run_info_of(loaded), path)
        check_settings(checkpoint.config_of(loaded), path)
        check_half(path, checkpoint.selected_on(loaded))
        members.append(Member(path, loaded, trusted_modules))
    return members


def check_half(path: Path, half: str | None) -> None:
    """Check that a best checkpoint of a run with split.test=both was not exchanged with the other one.

    Args:
        path: The checkpoint.
        half: Half of the held-out fold that selected it.

    Raises:
        UserError: If it has the name of the checkpoint that was selected on the other half.
    """
    names = {RunFolder(path.parent).best_checkpoint_of(other).name for other in HALVES if other != half}
    if half is not None and path.name in names:
        raise UserError(
            f"{path}: was selected on {half} of the held-out fold and must not be tested on it; restore the file that "
            "the run wrote"
        )


def check_settings(config: Mapping[str, Any], ckpt_path: Path) -> None:
    """Check the settings of a checkpoint that the test uses; those of its classes have been checked.

    Args:
        config: Config of the checkpoint.
        ckpt_path: The checkpoint, for error messages.

    Raises:
        UserError: If a setting is missing or invalid.
    """
    flat = dict(flatten(config))
    required = (*USED_SETTINGS, "dataset.name", "dataset.size")
    if missing := [name for name in required if name not in flat]:
        raise UserError(f"{ckpt_path}: its config has no {missing[0]}; train one with mammoseg.train")
    if not isinstance(config["dataset"].get("reader"), dict):
        raise UserError(f"{ckpt_path}: its config has no dataset.reader; train one with mammoseg.train")
    for name in USED_SETTINGS:
        check_section(name, config[name])
    check_trainer(config.get("trainer"), ckpt_path)


def check_trainer(trainer: Any, source: Path) -> None:
    """Check the settings of the trainer of a checkpoint that `evaluate` uses.

    Args:
        trainer: The section of the config.
        source: Path of the checkpoint, for error messages.

    Raises:
        UserError: If one of them is missing or invalid.
    """
    if not isinstance(trainer, dict) or not {*TRAINER_SETTINGS} <= trainer.keys():
        raise UserError(f"{source}: its config has no trainer; train one with mammoseg.train")
    used = {name: trainer[name] for name in TRAINER_SETTINGS}
    try:
        check_section("trainer", {"_target_": "lightning.Trainer", **used})
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
