"""INbreast reader: the irregularities of the official release and of copies of it."""

from __future__ import annotations

import logging
import plistlib
from pathlib import Path

import numpy as np
import pytest

from helpers.inbreast_files import BLANKS, COLUMNS, PATIENT, SQUARE, Release, outlines, roi
from mammoseg.data.dataset import build_dataset
from mammoseg.data.readers.inbreast import read
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.errors import UserError

MASS = roi("Mass")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "INbreast Release 1.0")


def read_accepted(root: Path, **options: list[str]) -> list[Mammogram]:
    """Read a dataset without rejected cases."""
    rejected = RejectedCases()
    mammograms = read(root, rejected, **options)
    assert rejected.rows == []
    return mammograms


def read_rejected(root: Path) -> tuple[str, str]:
    """Read a dataset with one rejected case; return its file and the reason."""
    rejected = RejectedCases()
    read(root, rejected)
    ((file, reason),) = rejected.rows
    assert str(root) not in file + reason
    return file, reason


def user_error(root: Path, **options: list[str]) -> str:
    with pytest.raises(UserError) as caught:
        read(root, RejectedCases(), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_image_is_read_with_its_outline_and_attributes(release: Release) -> None:
    release.add("22678622", MASS, side="R", view="MLO", acr="3").table()
    (mammogram,) = read_accepted(release.root)
    (outline,) = mammogram.outlines
    np.testing.assert_array_equal(outline, SQUARE)
    assert outline.dtype == np.float64
    assert mammogram.image_file == release.dicoms / f"22678622_{PATIENT}_MG_R_ML_ANON.dcm"
    assert (mammogram.case, mammogram.patient, mammogram.density) == ("22678622", PATIENT, 3)
    assert (mammogram.side, mammogram.view) == ("R", "MLO")  # ML in the name
    assert (mammogram.masses, mammogram.mask_candidates, mammogram.split) == (1, (), "")


def test_images_are_sorted_and_patients_are_parsed_from_file_names(release: Release) -> None:
    """Patient ID is `removed` in every row; a follow-up examination has the same hash."""
    release.add("50993670", MASS, patient="b03f1dd34eb3c55f").add("20586908", MASS)
    release.add("50993616", MASS, patient="b03f1dd34eb3c55f", view="FB").table()
    mammograms = read_accepted(release.root)
    assert [(mammogram.case, mammogram.patient, mammogram.view) for mammogram in mammograms] == [
        ("20586908", PATIENT, "CC"),
        ("50993616", "b03f1dd34eb3c55f", "FB"),
        ("50993670", "b03f1dd34eb3c55f", "CC"),
    ]


def test_images_without_a_mass_are_ignored(release: Release) -> None:
    release.add("22678622", MASS).add("53582540", acr=BLANKS, birads="1")  # a normal image has no XML
    release.add("22614097", roi("Calcification")).add("22614150", roi("Cluster", SQUARE[:1]))
    release.add("22614127").xml("22614127", outlines())
    release.table()
    assert [mammogram.case for mammogram in read_accepted(release.root)] == ["22678622"]


@pytest.mark.parametrize("acr", [BLANKS, ""])
def test_a_blank_density_is_none(release: Release, acr: str) -> None:
    release.add("53582540", MASS, acr=acr).add("22678622", MASS, acr=" 4 ").table()
    assert [mammogram.density for mammogram in read_accepted(release.root)] == [4, None]


@pytest.mark.parametrize("acr", ["5", "x", "2.5"])
def test_an_invalid_density_is_rejected(release: Release, acr: str) -> None:
    release.add("22678622", MASS, acr=acr).table()
    file, reason = read_rejected(release.root)
    assert file == "AllXML/22678622.xml"
    assert f"must be 1 to 4 or blank, got '{acr}'" in reason


def test_misspelt_lesion_names_are_recognised(release: Release) -> None:
    spellings = ["Mass", " mass ", "MASS", "Espiculated Region", "Spiculated  region", "Assymetry", "Asymmetry"]
    others = [None, "", "Unnamed", "Point 1", "Calcifications", "Distortion"]
    release.add("22678622", *[roi(name) for name in spellings + others]).table()
    assert read_accepted(release.root)[0].masses == 3
    assert read_accepted(release.root, lesions=["mass", "spiculated region"])[0].masses == 5
    assert read_accepted(release.root, lesions=["Assymetry"])[0].masses == 2
    assert read_accepted(release.root, lesions=["calcification"])[0].masses == 1


@pytest.mark.parametrize("lesions", [["spiculated"], [], ["mass", "unnamed"]])
def test_an_unknown_lesion_type_is_an_error(release: Release, lesions: list[str]) -> None:
    release.add("22678622", MASS).table()
    assert "mass, spiculated region, calcification" in user_error(release.root, lesions=lesions)


def test_several_masses_keep_the_order_of_the_file(release: Release) -> None:
    shifted = [(column + 5, row - 3) for column, row in SQUARE]
    release.add("51049107", roi("Mass", shifted), roi("Cluster"), roi("Mass")).table()
    (mammogram,) = read_accepted(release.root)
    assert mammogram.masses == 2
    np.testing.assert_array_equal(mammogram.outlines, [shifted, SQUARE])


def test_outlines_outside_the_image_are_not_clipped(release: Release) -> None:
    points = [(3408.0, 10.0), (-4.5, 12.0), (3e2, 99.0)]
    release.add("22670094", roi("Mass", points)).table()
    np.testing.assert_array_equal(read_accepted(release.root)[0].outlines[0], points)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((), "outline 2 has 0 points, a mass needs 3 or more"),
        (SQUARE[:1], "outline 2 has 1 point, a mass needs 3 or more"),
        (SQUARE[:2], "outline 2 has 2 points, a mass needs 3 or more"),
        ([(7, 5)] * 4, "outline 2 must enclose an area, but its 4 points are on a line"),
        ([(5, 5), (15, 10), (45, 25), (25, 15)], "outline 2 must enclose an area, but its 4 points are on a line"),
        ((*SQUARE, "(nan, 4.0)"), "outline 2, point 5 is not two finite numbers"),
        (("(inf, 4.0)", *SQUARE), "outline 2, point 1 is not two finite numbers"),
        ((*SQUARE, "(4.0)"), "outline 2, point 5 is not"),
        ((*SQUARE, "(12,5, 3,4)"), "outline 2, point 5 is not"),
        ((*SQUARE, "(a, b)"), "outline 2, point 5 is not"),
        ((*SQUARE, ""), "outline 2, point 5 is not"),
    ],
)
def test_invalid_outlines_are_rejected(release: Release, points: tuple[object, ...], expected: str) -> None:
    release.add("20586908", MASS).add("22678622", roi("Cluster"), roi("Mass", points)).table()
    file, reason = read_rejected(release.root)
    assert file == "AllXML/22678622.xml"
    assert expected in reason
    assert "fix the XML or set dataset.on_error=skip" in reason


