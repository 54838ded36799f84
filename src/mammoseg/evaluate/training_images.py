"""Images with which a checkpoint was trained or selected, to find them among the images of a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.fingerprints import hash_array
from mammoseg.data.readers.cells import patient_key
from mammoseg.data.split_result import Indices, read_parts
from mammoseg.data.store import Case, PreparedStore
from mammoseg.errors import UserError
from mammoseg.evaluate.members import Member
from mammoseg.evaluate.tested_dataset import split_class
from mammoseg.pretrained.registry import find_by_digest
from mammoseg.runs.checked_results import read_rows
from mammoseg.runs.dataset_names import DatasetNames, Identity
from mammoseg.runs.seen_images import SEEN, UNSEEN
from mammoseg.runs.settings import DIGESTED
from mammoseg.runs.shared_images import OFFICIAL_SPLIT, find_other_images
from mammoseg.runs.stores import find_training_store

PARTS = ("train", "val", "test")  # in descending order of the effect on results


@dataclass
class TrainingImages:
    """Parts of the images of a run.

    Attributes:
        cases: Part of each image, by dataset and case: train, val or test.
        patients: Part of each patient; if there are several, the first of `PARTS`.
        pixels: Part of each training and validation image, by the hash of its prepared pixels.
        initial: Tested images with which the initial weights of the run were trained.
        note: A sentence on what is not known about the images; empty if everything is.
    """

    cases: dict[Identity, str] = field(default_factory=dict)
    patients: dict[Identity, str] = field(default_factory=dict)
    pixels: dict[str, str] = field(default_factory=dict)
    initial: set[Identity] = field(default_factory=set)
    note: str = ""

    def add(self, case: Identity, patient: Identity, part: str) -> None:
        """Add an image."""
        self.cases[case] = part
        self.patients[patient] = min(part, self.patients.get(patient, part), key=PARTS.index)

    def add_case(self, names: DatasetNames, case: Case, part: str) -> None:
        """Add an image of the dataset `names`."""
        self.add(names.identity(case.case), identity_of_patient(names, case.patient), part)

    def parts(self, names: DatasetNames, store: PreparedStore) -> dict[str, Indices]:
        """Assign the images of a test to the parts of the run.

        An image that was not used, such as one without a mass, is in the part of its patient. If the patient was not
        used either, it is in its official part, provided that the run has the official parts, or otherwise in none.

        Args:
            names: Names of the tested dataset.
            store: Its prepared images.

        Returns:
            Rows of the store by part: train, val and test.
        """
        own = [self.cases.get(names.identity(case.case), "") for case in store.cases]
        official = [case.split for case in store.cases]
        if not all(same_part(part, other) for part, other in zip(own, official, strict=True) if part):
            official = [""] * len(official)
        patients = [identity_of_patient(names, case.patient) for case in store.cases]
        part_of = np.array(
            [
                part or self.patients.get(patient, other)
                for part, patient, other in zip(own, patients, official, strict=True)
            ]
        )
        return {part: np.flatnonzero(part_of == part) for part in PARTS}

    def seen(self, names: DatasetNames, store: PreparedStore) -> list[str]:
        """Determine which images of a test the checkpoint has seen, without those of its initial weights.

        Args:
            names: Names of the tested dataset.
            store: Its prepared images.

        Returns:
            For each image one of `SEEN`: whether it, or otherwise another image of its patient, is in the training or
            the validation part.
        """
        patients = [identity_of_patient(names, case.patient) for case in store.cases]
        parts = [self.cases.get(names.identity(case.case), "") for case in store.cases]
        if self.pixels:
            parts = [
                part if part in SEEN else self.pixels.get(hash_array(image), part)
                for part, image in zip(parts, store.images, strict=True)
            ]
        part_of_patient = {patient: part for patient, part in self.patients.items() if part in SEEN}
        for part in ("val", "train"):  # the same image in another dataset identifies the patient
            seen = {patient for patient, own in zip(patients, parts, strict=True) if own == part}
            part_of_patient |= dict.fromkeys(seen, part)
        others = [part_of_patient.get(patient) for patient in patients]
        by_patient = [f"{other}_patient" if other else UNSEEN for other in others]
        return [part if part in SEEN else other for part, other in zip(parts, by_patient, strict=True)]

    def seen_by_initial_weights(self, names: DatasetNames, store: PreparedStore) -> NDArray[np.bool_]:
        """Return (N,) whether the initial weights were trained with each image of the store of the dataset `names`."""
        return np.array([names.identity(case.case) in self.initial for case in store.cases], bool)


def same_part(part: str, official: str) -> bool:
    """Return whether a part agrees with the official one, of which validation images may be held out."""
    return part == official or (part, official) == ("val", "train")


def identity_of_patient(names: DatasetNames, patient: str) -> Identity:
    """Return the dataset of a patient, and the form of the identifier by which patients are compared."""
    dataset, identifier = names.identity(patient)
    return dataset, patient_key(identifier)


def training_images(member: Member, dataset: Mapping[str, Any], store: PreparedStore) -> TrainingImages:
    """Find the images with which a checkpoint was trained or selected.

    They are those in split.csv of its run, and those of its initial weights. Their prepared pixels are compared with
    those of the test if the run was on other prepared images that still exist. Without the run folder, they are known
    only if the tested dataset is one of those of the training: it is then split again as in the training, if it has the
    same images. With the official split, the parts of other images are those of the dataset.

    Args:
        member: The checkpoint.
        dataset: The section `dataset` of the config of the test.
        store: Its prepared images.

    Raises:
        UserError: If split.csv or results.csv of the run is damaged, or see `images_without_run_folder`.
    """
    images, names = TrainingImages(), DatasetNames.of_config(dataset)
    if member.run is not None and member.split_file is not None:
        for row in read_parts(member.split_file):
            patient = identity_of_patient(member.names, row["patient"])
            images.add(member.names.identity(row["case"]), patient, member.part_of_half(row["part"]))
        prepared = None
        if member.run.results.is_file():
            results = read_rows(member.run.results)
            prepared = find_training_store(member.run, member.names.name, results, member.config["dataset"])
        if prepared is not None and prepared.folder.resolve() != store.folder.resolve():
            images.pixels = pixels_of_run(member, prepared)
        elif prepared is None and names.name not in member.names.all:
            images.note = (
                f"{member.name}: the prepared images of its training no longer exist, so copies of them in "
                f"{names.name} are not recognised."
            )
    elif names.name in member.names.all:
        images = images_without_run_folder(member, dataset, store)
    else:
        images.note = f"{member.name}: its run folder is unknown, so it is not known which images it has seen."
    add_initial_weights(images, member, names, store)
    return images


def add_initial_weights(images: TrainingImages, member: Member, names: DatasetNames, store: PreparedStore) -> None:
    """Add the images with which the initial weights of a run were trained, or a note that they are unknown.

    Args:
        images: Images of the run.
        member: The checkpoint.
        names: Names of the tested dataset.
        store: Its prepared images.
    """
    notes = [images.note] if images.note else []
    for setting in DIGESTED:
        digest = member.config.get(setting)
        model = find_by_digest(digest)
        if model is not None:  # a model of the package, trained on the official split
            trained_on = DatasetNames.of_config(model.config["dataset"])
            shared = [case for case in store.cases if names.identity(case.case)[0] in trained_on.all]
            images.initial |= {names.identity(case.case) for case in shared if case.split in SEEN}
            if not all(case.split for case in shared):
                notes.append(
                    f"{member.name}: its initial weights were trained on {trained_on.name}, but it is not known on "
                    "which of the images without an official part."
                )
        elif digest is not None and setting == "init_from":
            notes.append(f"{member.name}: the images with which its initial weights were trained are unknown.")
    images.note = " ".join(notes)


def images_without_run_folder(member: Member, dataset: Mapping[str, Any], store: PreparedStore) -> TrainingImages:
    """Find the images of a checkpoint outside its run folder in the dataset of its training; see `training_images`.

    Raises:
        UserError: If the training used the official split, and the images have no official part.
    """
    images, names = TrainingImages(), DatasetNames.of_config(dataset)
    official = {case.split for case in store.cases} - {""}
    is_official = split_class(member) == OFFICIAL_SPLIT
    if is_official and not official:
        raise UserError(
            f"{names.name}: images must have an official part (such as column split of cases.csv), since {member.path} "
            "was trained with split=official and its training images are unknown otherwise; add the parts"
        )
    if is_official and (
        find_other_images(member.config["dataset"], dataset, names.name) or not {"train", "test"} <= official
    ):
        for case in store.cases:
            if case.split:
                part = case.split if case.split == "test" or "val" in official else "train"
                images.add_case(names, case, part)
        if "val" not in official:
            images.note = f"{member.name}: its validation images are unknown, so they are counted as training images."
        return images
    for part, rows in member.parts(store.cases).items():
        for row in rows.tolist():
            images.add_case(names, store.cases[row], part)
    return images


def pixels_of_run(member: Member, prepared: PreparedStore) -> dict[str, str]:
    """Return the part of each training and validation image of a run by the hash of its prepared pixels.

    Args:
        member: A checkpoint of the run.
        prepared: Prepared images of the run.
    """
    assert member.split_file is not None
    row_of = {case.case: row for row, case in enumerate(prepared.cases)}
    parts = {row["case"]: member.part_of_half(row["part"]) for row in read_parts(member.split_file)}
    return {hash_array(prepared.images[row_of[case]]): part for case, part in parts.items() if part in SEEN}
