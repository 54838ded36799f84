"""Which images `evaluate` tests, and with which checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.data.split_result import Indices, Selection
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.evaluate.members import Member
from mammoseg.evaluate.tested_dataset import EvaluationOptions
from mammoseg.evaluate.training_images import TrainingImages, training_images
from mammoseg.runs.dataset_names import DatasetNames
from mammoseg.runs.seen_images import SEEN, UNSEEN, worst

log = logging.getLogger(__name__)

ALL = "all"


@dataclass(frozen=True)
class TestPlan:
    """Images of a test, and the checkpoints that predict them.

    Attributes:
        part: Name of the tested part.
        groups: Rows of the store that are predicted by the same checkpoints, by the indices of these checkpoints.
        seen: Whether the checkpoints have seen each of the images, by row; see `seen_images.SEEN`.
        notes: Sentences on what is not known about the images that the checkpoints have seen.
    """

    __test__ = False  # pytest collects classes with this prefix

    part: str
    groups: dict[tuple[int, ...], Indices]
    seen: dict[int, str]
    notes: tuple[str, ...] = ()

    @property
    def selections(self) -> list[Selection]:
        """One selection for each group; its validation part is empty."""
        empty = np.array([], dtype=np.int64)
        return [Selection("", empty, rows) for rows in self.groups.values()]

    @property
    def n_networks(self) -> dict[int, int]:
        """Number of checkpoints that predict each image, by row."""
        return {row: len(members) for members, rows in self.groups.items() for row in rows.tolist()}


def plan_test(
    members: Sequence[Member], datamodule: MammogramDataModule, dataset: Mapping[str, Any], options: EvaluationOptions
) -> TestPlan:
    """Determine which images are tested with which checkpoints.

    A single checkpoint is tested on all images of the part. Of several checkpoints, each image is predicted by those
    that have seen neither it nor another image of its patient; if there are none, by all checkpoints of a single run.

    Args:
        members: The checkpoints.
        datamodule: Dataset and split.
        dataset: The section `dataset` of the config of the test.
        options: See `EvaluationOptions`.

    Raises:
        UserError: If the part is empty, an image has been seen by the checkpoints of several runs, or see `open_store`.
    """
    names = DatasetNames.of_config(dataset)
    store = datamodule.dataset.open_store(require_outlines=options.rule is None)
    is_own = [names.name in member.names.all for member in members]
    training = [known_images(member, dataset, store) for member in members]
    uses_parts = not (options.part == ALL or options.chooses_split)
    own_parts = [
        images.parts(names, store) if own and uses_parts else None for images, own in zip(training, is_own, strict=True)
    ]
    part = options.part or ("test" if any(is_own) else ALL)
    tested = tested_rows(part, own_parts, datamodule, store, options)
    if len(tested) == 0:
        raise UserError(f"part={part}: no image of {names.name} is in this part; set another part, or part=all")
    notes = tuple(images.note for images in training if images.note)
    own = np.array([images.seen(names, store) for images in training])
    initial = np.array([images.seen_by_initial_weights(names, store) for images in training])
    seen = np.where(initial, SEEN[0], own)
    if len(members) == 1:
        return TestPlan(part, {(0,): tested}, {row: str(seen[0, row]) for row in tested.tolist()}, notes)
    may_predict = find_independent(members, own, own_parts, part)
    groups = group_images(members, tested, may_predict, part, store)
    worst_of = {row: worst(seen[list(key), row].tolist()) for key, rows in groups.items() for row in rows.tolist()}
    return TestPlan(part, groups, worst_of, notes)


def find_independent(
    members: Sequence[Member], seen: NDArray[np.str_], own_parts: Sequence[dict[str, Indices] | None], part: str
) -> NDArray[np.bool_]:
    """Determine which images each checkpoint may predict: those of patients who were not in its own training.

    Args:
        members: M checkpoints.
        seen: (M, N) values of `SEEN` without the initial weights, which can be the same for all checkpoints.
        own_parts: As for `tested_rows`.
        part: Name of the tested part.

    Returns:
        (M, N) whether each checkpoint may predict each image.
    """
    may_predict = np.equal(seen, UNSEEN)
    if part == "test" and is_one_run(members):  # its split may have images of a patient in several parts
        for index, parts in enumerate(own_parts):
            if parts is not None:
                may_predict[index] = np.isin(np.arange(seen.shape[1]), parts["test"])
    return may_predict


def group_images(
    members: Sequence[Member], tested: Indices, may_predict: NDArray[np.bool_], part: str, store: PreparedStore
) -> dict[tuple[int, ...], Indices]:
    """Group images by the checkpoints that predict them.

    Args:
        members: M checkpoints.
        tested: Rows of the images to test.
        may_predict: (M, N) whether each checkpoint may predict each image of the store.
        part: Name of the tested part, for error messages.
        store: The prepared images.

    Returns:
        Rows in ascending order by the indices of the checkpoints.

    Raises:
        UserError: If no checkpoint may predict an image, unless all of them are of one run.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in tested.tolist():
        groups.setdefault(tuple(np.flatnonzero(may_predict[:, row]).tolist()), []).append(row)
    if unpredicted := groups.pop((), []):
        if not is_one_run(members):
            raise UserError(
                f"part={part}: each image must be predicted by a network that has seen neither it nor its patient, but "
                f"all {len(members)} checkpoints have seen {len(unpredicted)} of the {len(tested)} images, such as "
                f"{store.cases[unpredicted[0]].case}; set part=test, checkpoints of all folds, or a single checkpoint"
            )
        everyone = tuple(range(len(members)))
        groups[everyone] = sorted([*groups.get(everyone, []), *unpredicted])
    return {key: np.array(groups[key], dtype=np.int64) for key in sorted(groups)}