def test_calcifications_on_a_line_are_ignored_and_counted(release: Release) -> None:
    line, triangle = [(5, 7), (6.5, 7.5), (8, 8), (5, 7)], [(5, 7), (6, 7), (5, 7.1)]
    release.add("22678622", MASS, roi("Calcification", line), roi("Calcification", triangle)).table()
    rejected = RejectedCases()
    (mammogram,) = read(release.root, rejected, lesions=["mass", "calcification"])
    assert mammogram.masses == 2
    np.testing.assert_array_equal(mammogram.outlines[1], triangle)
    assert rejected.ignored == {"calcification marked by a point, without an outline": 1}


def test_calcifications_marked_by_a_point_are_ignored_and_counted(release: Release) -> None:
    marks = [roi("Calcification", [(5 + n, 7)]) for n in range(31)]
    release.add("22678622", MASS, *marks, roi("Cluster"), roi("Calcifications", [(1, 2), (3, 4)]))
    release.add("22678623", *marks).table()
    rejected = RejectedCases()
    (mammogram,) = read(release.root, rejected, lesions=["mass", "calcification", "cluster"])
    assert (mammogram.case, mammogram.masses) == ("22678622", 2)
    assert not rejected.rows
    assert rejected.ignored == {"calcification marked by a point, without an outline": 63}


