"""Splits: no patient leakage, each case in one part, and the proportions of the paper."""

from __future__ import annotations

import csv
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mammoseg.data.split import ASSIGNMENTS, ImageKFold, Official, PatientKFold, Split, Splitter
from mammoseg.data.store import Case
from mammoseg.errors import UserError


def case(index: int, patient: str, density: int, split: str = "") -> Case:
    placeholders: dict[str, Any] = {field.name: 9 for field in fields(Case)}
    values: dict[str, Any] = {"case": f"c{index}", "patient": patient, "density": density, "side": "L", "view": "CC"}
    return Case(**(placeholders | values | {"split": split, "masses": 1}))


@st.composite
def tables(draw: st.DrawFn) -> list[Case]:
    """12 to 40 patients with one to four images and one density each, in random order."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=12, max_size=40))
    densities = draw(st.lists(st.integers(1, 4), min_size=len(sizes), max_size=len(sizes)))
    patients = [f"p{patient}" for patient, size in enumerate(sizes) for _ in range(size)]
    order = draw(st.permutations(range(len(patients))))
    return [case(n, patients[index], densities[int(patients[index][1:])]) for n, index in enumerate(order)]


@st.composite
def groupings(draw: st.DrawFn) -> list[Case]:
    """1 to 60 images with arbitrary patients and densities; each patient is in one official part."""
    patients = draw(st.lists(st.integers(0, 30), min_size=1, max_size=60))
    densities = draw(st.lists(st.integers(1, 4), min_size=len(patients), max_size=len(patients)))
    return [
        case(n, f"p{patient}", density, "test" if patient % 3 == 0 else "train")
        for n, (patient, density) in enumerate(zip(patients, densities, strict=True))
    ]


def patients_in(cases: list[Case], rows: np.ndarray) -> set[str]:
    return {cases[row].patient for row in rows.tolist()}


@settings(max_examples=60)
@given(groupings(), st.integers(2, 10), st.integers(0, 9), st.integers(0, 2**31))
def test_no_patient_is_in_two_parts(cases: list[Case], folds: int, fold: int, seed: int) -> None:
    """For any seed, number of folds and grouping of images into patients that does not raise UserError."""
    k_folds = [
        PatientKFold(folds=folds, fold=fold % folds, seed=seed, assignment=assignment) for assignment in ASSIGNMENTS
    ]
    for splitter in (*k_folds, Official(seed=seed), Official(seed=seed, stratify=True)):
        try:
            split = splitter(cases)
        except UserError:
            continue
        parts = [patients_in(cases, rows) for rows in split.parts().values()]
        assert all(parts)
        assert sum(map(len, parts)) == len(patients_in(cases, np.arange(len(cases))))
        assert sorted(np.concatenate(list(split.parts().values())).tolist()) == list(range(len(cases)))


@settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much])
@given(groupings(), st.integers(2, 6), st.integers(0, 2**31), st.sampled_from(ASSIGNMENTS))
def test_two_patients_per_fold_are_enough_for_non_empty_parts(
    cases: list[Case], folds: int, seed: int, assignment: str
) -> None:
    assume(len(patients_in(cases, np.arange(len(cases)))) >= 2 * folds)
    for fold in range(folds):
        split = PatientKFold(folds=folds, fold=fold, seed=seed, assignment=assignment)(cases)
        assert all(len(rows) for rows in split.parts().values())


@settings(max_examples=15)
@given(tables(), st.integers(0, 99), st.sampled_from([PatientKFold, ImageKFold]), st.sampled_from(ASSIGNMENTS))
def test_the_folds_test_each_case_once_if_both_halves_are_tested(
    cases: list[Case], seed: int, splitter_class: type[PatientKFold], assignment: str
) -> None:
    tested: list[int] = []
    for fold in range(5):
        split = splitter_class(fold=fold, seed=seed, assignment=assignment, test="both")(cases)
        all_rows = np.concatenate(list(split.parts().values()))
        assert sorted(all_rows.tolist()) == list(range(len(cases)))
        for selection in split.selections():
            assert not {*selection.val.tolist()} & {*selection.test.tolist()}
            tested += selection.test.tolist()
    assert sorted(tested) == list(range(len(cases)))


def random_cases(patients: int = 200) -> list[Case]:
    rng = np.random.default_rng(0)
    patient_of = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    density = rng.choice([1, 2, 3, 4], patients, p=[0.4, 0.3, 0.2, 0.1])
    return [case(n, f"p{p}", int(density[p])) for n, p in enumerate(patient_of)]


def test_folds_are_80_10_10_and_stratified_by_density() -> None:
    cases = random_cases()
    split = PatientKFold(assignment="balanced")(cases)
    fractions = [len(rows) / len(cases) for rows in split.parts().values()]
    assert fractions == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    density = np.array([c.density for c in cases])
    for category in (1, 2, 3, 4):
        proportion = (density == category).mean()
        for rows in split.parts().values():
            assert (density[rows] == category).mean() == pytest.approx(proportion, abs=0.01)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_the_split_depends_only_on_the_seed(assignment: str) -> None:
    cases = random_cases(60)
    first, same, other = (PatientKFold(seed=seed, assignment=assignment)(cases).test for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_the_order_of_the_cases_does_not_matter() -> None:
    cases = random_cases(60)
    tested = [
        {given[row].case for row in PatientKFold(assignment="balanced")(given).test.tolist()}
        for given in (cases, cases[::-1])
    ]
    assert tested[0] == tested[1]


def test_runs_of_earlier_versions_keep_their_split() -> None:
    """The test part of fold 0 in version 0.2; a checkpoint without `assignment` is evaluated on it."""
    cases = random_cases(20)
    split = PatientKFold()(cases)
    assert [cases[row].patient for row in split.test.tolist()] == ["p1", "p1", "p1", "p4", "p4"]
    assert not split.test_both


def test_image_folds_warn_about_patient_leakage(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ImageKFold()(random_cases(60))
    assert "patients have images in more than one part" in caplog.text
    caplog.clear()
    ImageKFold()([case(n, f"p{n}", n % 4 + 1) for n in range(60)])
    assert not caplog.text


def official_cases(shared: bool = False, val: bool = False) -> list[Case]:
    parts = ["train"] * 40 + (["val"] * 5 if val else []) + ["test"] * 10
    return [
        case(n, "p0" if shared and part == "test" else f"p{n // 2 * 2}{part}" if not shared else f"p{n}", 1, part)
        for n, part in enumerate(parts)
    ]


def test_official_parts_are_kept_and_a_tenth_of_the_patients_is_held_out() -> None:
    cases = official_cases()
    split = Official()(cases)
    assert split.test.tolist() == list(range(40, 50))
    assert sorted([*split.train.tolist(), *split.val.tolist()]) == list(range(40))
    assert len(patients_in(cases, split.val)) == 2, "of 20 training patients"
    assert not patients_in(cases, split.train) & patients_in(cases, split.val)


def test_an_official_validation_part_is_kept() -> None:
    assert Official()(official_cases(val=True)).val.tolist() == list(range(40, 45))


def test_images_without_an_official_part_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    cases = [*official_cases(), case(50, "x", 1, ""), case(51, "y", 1, "")]
    split = Official()(cases)
    assert sum(len(rows) for rows in split.parts().values()) == 50
    assert "2 of 52 images have no part in the dataset's split column and are not used" in caplog.text


def test_an_official_split_with_overlapping_patients_is_an_error() -> None:
    with pytest.raises(UserError, match="more than one part"):
        Official()(official_cases(shared=True))


@pytest.mark.parametrize(
    ("splitter", "cases", "message"),
    [
        (lambda: PatientKFold(fold=5), random_cases(9), r"split\.fold must be between 0 and 4 .* got 5"),
        (lambda: PatientKFold(fold=-1), random_cases(9), "got -1"),
        (lambda: PatientKFold(folds=1), random_cases(9), r"split\.folds must be .* at least 2, got 1"),
        (PatientKFold, random_cases(4), "4 patient"),
        (ImageKFold, [case(n, f"p{n}", 1) for n in range(3)], "3 image"),
        (Official, random_cases(9), r"split=official .* got 0 train, 0 val, 0 test and 18 without a part"),
        (Official, [case(n, f"p{n}", 1, "test") for n in range(3)], r"got 0 train, .* add the train images"),
        (lambda: PatientKFold(folds=2), random_cases(1), r"too few for 2 parts; use more cases$"),
        (
            lambda: PatientKFold(folds=3),
            random_cases(2),
            r"too few for 3 parts; use more cases or a smaller split\.folds",
        ),
        (lambda: Official(val_share=1.5), random_cases(9), r"split\.val_share must be .* got 1\.5"),
        (lambda: PatientKFold(assignment="even"), random_cases(9), r"split\.assignment must be one of balanced, snake"),
        (lambda: PatientKFold(test="all"), random_cases(9), r"split\.test must be one of half, both, got all"),
        (lambda: PatientKFold(assignment="balanced"), random_cases(4), "4 patient"),
        (lambda: PatientKFold(assignment="balanced"), random_cases(5), "part is empty"),
    ],
)
def test_an_impossible_split_is_an_error(splitter: type[Splitter], cases: list[Case], message: str) -> None:
    with pytest.raises(UserError, match=message):
        splitter()(cases)


@pytest.mark.parametrize(("test", "parts"), [("half", ["train", "val", "test"]), ("both", ["train", "half1", "half2"])])
def test_split_csv_lists_the_cases_of_each_part(test: str, parts: list[str], tmp_path: Path) -> None:
    cases = random_cases(20)
    split = PatientKFold(test=test)(cases)
    split.write(tmp_path / "split.csv", cases)
    with (tmp_path / "split.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert list(split.parts()) == parts
    for part, indices in split.parts().items():
        assert [row["case"] for row in rows if row["part"] == part] == [cases[n].case for n in indices.tolist()]


@pytest.fixture(scope="module")
def cbis_ddsm() -> list[Case]:
    """The images of the real CBIS-DDSM."""
    table = Path(__file__).resolve().parents[3] / "shared" / "data" / "cbis_ddsm_256" / "cases.csv"
    if not table.is_file():
        pytest.skip("the real CBIS-DDSM images are not available")
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    return [case(n, row["patient"], int(row["density"]), row["split"]) for n, row in enumerate(rows)]


def test_the_official_split_of_cbis_ddsm_has_the_published_sizes(cbis_ddsm: list[Case]) -> None:
    split: Split = Official()(cbis_ddsm)
    assert len(split.train) + len(split.val) == 1231
    assert len(split.test) == 361
    assert len(patients_in(cbis_ddsm, split.val)) == 69, "a tenth of 691 patients"


def largest_difference(cases: list[Case], split: Split) -> float:
    """Largest difference between the shares of a density in the validation and the training part."""
    density = np.array([c.density for c in cases])
    shares = [np.bincount(density[rows], minlength=5)[1:] / len(rows) for rows in (split.val, split.train)]
    return float(np.abs(shares[0] - shares[1]).max())


def test_the_validation_part_of_cbis_ddsm_can_be_stratified(cbis_ddsm: list[Case]) -> None:
    """Drawn at random, as in the paper, a share differs from that in the training part by up to 15 points."""
    for seed in range(5):
        split = Official(seed=seed, stratify=True)(cbis_ddsm)
        assert largest_difference(cbis_ddsm, split) < 0.005
        assert len(split.val) == pytest.approx(123, abs=1), "a tenth of 1231 images"
        assert np.array_equal(split.test, Official()(cbis_ddsm).test)
    assert max(largest_difference(cbis_ddsm, Official(seed=seed)(cbis_ddsm)) for seed in range(50)) > 0.08


@settings(max_examples=20)
@given(groupings(), st.floats(0.05, 0.5), st.integers(0, 2**31))
def test_a_stratified_validation_part_has_each_density_that_two_training_patients_have(
    cases: list[Case], share: float, seed: int
) -> None:
    """If each patient has one density."""
    density_of = {c.patient: c.density for c in cases}
    cases = [case(n, c.patient, density_of[c.patient], c.split) for n, c in enumerate(cases)]
    try:
        split = Official(val_share=share, seed=seed, stratify=True)(cases)
    except UserError:
        assume(False)
    official = [n for n, c in enumerate(cases) if c.split == "train"]
    for category in {cases[row].density for row in official}:
        patients = {cases[row].patient for row in official if cases[row].density == category}
        for rows in (split.train, split.val):
            assert len(patients) < 2 or category in {cases[row].density for row in rows.tolist()}