def is_one_run(members: Sequence[Member]) -> bool:
    """Return whether several checkpoints belong to the same run."""
    return len(members) > 1 and len({member.folder.path for member in members}) == 1


def tested_rows(
    part: str,
    own_parts: Sequence[dict[str, Indices] | None],
    datamodule: MammogramDataModule,
    store: PreparedStore,
    options: EvaluationOptions,
) -> Indices:
    """Return the rows of the part to test, in ascending order.

    Args:
        part: Name of the part.
        own_parts: Parts of the dataset for each checkpoint that was trained on it, otherwise None.
        datamodule: Dataset and split.
        store: The prepared images.
        options: See `EvaluationOptions`.

    Raises:
        UserError: If the part differs between the checkpoints, or the split of the command line has no such part.
    """
    cases = store.cases
    if part == ALL:
        return np.arange(len(cases))
    if known := [parts for parts in own_parts if parts is not None]:
        log_images_without_part(known, len(cases))
        union = np.unique(np.concatenate([parts[part] for parts in known]))
        if part != "test" and any(len(parts[part]) != len(union) for parts in known):
            raise UserError(
                f"part={part} must contain the same images for all checkpoints; set part=test, part=all, or a single "
                "checkpoint"
            )
        return union
    official = np.array([case.split for case in cases])
    if (official != "").any() and not options.chooses_split:
        return np.flatnonzero(official == part)
    split = datamodule.splitter(cases, by_mass=datamodule.dataset.with_negatives)
    if part == "train" or not split.test_both:
        return split.parts()[part]
    if part == "val":
        raise UserError("part=val must not be combined with split.test=both, which tests both halves; set part=test")
    return np.sort(np.concatenate([split.val, split.test]))


def log_images_without_part(own_parts: Sequence[dict[str, Indices]], n_images: int) -> None:
    """Log the number of images that are in no part of any of the runs."""
    n_assigned = len(np.unique(np.concatenate([rows for parts in own_parts for rows in parts.values()])))
    if n_assigned < n_images:
        log.info(
            "%d of the %d images are in no part, since no image of their patients was used in the training; part=all "
            "tests them as well",
            n_images - n_assigned,
            n_images,
        )


def known_images(member: Member, dataset: Mapping[str, Any], store: PreparedStore) -> TrainingImages:
    """Find the images with which a checkpoint was trained or selected; see `training_images`.

    Raises:
        UserError: If the dataset has the name of that of the training, but none of its images.
    """
    names = DatasetNames.of_config(dataset)
    images = training_images(member, dataset, store)
    is_known = any(names.identity(case.case) in images.cases for case in store.cases)
    if names.name in member.names.all and not is_known:
        raise UserError(
            f"dataset.name={names.name} is the name of the dataset of {member.path}, but none of its images was used "
            f"in the training; set another name, such as dataset.name={names.name}2"
        )
    return images