def test_regions_with_unknown_names_are_ignored_and_counted(release: Release) -> None:
    release.add("22678622", MASS, roi("Masss"), roi("Unnamed"), roi("Cluster")).table()
    rejected = RejectedCases()
    (mammogram,) = read(release.root, rejected)
    assert mammogram.masses == 1
    assert rejected.ignored == {"region whose name is not that of a lesion": 2}


def test_outlines_around_most_of_the_image_are_rejected(release: Release, tmp_path: Path) -> None:
    corners = [(0, 0), (47, 0), (47, 63), (0, 63)]
    release.add("22678622", roi("Mass", corners)).table()
    data = build_dataset("d", str(release.root), read, size=32, store=str(tmp_path / "store"), workers=1)
    with pytest.raises(UserError, match="mass must cover at most 50 % of the image, got 100 %"):
        data.open_store()


def test_the_headings_of_the_table_are_compared_without_case(release: Release) -> None:
    release.add("22678622", MASS, acr="C").table()
    table = release.root / "INbreast.csv"
    table.write_text(table.read_text().replace("File Name", "FILE_NAME").replace("ACR", "acr"))
    assert read_accepted(release.root)[0].density == 3


def test_a_mass_without_points_is_rejected(release: Release) -> None:
    release.add("22678622", {"Name": "Mass", "NumberOfPoints": 9}).table()
    assert "outline 1 has 0 points" in read_rejected(release.root)[1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        outlines(MASS)[:300],
        b"<html>404</html>",
        b"\x00\x01binary",
        outlines(MASS).replace(b"<integer>15", b"<integer>many"),
        outlines(MASS).replace(b"<plist", b'<!DOCTYPE x [<!ENTITY a "b">]><plist', 1),
        b"<plist></plist>",
        plistlib.dumps({}),
        plistlib.dumps([]),
        plistlib.dumps("Images"),
        plistlib.dumps({"Images": [{}]}),
        plistlib.dumps({"Images": [{"ROIs": 7}]}),
        plistlib.dumps({"Images": [{"ROIs": ["Mass"]}]}),
    ],
)
def test_invalid_xml_is_rejected(release: Release, content: bytes) -> None:
    release.add("20586908", MASS).add("22678622").table().xml("22678622", content)
    file, reason = read_rejected(release.root)
    assert file == "AllXML/22678622.xml"
    assert reason.startswith("broken XML: ")
    assert reason.endswith("copy it again from the release")


def test_every_truncated_xml_is_rejected(release: Release) -> None:
    content = outlines(MASS)
    release.add("22678622", MASS).table()
    for length in range(0, len(content.rstrip()), 13):
        release.xml("22678622", content[:length])
        assert read_rejected(release.root)[1].startswith("broken XML: ")


def test_a_mass_without_a_dicom_file_is_rejected(release: Release) -> None:
    release.add("20586908", MASS).table().xml("22678622", outlines(MASS))
    assert read_rejected(release.root) == (
        "AllXML/22678622.xml",
        "the DICOM file 22678622_*.dcm is missing; copy it from the release, or remove the XML file",
    )


def test_a_mass_without_a_table_row_is_rejected(release: Release) -> None:
    release.add("22678622", MASS)
    release.rows[0][COLUMNS.index("File Name")] = "20586908"
    release.table()
    assert "no row with File Name 22678622" in read_rejected(release.root)[1]


def test_contradictory_rows_are_rejected(release: Release) -> None:
    release.add("22678622", MASS, acr="1").add("20586908", MASS)
    release.rows += [release.rows[1], [*release.rows[0][:6], "2", "5"]]
    release.table()
    assert "has contradictory rows for 22678622" in read_rejected(release.root)[1]


@pytest.mark.parametrize("copy", ["22678622_x_MG_L_CC_ANON (1).dcm", "22678622_x_MG_L_CC_ANON - Copy.dcm"])
def test_a_duplicate_file_of_a_case_is_rejected(release: Release, copy: str) -> None:
    release.add("22678622", MASS, patient="x").table().dicom(copy)
    rejected = RejectedCases()
    (mammogram,) = read(release.root, rejected)
    assert mammogram.image_file.name == "22678622_x_MG_L_CC_ANON.dcm"
    ((file, reason),) = rejected.rows
    assert file == f"AllDICOMs/{copy}"
    assert reason == ("second file of case 22678622, the first is AllDICOMs/22678622_x_MG_L_CC_ANON.dcm; remove one")


