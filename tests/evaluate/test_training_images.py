"""Parts of the images of the training when other images of its dataset are tested."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammoseg.data.split import PatientKFold
from mammoseg.data.store import Case, PreparedStore
from mammoseg.errors import UserError
from mammoseg.evaluate import tested_dataset
from mammoseg.evaluate.members import Member
from mammoseg.evaluate.tested_dataset import check_known_split
from mammoseg.evaluate.training_images import TrainingImages, identity_of_patient, training_images
from mammoseg.pretrained.registry import default_model
from mammoseg.runs.checkpoint import PROVENANCE_KEY
from mammoseg.runs.dataset_names import DatasetNames
from mammoseg.runs.shared_images import OFFICIAL_SPLIT

NAMES = DatasetNames("clinic")
VALIDATION_UNKNOWN = "model.ckpt: its validation images are unknown, so they are counted as training images."


def make_case(index: int, patient: int, density: int = 1, split: str = "") -> Case:
    placeholders: dict[str, Any] = {field.name: 9 for field in fields(Case)}
    own = {"case": f"c{index}", "patient": f"P{patient}", "density": density, "split": split}
    return Case(**placeholders | own)


def store_of(cases: list[Case]) -> PreparedStore:
    images, masks = np.zeros((len(cases), 1, 1), np.float32), np.zeros((len(cases), 1, 1), np.uint8)
    return PreparedStore(Path("store"), images, masks, masks, cases, {})


def images_of(parts: dict[str, list[Case]]) -> TrainingImages:
    images = TrainingImages()
    for part, cases in parts.items():
        for case in cases:
            images.add(NAMES.identity(case.case), identity_of_patient(NAMES, case.patient), part)
    return images


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(0, 1))
def test_no_selection_of_images_moves_training_images_to_the_test_part(seed: int, fold: int) -> None:
    """The images of the test are another selection of those of the same patients and of others."""
    rng = np.random.default_rng(seed)
    every = [make_case(i, int(rng.integers(24)), int(rng.integers(1, 5))) for i in range(60)]
    used, tested = ([case for case in every if rng.random() < 0.7] for _ in range(2))
    split = PatientKFold(folds=2, fold=fold).split(used)
    training = images_of({part: [used[row] for row in rows] for part, rows in split.parts().items()})
    parts = training.parts(NAMES, store_of(tested))
    seen = training.seen(NAMES, store_of(tested))
    roles = {"train": {"train", "train_patient"}, "val": {"val", "val_patient"}, "test": {"no"}}
    for part, rows in parts.items():
        assert {seen[row] for row in rows} <= roles[part]
    assert sum(map(len, parts.values())) == sum(case.patient in {own.patient for own in used} for case in tested)


@pytest.mark.parametrize(("kept", "expected"), [(True, {"train": [0, 4], "val": [1], "test": [2, 3]}), (False, None)])
def test_images_of_other_patients_are_in_their_official_part_if_the_run_has_these_parts(
    kept: bool, expected: dict[str, list[int]] | None
) -> None:
    cases = [make_case(i, i, split=part) for i, part in enumerate(["train", "train", "test", "test", "train"])]
    parts = {"train": [cases[0]], "val": [cases[1]], "test": [cases[2]]} if kept else {"test": cases[:1]}
    found = images_of(parts).parts(NAMES, store_of(cases))
    assert {part: rows.tolist() for part, rows in found.items()} == (expected or {"train": [], "val": [], "test": [0]})


def member_of(dataset: dict[str, Any], split: str = "mammoseg.data.split.PatientKFold") -> Member:
    """A checkpoint without its run folder."""
    config = {"dataset": dataset, "split": {"_target_": split}}
    return Member(Path("lost/model.ckpt"), {PROVENANCE_KEY: {"config": config, "run_info": {}}})


INBREAST = {"name": "inbreast", "negatives": "all", "reader": {"_target_": "inbreast.read", "lesions": ["mass"]}}
UNION = {"name": "union", "negatives": "all", "reader": {"sources": {"inbreast": {"reader": INBREAST["reader"]}}}}
BY_SOURCE = "mammoseg.data.split_by_source.BySource"


@pytest.mark.parametrize(
    ("member", "changes"),
    [
        (member_of(INBREAST), {}),
        (member_of({**INBREAST, "name": "other"}), {"negatives": "none"}),
        (member_of({key: value for key, value in INBREAST.items() if key != "negatives"}), {"negatives": "none"}),
        (member_of(UNION, BY_SOURCE), {}),
        (member_of(INBREAST, OFFICIAL_SPLIT), {"negatives": "none", "reader": {"_target_": "image_folder.read"}}),
    ],
)
def test_without_the_run_folder_the_same_images_can_be_tested(member: Member, changes: dict[str, Any]) -> None:
    check_known_split(member, {**INBREAST, **changes})


@pytest.mark.parametrize(
    ("member", "changes", "message"),
    [
        (member_of(INBREAST), {"negatives": "none"}, "dataset.negatives must be all, as in the training of"),
        (member_of(INBREAST), {"missing_density": "drop"}, "dataset.missing_density must be error"),
        (member_of(INBREAST), {"reader": {"lesions": ["calcification"]}}, "dataset.reader.lesions must be"),
        (member_of(UNION, BY_SOURCE), {"negatives": "none"}, "dataset.negatives must be all"),
        (member_of({**UNION, "negatives": 0.5}, BY_SOURCE), {"negatives": 0.5}, "a part of union"),
        (member_of(UNION), {}, "a part of union"),
    ],
)
def test_without_the_run_folder_other_images_are_rejected(
    member: Member, changes: dict[str, Any], message: str
) -> None:
    """The split of the training cannot be repeated on them, so their training images would be tested as unseen."""
    with pytest.raises(UserError, match=message):
        check_known_split(member, {**INBREAST, **changes})


@pytest.mark.parametrize(
    ("official", "expected", "note"),
    [
        (["train", "train", "test", ""], {"train": [0, 1], "val": [], "test": [2]}, VALIDATION_UNKNOWN),
        (["train", "val", "test", ""], {"train": [0], "val": [1], "test": [2]}, ""),
    ],
)
def test_official_parts_are_known_without_the_run_folder_for_another_reader(
    official: list[str], expected: dict[str, list[int]], note: str
) -> None:
    """A pretrained model was trained on a copy of the dataset in another format, which names the images differently."""
    member = member_of(INBREAST, OFFICIAL_SPLIT)
    cases = [make_case(i, i, split=part) for i, part in enumerate(official)]
    dataset = {**INBREAST, "reader": {"_target_": "image_folder.read"}}
    images = training_images(member, dataset, store_of(cases))
    names = DatasetNames("inbreast")
    parts = images.parts(names, store_of(cases))
    assert {part: rows.tolist() for part, rows in parts.items()} == expected
    assert images.seen(names, store_of(cases)) == ["train", "val" if expected["val"] else "train", "no", "no"]
    assert images.note == note


def test_official_parts_are_required_without_the_run_folder() -> None:
    with pytest.raises(UserError, match="images must have an official part"):
        training_images(member_of(INBREAST, OFFICIAL_SPLIT), INBREAST, store_of([make_case(0, 0)]))


def test_only_the_official_test_images_suffice() -> None:
    cases = [make_case(0, 0, split="test"), make_case(1, 1, split="test")]
    images = training_images(member_of(INBREAST, OFFICIAL_SPLIT), INBREAST, store_of(cases))
    assert images.seen(DatasetNames("inbreast"), store_of(cases)) == ["no", "no"]


@pytest.mark.parametrize(
    ("dataset", "prefix", "seen"),
    [
        ({**INBREAST, "name": "cbis_ddsm"}, "", [True, True, False, False]),
        ({**INBREAST, "name": "clinic"}, "", [False] * 4),
        ({"name": "union", "reader": {"sources": {"cbis_ddsm": {}}}}, "cbis_ddsm-", [True, True, False, False]),
    ],
)
@pytest.mark.parametrize("setting", ["init_from", "encoder_weights"])
def test_training_images_of_a_pretrained_model_are_seen_by_a_network_that_was_fine_tuned_from_it(
    dataset: dict[str, Any], prefix: str, seen: list[bool], setting: str
) -> None:
    member = member_of({**INBREAST, "name": "other"})
    member.config[setting] = default_model("init_from").metadata["sha256"]
    cases = [make_case(i, i, split=part) for i, part in enumerate(["train", "val", "test", ""])]
    store = store_of([replace(case, case=f"{prefix}{case.case}") for case in cases])
    images = training_images(member, dataset, store)
    assert images.seen_by_initial_weights(DatasetNames.of_config(dataset), store).tolist() == seen
    assert ("images without an official part" in images.note) == (True in seen)


def test_unknown_initial_weights_are_noted() -> None:
    member = member_of({**INBREAST, "name": "other"})
    member.config["init_from"] = "0" * 64
    images = training_images(member, INBREAST, store_of([make_case(0, 0)]))
    assert images.note.endswith("the images with which its initial weights were trained are unknown.")


def test_checkpoints_of_an_ensemble_without_run_folders_need_the_same_images() -> None:
    prepared = {"size": 64, "crop": "breast", "aspect": "stretch", "normalise": "minmax", "flip": "none"}
    members = [member_of({**INBREAST, **prepared, "negatives": negatives}) for negatives in ("all", "none")]
    with pytest.raises(UserError, match="negatives"):
        tested_dataset.tested_config(members, tested_dataset.EvaluationOptions())
