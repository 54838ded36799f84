"""Union of datasets: identifiers, rejected cases and invalid names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.union import read
from mammoseg.errors import UserError

ReaderOfTest = Callable[[Path, RejectedCases], list[Mammogram]]


def reader_of(*cases: str) -> ReaderOfTest:
    def reader(root: Path, rejected: RejectedCases) -> list[Mammogram]:
        rejected.add("damaged.png", "no such file")
        rejected.ignored["point"] += 2
        return [Mammogram(case=case, image_file=root / f"{case}.png", patient="P1", split="train") for case in cases]

    return reader


def test_equal_identifiers_of_two_datasets_remain_different() -> None:
    sources: dict[str, dict[str, Any]] = {
        "inbreast": {"folder": "INbreast", "reader": reader_of("1", "2")},
        "clinic": {"folder": "films", "reader": reader_of("1")},
    }
    rejected = RejectedCases()
    images = read(Path("data"), rejected, sources=sources)
    assert [(image.case, image.patient, image.source, image.split) for image in images] == [
        ("inbreast-1", "inbreast-P1", "inbreast", "train"),
        ("inbreast-2", "inbreast-P1", "inbreast", "train"),
        ("clinic-1", "clinic-P1", "clinic", "train"),
    ]
    assert images[2].image_file == Path("data/films/1.png")
    assert rejected.rows == [("inbreast/damaged.png", "no such file"), ("clinic/damaged.png", "no such file")]
    assert rejected.ignored == {"inbreast: point": 2, "clinic: point": 2}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"a": "A"}, "at least two"),
        ({}, "at least two datasets, got none"),
        ({"a-b": "A", "c": "C"}, "letters, digits and underscores, got a-b"),
        ({"a": "A", "A": "B"}, "must differ in more than case, got a and A"),
        ({"a": "A", "b": "../B"}, r"sources\.b\.folder must be the name of a folder in dataset\.root"),
        ({"a": "A", "b": ".."}, r"sources\.b\.folder must be the name of a folder in dataset\.root"),
        ({"a": "A", "b": "/B"}, r"sources\.b\.folder must be the name of a folder in dataset\.root"),
    ],
)
def test_invalid_sources(sources: dict[str, str], message: str) -> None:
    configured = {name: {"folder": folder, "reader": reader_of("1")} for name, folder in sources.items()}
    with pytest.raises(UserError, match=message):
        read(Path("data"), RejectedCases(), sources=configured)


def test_images_without_a_mass_are_read_from_the_datasets_whose_readers_can() -> None:
    def with_negatives(root: Path, rejected: RejectedCases, *, negatives: bool = False) -> list[Mammogram]:
        return reader_of("1", "2")(root, rejected)[: 1 + negatives]

    sources: dict[str, dict[str, Any]] = {
        "a": {"folder": "A", "reader": with_negatives},
        "b": {"folder": "B", "reader": reader_of("1")},
    }
    for negatives, cases in ((False, ["a-1", "b-1"]), (True, ["a-1", "a-2", "b-1"])):
        images = read(Path("data"), RejectedCases(), sources=sources, negatives=negatives)
        assert [image.case for image in images] == cases