def test_a_dicom_with_another_name_is_rejected(release: Release) -> None:
    release.add("22678622", MASS).table().dicom("IM0001.dcm")
    file, reason = read_rejected(release.root)
    assert file == "AllDICOMs/IM0001.dcm"
    assert "8 digits" in reason


def test_file_names_without_a_patient_give_one_warning(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    release.add("22678622", MASS, name="22678622.dcm", view="MLO", side="R")
    release.add("22678646", MASS, name="22678646.dicom").add("20586908", MASS).table()
    with caplog.at_level(logging.WARNING):
        mammograms = read_accepted(release.root)
    assert [(mammogram.patient, mammogram.side, mammogram.view) for mammogram in mammograms] == [
        (PATIENT, "L", "CC"),
        ("22678622", "R", "MLO"),
        ("22678646", "L", "CC"),
    ]
    (record,) = caplog.records
    assert record.getMessage().startswith("2 images have no patient in their file name")


def test_the_parent_folder_is_a_valid_root(release: Release) -> None:
    release.add("22678622", MASS).table()
    assert [mammogram.case for mammogram in read_accepted(release.root.parent)] == ["22678622"]
    assert read_accepted(release.root.parent)[0].image_file.parent == release.dicoms


@pytest.mark.parametrize(
    ("dicoms", "xmls"),
    [("alldicoms", "allxml"), ("AllDICOMs/AllDICOMs", "AllXML/AllXML"), (".", "."), ("a/b/c/d", "XML")],
)
def test_other_folder_names_are_accepted(tmp_path: Path, dicoms: str, xmls: str) -> None:
    Release(tmp_path, dicoms, xmls).add("22678622", MASS).table(name="inbreast.CSV")
    assert [mammogram.case for mammogram in read_accepted(tmp_path)] == ["22678622"]


def test_suffixes_are_case_insensitive(release: Release) -> None:
    release.add("22678622", MASS, name=f"22678622_{PATIENT.upper()}_mg_l_ml_anon.DCM").table()
    (release.xmls / "22678622.xml").rename(release.xmls / "22678622.XML")
    (mammogram,) = read_accepted(release.root)
    assert (mammogram.patient, mammogram.side, mammogram.view) == (PATIENT, "L", "MLO")


def test_system_files_and_other_files_of_the_release_are_ignored(release: Release) -> None:
    release.add("22678622", MASS).table()
    for name in (
        f"AllDICOMs/._22678622_{PATIENT}_MG_L_CC_ANON.dcm",
        "AllDICOMs/Thumbs.db",
        "AllXML/._22678622.xml",
        "AllXML/.DS_Store",
        "__MACOSX/AllXML/22678622.xml",
        "~$INbreast.xls",
        "AllROI/22678622.roi",
        "PectoralMuscle/Pectoral Muscle XML/22678622.xml",
        "22678622_muscle.xml",
        "README.txt",
    ):
        (release.root / name).parent.mkdir(parents=True, exist_ok=True)
        (release.root / name).write_bytes(b"content")
    assert [mammogram.case for mammogram in read_accepted(release.root)] == ["22678622"]


def test_the_search_depth_is_limited(release: Release, tmp_path: Path) -> None:
    release.add("22678622", MASS).table()
    (tmp_path / "1/2/3/4").mkdir(parents=True)
    release.root.rename(tmp_path / "1/2/3/4/INbreast")
    assert "no INbreast DICOM" in missing_data_error(tmp_path)
    assert len(read_accepted(tmp_path / "1")) == 1


def test_links_are_followed_without_infinite_loops(release: Release, tmp_path: Path) -> None:
    release.add("22678622", MASS).table()
    release.dicoms.rename(tmp_path / "elsewhere")
    release.dicoms.symlink_to(tmp_path / "elsewhere")
    (release.root / "loop").symlink_to(release.root)
    assert [mammogram.case for mammogram in read_accepted(release.root)] == ["22678622"]


@pytest.mark.parametrize(
    ("separator", "encoding"), [(";", "ascii"), (",", "ascii"), (";", "utf-8-sig"), (",", "utf-8-sig"), ("\t", "ascii")]
)
def test_all_csv_dialects_are_read(release: Release, separator: str, encoding: str) -> None:
    release.add("53582540", MASS, acr=BLANKS, view="MLO", name="53582540.dcm")
    release.add("22678622", MASS, acr="1", birads="4c").table(separator, encoding)
    mammograms = read_accepted(release.root)
    assert [(mammogram.case, mammogram.density, mammogram.view) for mammogram in mammograms] == [
        ("22678622", 1, "CC"),
        ("53582540", None, "MLO"),
    ]


def test_a_csv_exported_from_the_spreadsheet_is_read(release: Release) -> None:
    """A byte order mark before a required column, floats, blank and totals rows, no views."""
    release.add("22678622", MASS).add("20586908", MASS)
    lines = ["File Name;ACR", "22678622.0;2.0", "20586908.0;4.0", ";", "28.0;49.0"]
    (release.root / "INbreast.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    assert [(mammogram.case, mammogram.density) for mammogram in read_accepted(release.root)] == [
        ("20586908", 4),
        ("22678622", 2),
    ]


def test_the_spreadsheet_is_read(release: Release) -> None:
    release.add("53582540", MASS, acr=BLANKS, side="R", name="53582540.dcm")
    release.add("22678622", MASS, acr="4", birads="5").add("22614097", acr="1").spreadsheet()
    assert [(mammogram.case, mammogram.density, mammogram.side) for mammogram in read_accepted(release.root)] == [
        ("22678622", 4, "L"),
        ("53582540", None, "R"),
    ]


def test_the_csv_is_preferred_to_the_spreadsheet(release: Release) -> None:
    release.add("22678622", MASS, acr="4").spreadsheet()
    release.rows[0][6] = "1"
    release.table()
    assert read_accepted(release.root)[0].density == 1


def test_two_differing_tables_are_an_error(release: Release, tmp_path: Path) -> None:
    release.add("22678622", MASS).table()
    Release(tmp_path / "other").add("22678622", MASS, acr="4").table()
    assert "set dataset.root to the folder of one of them" in user_error(tmp_path)


@pytest.mark.parametrize("name", ["INbreast.csv", "INbreast.xls"])
@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"File name,density\n22678622,3\n"])
def test_an_invalid_table_is_an_error(release: Release, name: str, content: bytes) -> None:
    release.add("22678622", MASS)
    (release.root / name).write_bytes(content)
    message = user_error(release.root)
    assert message.startswith(str(release.root / name))
    assert "; replace it with the " in message


