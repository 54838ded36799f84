"""Splits of a union of datasets: no patient in two parts, official parts kept, each dataset as by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammoseg.data.split import Official, PatientKFold
from mammoseg.data.split_by_source import BySource
from mammoseg.data.split_result import Split
from mammoseg.data.store import Case
from mammoseg.errors import UserError

FOLDS = 2


def case(source: str, patient: int, image: int, density: int, part: str) -> Case:
    placeholders: dict[str, Any] = {field.name: 9 for field in fields(Case)}
    names = {"case": f"{source}-{patient}-{image}", "patient": f"{source}-P{patient}", "side": "L", "view": "CC"}
    return Case(**(placeholders | names | {"density": density, "split": part, "source": source}))


@st.composite
def unions(draw: st.DrawFn) -> list[Case]:
    """One to three datasets of 6 to 14 patients with the same numbers, with or without official parts, interleaved."""
    cases = []
    for source in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)):
        n_patients = draw(st.integers(6, 14))
        has_parts = draw(st.booleans())
        parts = ["train", "train", "train", "test"] + [draw(st.sampled_from(["train", "val", "test"]))] * n_patients
        for patient in range(n_patients):
            density = draw(st.integers(1, 4))
            part = parts[patient] if has_parts else ""
            n_images = draw(st.integers(1, 3))
            cases += [case(source, patient, image, density, part) for image in range(n_images)]
    return list(draw(st.permutations(cases)))


def names(split: Split, cases: Sequence[Case]) -> dict[str, set[str]]:
    return {part: {cases[row].case for row in rows.tolist()} for part, rows in split.parts().items()}


@settings(max_examples=40)
@given(unions(), st.integers(0, FOLDS - 1), st.integers(0, 3))
def test_no_patient_is_in_two_parts_and_all_images_are_used(cases: list[Case], fold: int, seed: int) -> None:
    split = BySource(folds=FOLDS, fold=fold, seed=seed)(cases)
    rows = np.concatenate([*split.parts().values()])
    assert sorted(rows.tolist()) == list(range(len(cases)))
    patients = [{cases[row].patient for row in part.tolist()} for part in split.parts().values()]
    assert len(set.union(*patients)) == sum(map(len, patients))


@settings(max_examples=20)
@given(unions(), st.integers(0, FOLDS - 1))
def test_each_dataset_is_split_as_by_itself(cases: list[Case], fold: int) -> None:
    """Also if its identifiers lack the name of the dataset, as in an evaluation on one of the datasets."""
    parts = names(BySource(folds=FOLDS, fold=fold)(cases), cases)
    for source in {case.source for case in cases}:
        own = [case for case in cases if case.source == source]
        has_parts = any(case.split for case in own)
        reference = Official() if has_parts else PatientKFold(folds=FOLDS, fold=fold, assignment="balanced")
        alone = [replace(case, patient=case.patient.removeprefix(f"{source}-"), source="") for case in own]
        expected = names(reference.split(alone), own)
        own_names = {case.case for case in own}
        assert {part: found & own_names for part, found in parts.items()} == expected
        assert names(BySource(folds=FOLDS, fold=fold).split(alone), own) == expected


def test_errors_name_the_dataset() -> None:
    cases = [case("a", patient, 0, 1, "") for patient in range(8)] + [case("b", 0, 0, 1, "")]
    with pytest.raises(UserError, match="b: 1 patient"):
        BySource(folds=FOLDS)(cases)
