"""Images with which a checkpoint was trained or selected, to find them among the images of a test."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from mammoseg.data.preprocessing.fingerprints import hash_array
from mammoseg.data.readers.cells import patient_key
from mammoseg.data.split_result import read_parts
from mammoseg.data.store import PreparedStore
from mammoseg.evaluate.dataset_names import DatasetNames, Identity
from mammoseg.evaluate.members import Member
from mammoseg.runs.discovery import read_rows
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.seen_images import SEEN, UNSEEN
from mammoseg.runs.stores import find_store

log = logging.getLogger(__name__)


@dataclass
class TrainingImages:
    """Parts of the images of a run.

    Attributes:
        cases: Part of each image, by dataset and case: train, val or test.
        patients: Part of each patient of the training and validation images; train if it is in both.
        pixels: Part of each training and validation image, by the hash of its prepared pixels.
    """

    cases: dict[Identity, str] = field(default_factory=dict)
    patients: dict[Identity, str] = field(default_factory=dict)
    pixels: dict[str, str] = field(default_factory=dict)

    def add(self, case: Identity, patient: Identity, part: str) -> None:
        """Add an image."""
        self.cases[case] = part
        if part in ("train", "val") and self.patients.get(patient) != "train":
            self.patients[patient] = part

    def seen(self, names: DatasetNames, store: PreparedStore) -> list[str]:
        """Determine which images of a test the checkpoint has seen.

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
        part_of_patient = dict(self.patients)
        for part in ("val", "train"):  # the same image in another dataset identifies the patient
            seen = {patient for patient, own in zip(patients, parts, strict=True) if own == part}
            part_of_patient |= dict.fromkeys(seen, part)
        others = [part_of_patient.get(patient) for patient in patients]
        by_patient = [f"{other}_patient" if other else UNSEEN for other in others]
        return [part if part in SEEN else other for part, other in zip(parts, by_patient, strict=True)]


def identity_of_patient(names: DatasetNames, patient: str) -> Identity:
    """Return the dataset of a patient, and the form of the identifier by which patients are compared."""
    dataset, identifier = names.identity(patient)
    return dataset, patient_key(identifier)


def training_images(member: Member, names: DatasetNames, store: PreparedStore) -> TrainingImages:
    """Find the images with which a checkpoint was trained or selected.

    They are those in split.csv of its run. Their prepared pixels are compared with those of the test if the run was on
    other prepared images that still exist. Without the run folder, they are known only if the tested dataset is one of
    those of the training: it is then split again as in the training.

    Args:
        member: The checkpoint.
        names: Names of the tested dataset.
        store: Its prepared images.

    Raises:
        UserError: If split.csv or results.csv of the run is damaged.
    """
    images = TrainingImages()
    if member.run is not None and member.run.split.is_file():
        for row in read_parts(member.run.split):
            patient = identity_of_patient(member.names, row["patient"])
            images.add(member.names.identity(row["case"]), patient, member.part_of_half(row["part"]))
        images.pixels = pixels_of_run(member, member.run, names, store)
    elif names.name in member.names.all:
        for part, rows in member.parts(store.cases).items():
            for case in (store.cases[row] for row in rows.tolist()):
                images.add(names.identity(case.case), identity_of_patient(names, case.patient), part)
    else:
        log.warning("%s: its run folder is unknown, so it is not known which images it has seen", member.path.name)
    return images


def pixels_of_run(member: Member, run: RunFolder, names: DatasetNames, tested: PreparedStore) -> dict[str, str]:
    """Return the part of each training and validation image of a run by the hash of its prepared pixels.

    Args:
        member: The checkpoint.
        run: Its run folder.
        names: Names of the tested dataset.
        tested: Its prepared images.

    Returns:
        Parts by hash; empty if the run was on the same prepared images, or on some that no longer exist.
    """
    store = None
    if run.results.is_file():
        store = find_store([run.data_paths().store], member.names.name, read_rows(run.results))
    if store is None and names.name not in member.names.all:
        log.warning(
            "%s: the prepared images of its training no longer exist, so copies of them in %s are not recognised",
            member.path.name,
            names.name,
        )
    if store is None or store.folder.resolve() == tested.folder.resolve():
        return {}
    row_of = {case.case: row for row, case in enumerate(store.cases)}
    parts = {row["case"]: member.part_of_half(row["part"]) for row in read_parts(run.split)}
    return {
        hash_array(store.images[row_of[case]]): part for case, part in parts.items() if part in SEEN and case in row_of
    }