def missing_data_error(root: Path) -> str:
    """Return the error message, which must name the root, its required content and the download location."""
    message = user_error(root)
    assert message.startswith(f"{root}: ")
    for part in (
        "AllDICOMs/",
        "AllXML/",
        "INbreast.csv",
        "INbreast authors",
        "ramanathansp20/inbreast-dataset",
        "unzip",
    ):
        assert part in message
    return message


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    assert "no such folder" in missing_data_error(tmp_path / "nowhere")


def test_an_archive_as_root_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "inbreast.zip").write_bytes(b"PK")
    assert "a file, not a folder; unpack it" in missing_data_error(tmp_path / "inbreast.zip")


def test_an_empty_root_is_an_error(tmp_path: Path) -> None:
    assert "no INbreast DICOM" in missing_data_error(tmp_path)


def test_another_dataset_is_an_error(release: Release) -> None:
    release.dicom("Mass-Test_P_00016_LEFT_CC/000000.dcm")
    assert "no INbreast DICOM" in missing_data_error(release.root)


def test_missing_outlines_are_an_error(release: Release) -> None:
    release.add("22678622").add("20586908").table()
    assert "2 DICOM files but no outlines (AllXML/*.xml)" in missing_data_error(release.root)
    assert "martholi/inbreast" in missing_data_error(release.root)


def test_a_missing_table_is_an_error(release: Release) -> None:
    release.add("22678622", MASS)
    assert "no INbreast.csv or INbreast.xls" in missing_data_error(release.root)
