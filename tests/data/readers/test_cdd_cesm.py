"""Reader of CDD-CESM: kinds of regions, irregular names, findings, and invalid tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from helpers.cdd_cesm_files import CIRCLE, COLUMNS, ELLIPSE, POINT, POLYGON, POLYLINE, Release
from mammoseg.data.images.masks import rasterise
from mammoseg.data.preprocessing.cache import mass_mask
from mammoseg.data.readers.cdd_cesm import read
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.via_regions import parse_region
from mammoseg.errors import UserError


def images(root: Path, *, negatives: bool = False) -> tuple[dict[str, Mammogram], RejectedCases]:
    mammograms = read(root, rejected := RejectedCases(), negatives=negatives)
    return {mammogram.case: mammogram for mammogram in mammograms}, rejected


def test_images_whose_findings_are_masses_are_read(tmp_path: Path) -> None:
    release = Release(tmp_path / "cdd")
    release.add("P1_L_DM_MLO", POLYGON, CIRCLE, density="A")
    release.add("P1_R_DM_CC", ELLIPSE, findings="Mass$mass", density="d", filename="P1_R_DM_CC .jpg")
    release.add("P12_L_DM_CC ", POLYLINE, file="P12_L_DM_CC .jpg", filename="P12_L_DM_CC.jpg", density="")
    release.add("P1_L_CM_MLO", POLYGON, density="_", findings="Mass enhancement")
    read_images, rejected = images(release.tables())
    assert not rejected.rows
    assert not rejected.ignored
    assert [(m.case, m.patient, m.side, m.view, m.density, m.masses) for m in read_images.values()] == [
        ("P12_L_DM_CC", "P12", "L", "CC", None, 1),
        ("P1_L_DM_MLO", "P1", "L", "MLO", 1, 2),
        ("P1_R_DM_CC", "P1", "R", "CC", 4, 1),
    ]
    assert all(m.image_file.is_file() for m in read_images.values())
    assert rejected.found == {
        **{"low-energy images listed": 3, "women listed": 2},
        **{"polygons": 2, "circles": 1, "ellipses": 1, "polylines": 1},
    }
    mask = mass_mask(read_images["P1_R_DM_CC"], (120, 80)).mask
    y, x = np.ogrid[:120, :80]
    first = (x - 40) * math.cos(0.5) + (y - 60) * math.sin(0.5)
    second = -(x - 40) * math.sin(0.5) + (y - 60) * math.cos(0.5)
    level = (first / 20) ** 2 + (second / 10) ** 2  # 1 on the border, whose pixels may belong to either side
    assert mask[level < 0.9].all()
    assert not mask[level > 1.3].any()
    np.testing.assert_array_equal(
        mass_mask(read_images["P12_L_DM_CC"], (120, 80)).mask,
        rasterise([np.array([[20, 30], [50, 30], [50, 60], [20, 60]])], 120, 80),
    )


def test_images_whose_masses_are_unknown_are_counted(tmp_path: Path) -> None:
    release = Release(tmp_path / "cdd")
    release.add("P1_L_DM_MLO", POLYGON, findings="Mass$Calcifications")
    release.add("P2_L_DM_MLO")
    release.add("P3_L_DM_MLO", POLYGON, POINT)
    release.add("P4_L_DM_MLO", {"name": "polyline", "all_points_x": [1, 5], "all_points_y": [1, 5]})
    release.add("P5_L_DM_MLO", POLYGON, findings="")
    release.add("P6_L_DM_MLO", findings="")
    release.add("P7_L_DM_MLO", CIRCLE, findings="Non-mass enhancement$ Asymmetry")
    root = release.tables()
    read_images, rejected = images(root, negatives=True)
    assert not rejected.rows
    assert {name: m.masses for name, m in read_images.items()} == {"P6_L_DM_MLO": 0, "P7_L_DM_MLO": 0}
    assert all(not m.outlines for m in read_images.values())
    assert rejected.ignored == {
        "images with masses and other findings, which are not used": 1,
        "images with a mass without an outline, which are not used": 3,
        "images with regions but without findings, which are not used": 1,
    }
    assert images(root)[0] == {}


def test_missing_images_rows_and_invalid_cells_are_rejected(tmp_path: Path) -> None:
    release = Release(tmp_path / "cdd")
    release.add("P1_L_DM_MLO", POLYGON, file="", filename="P1_L_DM_MLO.jpg")
    release.add("P2_L_DM_MLO", POLYGON, density="E")
    release.add("P3_L_DM_MLO", POLYGON).add("P3_L_DM_MLO", POLYGON, density="A")
    release.add("P4_L_DM_MLO", {"name": "polygon", "all_points_x": [1, 2]})
    release.add("P5_L_DM_MLO", POLYGON)
    release.rows.pop()
    read_images, rejected = images(release.tables())
    assert not read_images
    reasons = {label: reason.split(";")[0] for label, reason in rejected.rows}
    assert reasons == {
        "Radiology_hand_drawn_segmentations_v2.csv line 6": "region_shape_attributes must be the JSON of a polygon, "
        'polyline, ellipse, circle or point, got {"name": "polygon", "all_points_x": [1, 2]}',
        "P1_L_DM_MLO.jpg": "the image is missing",
        "P2_L_DM_MLO.jpg": "density must be ACR A to D or blank, got E",
        "P3_L_DM_MLO.jpg": "the rows of the image must agree in density, got A, C",
        "P5_L_DM_MLO.jpg": "no row of Type DM in the sheet all of Radiology-manual-annotations.xlsx",
    }


def test_copies_of_an_image_are_counted(tmp_path: Path) -> None:
    release = Release(tmp_path / "cdd")
    release.add("P1_L_DM_MLO", POLYGON)
    root = release.tables()
    (file,) = root.rglob("P1_L_DM_MLO.jpg")
    (root / "copies").mkdir()
    (root / "copies" / "P1_L_DM_MLO .jpg").write_bytes(file.read_bytes())
    read_images, rejected = images(root)
    assert [m.image_file for m in read_images.values()] == [file]
    assert rejected.ignored == {"files with the name of another one, of which the first is used": 1}


def test_the_view_in_the_name_may_have_a_suffix(tmp_path: Path) -> None:
    release = Release(tmp_path / "cdd")
    release.add("P1_L_DM_MLO", POLYGON, file="P1_L_DM_MLO(2).jpg")
    release.rows[0][0] = "P1_L_DM_MLO(2)"
    read_images, rejected = images(release.tables())
    assert not rejected.rows
    assert [(m.case, m.view, m.masses) for m in read_images.values()] == [("P1_L_DM_MLO(2)", "MLO", 1)]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[1]", '{"name": "rect"}', '{"name": "circle", "cx": 1, "cy": 2}', '{"name": "circle", "cx": NaN}', "{"),
        *(
            '{"name": "circle", "cx": 1, "cy": 2, "r": 1e999}',
            '{"name": "polygon", "all_points_x": 1, "all_points_y": 2}',
            "[" * 100_000,
        ),
        '{"name": "polygon", "all_points_x": [[1, 2], [3, 4]], "all_points_y": [[1, 2], [3, 4]]}',
        f'{{"name": "circle", "cx": {"9" * 400}, "cy": 2, "r": 3}}',
    ],
)
def test_an_invalid_region_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="region_shape_attributes must be the JSON of a polygon"):
        parse_region(text)


def test_a_folder_without_the_dataset_is_an_error(tmp_path: Path) -> None:
    release = Release(tmp_path / "cdd")
    with pytest.raises(UserError, match="no such folder"):
        images(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no Radiology-manual-annotations\.xlsx and no Radiology_hand_drawn"):
        images(release.root)
    with pytest.raises(UserError, match=r"no image such as P1_L_DM_MLO\.jpg found"):
        images(release.tables())
    release.add("P1_L_DM_MLO", POLYGON)
    with pytest.raises(UserError, match="must have a sheet all, got CESM, every"):
        images(release.tables(sheet="every"))
    with pytest.raises(UserError, match="no column Findings; replace it"):
        images(release.tables(columns=["Report" if name == "Findings" else name for name in COLUMNS]))
    renamed = ["ACR" if name == "Breast density (ACR)" else name for name in COLUMNS]
    assert images(release.tables(columns=renamed))[0]["P1_L_DM_MLO"].density == 3
    table = release.root / "Radiology_hand_drawn_segmentations_v2.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("#filename", "file"), encoding="utf-8")
    with pytest.raises(UserError, match="missing columns: #filename"):
        images(release.root)
    (release.root / "Radiology-manual-annotations.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match="damaged or not readable"):
        images(release.root)


def test_rows_of_an_image_that_differ_are_rejected(tmp_path: Path) -> None:
    release = Release(tmp_path / "cdd")
    release.add("P1_L_DM_MLO", POLYGON).add("P1_L_DM_MLO", POLYGON)
    release.add("P2_L_DM_MLO", POLYGON).add("P2_L_DM_MLO", POLYGON)
    release.add("P3_L_DM_MLO", POLYGON).add("P4_L_DM_MLO", POLYGON)
    release.rows[1][1] = 99
    release.rows[3][2] = "R"
    release.rows[4][1] = ""
    read_images, rejected = images(release.tables())
    assert list(read_images) == ["P4_L_DM_MLO"]
    assert dict(rejected.rows) == {
        "P1_L_DM_MLO.jpg": "the rows of the image must agree in patient, got 1, 99; fix the table",
        "P2_L_DM_MLO.jpg": "the rows of the image must agree in side, got L, R; fix the table",
        "P3_L_DM_MLO.jpg": "Patient_ID must not be blank; fix the table",
    }
