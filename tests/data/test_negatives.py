"""Images without a mass: which ones are selected, prepared, and how they are split."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.data.dataset import build_dataset
from mammoseg.data.negatives import select_patients, validate_negatives
from mammoseg.data.readers import image_folder
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.split import ASSIGNMENTS, ImageKFold, Official, PatientKFold, Split, Splitter
from mammoseg.data.store import Case, PreparedStore
from mammoseg.errors import UserError
from mammoseg.prepare.data_report import report_rows, summarise_store


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.floats(0.01, 1), st.integers(0, 2**31))
def test_the_selected_patients_depend_on_the_fraction_but_not_on_the_order(
    numbers: list[int], fraction: float, seed: int
) -> None:
    patients = [f"p{number}" for number in numbers]
    selected = select_patients(patients, fraction)
    shuffled = patients.copy()
    random.Random(seed).shuffle(shuffled)
    assert select_patients(shuffled, fraction) == selected
    assert selected <= select_patients(patients, min(1, fraction + 0.1)), "a larger fraction adds patients"
    n_images = Counter(patients)
    n_selected = sum(n_images[patient] for patient in selected)
    assert abs(n_selected - fraction * len(patients)) <= max(n_images.values()), "to within one patient"
    assert select_patients(patients, 1.0) == set(patients)


def test_the_selection_is_the_same_on_every_machine() -> None:
    assert select_patients([f"p{n}" for n in range(8)], 0.5) == {"p0", "p2", "p3", "p7"}, "the smallest SHA-256 hashes"


@pytest.mark.parametrize("value", ["some", 0, 1.5, -0.1, True, None])
def test_an_invalid_setting_is_an_error(value: object) -> None:
    with pytest.raises(UserError, match=r"dataset\.negatives must be none, all or a fraction above 0 and up to 1, got"):
        validate_negatives(value, image_folder.read)


def test_a_reader_without_the_argument_supports_none_only() -> None:
    def read(root: Path, rejected: RejectedCases) -> list[Mammogram]:
        raise AssertionError("not called")

    assert validate_negatives("none", read) == "none"
    with pytest.raises(
        UserError, match=r"dataset\.negatives must be none with a reader that has no argument negatives"
    ):
        build_dataset("d", "data", read, negatives="all")


def write_folder(root: Path, masks: list[int | None]) -> Path:
    """Two images of each patient; each mask has a number of pixels per side, 0 for an empty one or None for no file."""
    root.mkdir()
    rows = [["case", "image", "mask", "patient", "density", "split"]]
    y, x = np.mgrid[:60, :40]
    for n, side in enumerate(masks):
        image = np.where((y - 30) ** 2 + x**2 < 26**2, 9000 + 100 * n + 20 * x, 0).astype(np.uint16)
        cv2.imwrite(str(root / f"{n}.png"), image)
        if side is not None:
            mask = np.zeros((60, 40), np.uint8)
            mask[25 : 25 + side, 5 : 5 + side] = 255
            cv2.imwrite(str(root / f"{n}-mask.png"), mask)
        name = "" if side is None else f"{n}-mask.png"
        rows.append(
            [f"case{n}", f"{n}.png", name, f"p{n // 2}", str(n // 2 % 4 + 1), "test" if n % 10 > 7 else "train"]
        )
    with (root / "cases.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    return root


def open_store(root: Path, **options: Any) -> PreparedStore:
    options = {"size": 32, "workers": 1, "store": str(root.parent / "store"), **options}
    return build_dataset("d", str(root), image_folder.read, **options).open_store()


def test_a_store_contains_the_selected_images_without_a_mass(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", [8, 0, 6, None, None, None, 0, None])
    every = open_store(root, negatives="all")
    assert every.has_mass.tolist() == [True, False, True, False, False, False, False, False]
    assert [case.masses for case in every.cases] == [1, 0, 1, 0, 0, 0, 0, 0]
    assert not every.masks[~every.has_mass].any()
    assert open_store(root, negatives=1.0).folder == every.folder
    half = open_store(root, negatives=0.5)
    negatives = [case.patient for case in half.cases if not case.has_mass]
    assert set(negatives) == select_patients(["p0", "p1", "p2", "p2", "p3", "p3"], 0.5)
    assert [case.case for case in half.cases if case.has_mass] == ["case0", "case2"]
    assert half.about["negatives"] == 0.5
    with pytest.raises(UserError, match="column mask is blank"):
        open_store(root)
    assert [case.case for case in open_store(root, on_error="skip").cases] == ["case0", "case1", "case2", "case6"]


def test_the_report_counts_images_with_and_without_a_mass(tmp_path: Path) -> None:
    store = open_store(write_folder(tmp_path / "data", [8, 6, None]), negatives="all", published={"images": 2})
    report = summarise_store(store)
    assert report["counts"]["images"] == 3
    assert (report["counts"]["images with a mass"], report["counts"]["images without a mass"]) == (2, 1)
    assert report["published"]["images"] == {"published": 2, "here": 2, "difference": 0}
    assert ("images without a mass", "1 (case2)") in report_rows(report)
    fractions = [100 * (side / 60) * (side / 40) for side in (6, 8)]
    assert report["mass_percent_of_full_image"]["min"] == pytest.approx(fractions[0], abs=1e-4)


@pytest.mark.parametrize(
    ("masks", "negatives", "message"),
    [
        (
            [8, 6],
            "all",
            r"dataset\.negatives must be none if all images have a mass, got all; add images without a mass$",
        ),
        ([0, 0], "none", "at least one mask must contain a mass, got 2 empty masks"),
    ],
)
def test_a_dataset_of_one_kind_is_an_error(
    masks: list[int | None], negatives: str, message: str, tmp_path: Path
) -> None:
    root = write_folder(tmp_path / "data", masks)
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            open_store(root, negatives=negatives)


def test_normal_images_can_be_prepared_for_a_test_but_not_used_for_training(tmp_path: Path) -> None:
    """Specificity is measured on such a dataset."""
    store = open_store(write_folder(tmp_path / "data", [None, 0, None, 0, None, 0]), negatives="all")
    assert not store.has_mass.any()
    assert ("mass, % of the full image", "–") in report_rows(summarise_store(store))
    with pytest.raises(UserError, match="train part must contain an image with a mass"):
        PatientKFold(folds=2)(store.cases, by_mass=True)


def case(index: int, patient: str, density: int, has_mass: bool, split: str = "") -> Case:
    placeholders: dict[str, Any] = {field.name: 9 for field in fields(Case)}
    values = {"case": f"c{index}", "patient": patient, "density": density, "mass_pixels": 5 * has_mass, "split": split}
    values |= {"mass_locations": ""}
    return Case(**(placeholders | values))


def random_cases(n_patients: int, seed: int = 0) -> list[Case]:
    """One to four images per patient; about a third of the images have a mass, as in INbreast."""
    rng = np.random.default_rng(seed)
    patient_of = np.repeat(np.arange(n_patients), rng.integers(1, 5, n_patients))
    density = rng.choice([1, 2, 3, 4], n_patients, p=[0.4, 0.3, 0.2, 0.1])
    has_mass = rng.random(len(patient_of)) < 0.35
    return [
        case(n, f"p{p}", int(density[p]), bool(has_mass[n]), "test" if p % 4 == 0 else "train")
        for n, p in enumerate(patient_of.tolist())
    ]


SPLITTERS: list[Splitter] = [
    *(
        splitter(fold=2, assignment=assignment, test=test)
        for splitter in (PatientKFold, ImageKFold)
        for assignment in ASSIGNMENTS
        for test in ("half", "both")
    ),
    Official(),
    Official(stratify=True),
]


@settings(max_examples=4)
@given(st.integers(0, 2**31))
def test_each_image_is_in_one_part_and_each_patient_too(seed: int) -> None:
    cases = random_cases(24, seed)
    n_with_mass = len({c.patient for c in cases if c.has_mass})
    for splitter in SPLITTERS:
        is_balanced = getattr(splitter, "assignment", "") == "balanced"
        try:
            split = splitter(cases, by_mass=True)
        except UserError:  # a part without a mass
            if is_balanced and n_with_mass >= 10:  # one for each half of the folds
                raise
            continue
        assert sorted(np.concatenate(list(split.parts().values())).tolist()) == list(range(len(cases)))
        if not splitter.allows_patient_overlap:
            parts = [{cases[row].patient for row in rows.tolist()} for rows in split.parts().values()]
            assert sum(map(len, parts)) == len(set.union(*parts))


def mass_share(cases: list[Case], rows: np.ndarray) -> float:
    return float(np.mean([cases[row].has_mass for row in rows.tolist()]))


@pytest.mark.parametrize("splitter", [PatientKFold(assignment="balanced"), Official(stratify=True)])
def test_the_share_of_images_with_a_mass_is_that_of_all_images(splitter: Splitter) -> None:
    cases = random_cases(120)
    official = [n for n, c in enumerate(cases) if isinstance(splitter, PatientKFold) or c.split == "train"]
    expected = mass_share(cases, np.array(official))
    shares = {}
    for by_mass in (True, False):
        split = splitter(cases, by_mass=by_mass)
        shares[by_mass] = [mass_share(cases, split.val), mass_share(cases, split.train)]
    assert shares[True] == pytest.approx([expected] * 2, abs=0.04), "to within one image"
    assert abs(shares[False][0] - expected) > 0.08, "the density alone does not balance the masses"


def test_snake_folds_deal_patients_with_and_without_a_mass_separately() -> None:
    cases = [case(n, f"p{n}", 1, n % 2 == 0) for n in range(40)]
    for fold in range(5):
        split = PatientKFold(fold=fold, assignment="snake")(cases, by_mass=True)
        assert mass_share(cases, np.concatenate([split.val, split.test])) == 0.5


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_part_without_a_mass_that_needs_one_is_an_error(part: str) -> None:
    class Fixed(Splitter):
        def split(self, cases: Any) -> Split:
            rows = {"train": [0, 1], "val": [2], "test": [3]}
            return Split(np.array(rows["train"]), np.array(rows["val"]), np.array(rows["test"]))

    masses = {"train": [False, False, True, False], "val": [True, False, False, False]}[part]
    cases = [case(n, f"p{n}", 1, has_mass) for n, has_mass in enumerate(masses)]
    with pytest.raises(UserError, match=f"the {part} part must contain an image with a mass, got . images without one"):
        Fixed()(cases)


def test_splits_of_datasets_without_negatives_are_unchanged() -> None:
    """The hash is that of the splits before images without a mass were supported."""
    rng = np.random.default_rng(0)
    patient_of = np.repeat(np.arange(40), rng.integers(1, 5, 40)).tolist()
    density = rng.choice([1, 2, 3, 4], 40, p=[0.4, 0.3, 0.2, 0.1])
    cases = [
        case(n, f"p{p}", int(density[p]), True, "test" if p % 5 == 0 else "train") for n, p in enumerate(patient_of)
    ]
    splitters = [
        splitter(fold=fold, seed=1, assignment=assignment, test=test)
        for splitter in (PatientKFold, ImageKFold)
        for assignment in ("balanced", "snake")
        for test in ("half", "both")
        for fold in (0, 3)
    ]
    parts = [
        [rows.tolist() for rows in splitter(cases).parts().values()]
        for splitter in (*splitters, *(Official(seed=1, stratify=stratify) for stratify in (False, True)))
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    assert digest == "9127baae9c8b43a00107cae80b7d45bb82c1fa9e884f24ab71945c8c9a8030a2"


def test_masks_do_not_change_the_split_unless_negatives_are_requested() -> None:
    cases = random_cases(60)
    all_with_mass = [replace(c, mass_pixels=5) for c in cases]
    for splitter in SPLITTERS:
        first, second = (splitter(given).parts().values() for given in (cases, all_with_mass))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_data_module_stratifies_by_mass_and_fits_losses_to_the_masses(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", [8, None, 6, 0] * 10)
    options: dict[str, Any] = {"size": 32, "workers": 1, "store": str(tmp_path / "store"), "negatives": "all"}
    splitter = PatientKFold(folds=2, assignment="balanced")
    module = MammogramDataModule(build_dataset("d", str(root), image_folder.read, **options), splitter)
    module.setup()
    assert splitter.by_mass
    assert {part: module.store.has_mass[rows].mean() for part, rows in module.split.parts().items()} == pytest.approx(
        {"train": 0.5, "val": 0.5, "test": 0.5}
    )
    fractions = module.train_mass_fractions()
    assert len(fractions) == 10
    assert (fractions > 0).all()
    batch = next(iter(module.train_dataloader()))
    has_mass = module.store.has_mass[batch["case"].numpy()]
    assert batch["mask"].flatten(1).any(dim=1).tolist() == has_mass.tolist()
