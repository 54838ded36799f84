"""Reader of TOMPEI-CMMD: labels, density by breast, wrong sides in the headers, and invalid files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from helpers.tompei_cmmd_files import ANNOTATIONS, HEADER, TRIANGLE, Release, lesion
from mammoseg.data.images.read import read_image
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.tompei_annotations import parse_annotation
from mammoseg.data.readers.tompei_cmmd import read, side_of_pixels
from mammoseg.errors import UserError


def images(root: Path, *, negatives: bool = False) -> tuple[dict[str, Mammogram], RejectedCases]:
    mammograms = read(root, rejected := RejectedCases(), negatives=negatives)
    return {mammogram.case: mammogram for mammogram in mammograms}, rejected


def test_oblique_views_with_an_outlined_mass_are_read(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("D1-0001", "L", lesion("mass "), lesion("calc"), lesion("Mass", kind="Polyline"), density="fatty")
    release.add("D1-0001", "R", classification="Normal", density="scattered")
    release.add("D2-0002", "R", lesion(), density="Extremely dense")
    release.add("D2-0003", "L", lesion("dist"), lesion("FAD "), density="")
    release.add("D2-0004", "L", lesion(), classification="Exclusion")
    release.add("D2-0005", "L", classification="Invisible")
    read_images, rejected = images(release.table())
    assert not rejected.rows
    assert [(m.case, m.patient, m.side, m.view, m.density, m.masses) for m in read_images.values()] == [
        ("D1-0001_MLO_L", "D1-0001", "L", "MLO", 1, 2),
        ("D2-0002_MLO_R", "D2-0002", "R", "MLO", 4, 1),
    ]
    assert [tuple(map(tuple, outline.tolist())) for outline in read_images["D1-0001_MLO_L"].outlines] == [TRIANGLE] * 2
    assert rejected.found == {"breasts listed": 6, "annotated images": 4}
    assert rejected.ignored == {"annotated breasts that the authors exclude, which are not used": 1}
    read_images, rejected = images(tmp_path, negatives=True)
    assert not rejected.rows
    assert {name: (m.masses, m.density) for name, m in read_images.items() if m.masses == 0} == {
        "D1-0001_MLO_R": (0, 2),
        "D2-0003_MLO_L": (0, None),
    }


def test_copies_of_an_annotation_are_counted_and_a_second_table_is_an_error(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("D1-0001", "L", lesion(), density="fatty")
    root = release.table()
    (copies := root / "zz").mkdir()
    (copies / "D1-0001_MLO_L_AnnotationFile.json").write_text("[]")
    read_images, rejected = images(root)
    assert list(read_images) == ["D1-0001_MLO_L"]
    assert rejected.ignored == {"files with the name of another one, of which the first is used": 1}
    (table,) = root.rglob("*.xlsx")
    (copies / table.name).write_bytes(table.read_bytes())
    with pytest.raises(UserError, match="must contain one spreadsheet"):
        images(root)


@pytest.mark.parametrize("patient", ["D1-0252", "D2-0642"])
def test_the_side_of_known_errors_is_that_of_the_pixels(tmp_path: Path, patient: str) -> None:
    release = Release(tmp_path)
    release.add(patient, "L", lesion(), tag="R").add(patient, "R", lesion(), tag="L")
    read_images, rejected = images(release.table())
    assert not rejected.rows
    assert len(read_images) == 2
    for mammogram in read_images.values():
        assert side_of_pixels(read_image(mammogram.image_file)[0]) == mammogram.side


def test_missing_and_invalid_files_are_rejected(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("D1-0001", "L", lesion(), views=["CC"])
    release.add("D1-0002", "L", lesion(), density="dense")
    release.add("D1-0003", "L", lesion(points=TRIANGLE[:2]))
    release.add("D1-0004", "L", {"label": "mass"})
    release.add("D1-0005", "L", lesion())
    release.rows.pop()
    release.add("D1-0006", "L", lesion()).add("D1-0006", "R", tag="L")
    release.annotation("D1-0007_MLO_R_AnnotationFile.json", "[")
    read_images, rejected = images(release.table())
    assert list(read_images) == ["D1-0006_MLO_L"]
    assert {label: reason.split(";")[0] for label, reason in rejected.rows} == {
        "D1-0003_MLO_L_AnnotationFile.json": "mass 1 must be outlined by 3 or more points that enclose an area",
        "D1-0004_MLO_L_AnnotationFile.json": "must be a JSON list of lesions with label and cgPoints",
        "D1-0007_MLO_R_AnnotationFile.json": "must be a JSON list of lesions with label and cgPoints",
        "D1-0005_MLO_L": "no row in the sheet Imaging Diagnosis Details Sheet",
        "D1-0005": "no row in the sheet Imaging Diagnosis Details Sheet",
        "D1-0001_MLO_L": "the DICOM file of this view is missing",
        "D1-0002_MLO_L": "breast density must be fatty, scattered, heterogeneous dense, extremely dense or blank, got "
        "dense",
        "D1-0006/1.2.5.3/1-1.dcm": "second image of the view MLO L of D1-0006",
    }


def test_a_folder_without_the_dataset_is_an_error(tmp_path: Path) -> None:
    root = tmp_path / "tompei"
    release = Release(root)
    with pytest.raises(UserError, match="no such folder"):
        images(root)
    root.mkdir()
    with pytest.raises(UserError, match=r"no TOMPEI-CMMD_clinical_data_\*\.xlsx found"):
        images(root)
    with pytest.raises(UserError, match="no annotation such as"):
        images(release.table())
    release.annotation("D1-0001_MLO_L_AnnotationFile.json", "[]")
    with pytest.raises(UserError, match="no DICOM file in a folder such as D1-0001"):
        images(root)
    release.add("D1-0001", "L", lesion())
    with pytest.raises(UserError, match="must have a sheet Imaging Diagnosis Details Sheet, got README, Sheet1"):
        images(release.table(sheet="Sheet1"))
    renamed = [[str(cell).replace("Breast density", "Density") for cell in cells] for cells in HEADER]
    with pytest.raises(UserError, match="no column Breast density; replace it with the table from the release"):
        images(release.table(header=renamed))
    assert list(images(release.table())[0]) == ["D1-0001_MLO_L"]
    assert (root / "__MACOSX" / ANNOTATIONS).is_dir()


@pytest.mark.parametrize(
    "content",
    [
        *("{}", "[" * 100_000, "null"),
        json.dumps([lesion(points=[(10**400, 1), (2, 3), (4, 1)])]),
    ],
)
def test_content_of_another_type_is_an_error(content: str) -> None:
    with pytest.raises(ValueError, match="must be a JSON list of lesions with label and cgPoints"):
        parse_annotation(content.encode())


def test_a_coordinate_that_is_not_finite_is_an_error() -> None:
    content = json.dumps([lesion(points=[(math.nan, 1), (2, 3), (4, 1)])])
    with pytest.raises(ValueError, match="mass 1 must be outlined by 3 or more points"):
        parse_annotation(content.encode())


def test_a_breast_with_a_damaged_annotation_is_not_an_image_without_a_mass(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("D1-0001", "L", lesion()).add("D1-0001", "R", classification="Normal")
    release.annotation("D1-0001_MLO_R_AnnotationFile.json", "[")
    read_images, rejected = images(release.table(), negatives=True)
    assert list(read_images) == ["D1-0001_MLO_L"]
    assert [label for label, _ in rejected.rows] == ["D1-0001_MLO_R_AnnotationFile.json"]


def test_rows_of_a_breast_that_differ_are_rejected(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("D1-0001", "L", lesion()).add("D1-0002", "L", lesion()).add("D1-0003", "L", lesion())
    release.rows += [[*release.rows[0]], [*release.rows[1][:2], "Normal", *release.rows[1][3:]]]
    read_images, rejected = images(release.table())
    assert list(read_images) == ["D1-0001_MLO_L", "D1-0003_MLO_L"]
    assert rejected.rows == [
        (
            "D1-0002_MLO_L",
            "the rows of the breast in the sheet Imaging Diagnosis Details Sheet must agree; fix the table",
        )
    ]


def test_the_side_is_that_of_the_pixels_if_the_header_has_none(tmp_path: Path) -> None:
    release = Release(tmp_path)
    release.add("D1-0001", "L", lesion(), tag=" ").add("D1-0001", "R", lesion(), tag=" ")
    read_images, rejected = images(release.table())
    assert not rejected.rows
    assert {side_of_pixels(read_image(m.image_file)[0]): m.side for m in read_images.values()} == {"L": "L", "R": "R"}
