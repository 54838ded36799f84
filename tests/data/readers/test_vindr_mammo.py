"""Reader of VinDr-Mammo: boxes of masses, density of each breast, the official split, and invalid tables."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from helpers.vindr_mammo_files import Release, uid
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.mass_location import MassBox
from mammoseg.data.readers.vindr_mammo import read
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

MASS = ("['Mass']", "BI-RADS 4", 10.5, 20.0, 30.25, 40.0)
BOX = MassBox(10.5, 20.0, 30.25, 40.0)


def rows(root: Path, *, negatives: bool = False) -> tuple[list[Mammogram], RejectedCases]:
    return read(root, rejected := RejectedCases(), negatives=negatives), rejected


def test_an_image_with_a_mass_is_read(tmp_path: Path) -> None:
    release = Release(tmp_path)
    image = release.add("a", "R", "MLO", "DENSITY D", "training", [MASS])
    (mammogram,), rejected = rows(release.tables())
    assert not rejected.rows
    assert mammogram == Mammogram(
        case=image,
        image_file=tmp_path / "images" / uid("a") / f"{image}.dicom",
        patient=uid("a"),
        density=ACRDensity.EXTREME,
        side="R",
        view="MLO",
        locations=(BOX,),
        split="train",
        masses=1,
    )
    assert mammogram.image_file.is_file()
    assert rejected.found == {"images listed": 1, "exams listed": 1}


def test_only_findings_with_the_category_mass_are_masses(tmp_path: Path) -> None:
    release = Release(tmp_path)
    both = ("['Suspicious Calcification', 'Mass']", "BI-RADS 5", 1, 2, 3, 4)
    image = release.add("a", findings=[MASS, both, ("['Asymmetry']", "BI-RADS 3", 5, 6, 7, 8)])
    other = release.add(
        "a", "R", density="DENSITY A", split="test", findings=[("['Asymmetry']", "BI-RADS 3", 5, 6, 7, 8)]
    )
    normal = release.add("b")
    (mammogram,), rejected = rows(release.tables())
    assert (mammogram.case, mammogram.locations) == (image, (BOX, MassBox(1, 2, 3, 4)))
    images, rejected = rows(release.root, negatives=True)
    assert not rejected.rows
    assert [(m.case, m.masses, m.split, m.density) for m in images] == [
        (image, 2, "train", 3),
        (other, 0, "test", 1),
        (normal, 0, "train", 3),
    ]
    assert rejected.found == {"images listed": 3, "exams listed": 2}


@pytest.mark.parametrize(
    ("finding", "message"),
    [
        (
            ("['Mass']", "BI-RADS 4", "", "", "", ""),
            "a mass must have xmin < xmax and ymin < ymax, got nothing, nothing",
        ),
        (("['Mass']", "BI-RADS 4", 30, 20, 10, 40), "got 30, 20, 10, 40"),
        (("['Mass']", "BI-RADS 4", "nan", 20, 30, 40), "got nan, 20, 30, 40"),
        (("Mass", "BI-RADS 4", 10, 20, 30, 40), "finding_categories must be a list such as ['Mass'], got Mass"),
        (("['Mass'", "BI-RADS 4", 10, 20, 30, 40), "must be a list such as"),
        (("{['Mass']}", "BI-RADS 4", 10, 20, 30, 40), "must be a list such as"),
        (("", "BI-RADS 4", 10, 20, 30, 40), "got nothing"),
    ],
)
def test_an_image_with_an_invalid_finding_is_rejected(
    tmp_path: Path, finding: tuple[object, ...], message: str
) -> None:
    release = Release(tmp_path)
    release.add("a", findings=[MASS, finding])
    valid = release.add("b", findings=[MASS])
    images, rejected = rows(release.tables(), negatives=True)
    assert [m.case for m in images] == [valid]
    ((label, reason),) = rejected.rows
    assert label == "finding_annotations.csv line 3"
    assert message in reason


def test_missing_images_and_rows_are_rejected(tmp_path: Path) -> None:
    release = Release(tmp_path)
    missing = release.add("a", findings=[MASS], with_file=False)
    release.add("b", findings=[MASS])
    release.file("c", "0123", "x")
    release.findings.append([*release.findings[0][:2], "4567", *release.findings[0][3:]])
    release.breasts.append(release.breasts[1])
    release.breasts.append([*release.breasts[1][:2], "89ab", *release.breasts[1][3:8], "DENSITY E", "training"])
    images, rejected = rows(release.tables(), negatives=True)
    assert [m.patient for m in images] == [uid("b")]
    assert [(label.rpartition("/")[2], reason.split(";")[0]) for label, reason in rejected.rows] == [
        (f"{missing}.dicom", "the DICOM file is missing"),
        ("breast-level_annotations.csv line 4", f"image {release.breasts[1][2]} is in an earlier line"),
        ("89ab.dicom", "the DICOM file is missing"),
        ("0123.dicom", "no row in breast-level_annotations.csv"),
        ("4567", "has a mass in finding_annotations.csv, but no row in breast-level_annotations.csv"),
    ]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (3, "X", "side must be LEFT, RIGHT, L, R or blank, got X"),
        (8, "DENSITY E", "breast_density must be DENSITY A to D or blank, got DENSITY E"),
        (9, "holdout", "split must be train, val, test or blank, got holdout"),
    ],
)
def test_an_invalid_cell_of_the_breast_level_table_is_rejected(
    tmp_path: Path, column: int, value: str, message: str
) -> None:
    release = Release(tmp_path)
    release.add("a", findings=[MASS])
    release.breasts[0][column] = value
    images, rejected = rows(release.tables())
    assert not images
    assert [reason for _, reason in rejected.rows] == [message]


def test_missing_tables_and_columns_are_errors(tmp_path: Path) -> None:
    release = Release(tmp_path / "vindr")
    with pytest.raises(UserError, match="no such folder"):
        rows(tmp_path / "vindr")
    release.add("a", findings=[MASS])
    root = release.tables()
    for name in ("breast-level_annotations.csv", "finding_annotations.csv"):
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_text(text.replace("image_id", "image"), encoding="utf-8")
        with pytest.raises(
            UserError, match=rf"{name}: missing columns: image_id; the first line is study_id, series_id"
        ):
            rows(root)
        (root / name).unlink()
        with pytest.raises(UserError, match=rf"{name}: no such file; dataset\.root must contain"):
            rows(root)
        (root / name).write_text(text, encoding="utf-8")
    assert len(rows(root)[0]) == 1


def test_memory_does_not_grow_with_the_rows_that_are_not_used(tmp_path: Path) -> None:
    """The tables are read row by row: a longer table of normal images needs little more than their identifiers."""
    peaks = []
    for n_normal in (200, 2000):
        release = Release(tmp_path / str(n_normal))
        release.add("a", findings=[MASS])
        for index in range(n_normal):
            release.add(f"n{index}", with_file=False)
        root = release.tables()
        size = (root / "finding_annotations.csv").stat().st_size
        tracemalloc.start()
        assert len(rows(root)[0]) == 1
        peaks.append((tracemalloc.get_traced_memory()[1], size))
        tracemalloc.stop()
    (small, small_size), (large, large_size) = peaks
    assert large - small < 3 * (large_size - small_size)


def test_the_suffix_of_an_image_may_be_in_capitals(tmp_path: Path) -> None:
    release = Release(tmp_path)
    image = release.add("a", findings=[MASS])
    path = tmp_path / "images" / uid("a") / f"{image}.dicom"
    path.rename(path.with_suffix(".DICOM"))
    (mammogram,), rejected = rows(release.tables())
    assert not rejected.rows
    assert mammogram.image_file == path.with_suffix(".DICOM")


def test_an_image_without_a_row_of_findings_is_not_an_image_without_a_mass(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("a", findings=[MASS])
    missing = release.add("b")
    release.findings.pop()
    images, rejected = rows(release.tables(), negatives=True)
    assert [m.patient for m in images] == [uid("a")]
    assert rejected.rows == [
        (
            f"images/{uid('b')}/{missing}.dicom",
            "no row in finding_annotations.csv; use the table of the release",
        )
    ]


def test_a_repeated_box_is_counted_once(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("a", findings=[MASS, MASS])
    (mammogram,), rejected = rows(release.tables())
    assert (mammogram.locations, mammogram.masses) == ((BOX,), 1)
    assert rejected.ignored == {"repeated boxes or circles of the same image, which are not used": 1}


@pytest.mark.parametrize("table", ["breasts", "findings"])
def test_a_row_with_more_cells_than_columns_is_rejected(tmp_path: Path, table: str) -> None:
    release = Release(tmp_path)
    release.add("a", findings=[MASS])
    getattr(release, table)[0] = [*getattr(release, table)[0], "x"]
    images, rejected = rows(release.tables(), negatives=True)
    assert not images
    assert [reason.split(";")[0] for _, reason in rejected.rows] == ["the row must have no text after the last column"]
