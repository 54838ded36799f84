"""Reader of custom datasets: validation of cases.csv, raster formats and masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mammoseg.data.images.masks import read_masks
from mammoseg.data.images.read import read_image
from mammoseg.data.readers.image_folder import read
from mammoseg.data.readers.mammogram import RejectedCases
from mammoseg.errors import ImageReadError, UserError

HEADER = "case,image,mask,patient,density,side,view,split,masses"


def table(root: Path, *rows: str, header: str = HEADER, ending: str = "\n") -> Path:
    (root / "cases.csv").write_bytes(ending.join([header, *rows, ""]).encode())
    return root


def test_all_columns_of_a_row_are_read(tmp_path: Path) -> None:
    rejected = RejectedCases()
    (mammogram,) = read(table(tmp_path, "a,i/a.png,m/a.png,p1,3,LEFT,mlo,train,2", ending="\r\n"), rejected)
    assert not rejected.rows
    assert (mammogram.case, mammogram.patient, mammogram.density, mammogram.side, mammogram.view) == (
        "a",
        "p1",
        3,
        "L",
        "MLO",
    )
    assert (mammogram.split, mammogram.masses) == ("train", 2)
    assert (mammogram.image_file, mammogram.mask_candidates) == (
        tmp_path / "i" / "a.png",
        ((tmp_path / "m" / "a.png",),),
    )


def test_byte_order_mark_and_missing_optional_columns_are_accepted(tmp_path: Path) -> None:
    header = "\ufeffcase,image,mask,patient,density"
    (mammogram,) = read(table(tmp_path, "a,a.png,b.png,p,", header=header), RejectedCases())
    assert (mammogram.density, mammogram.side, mammogram.split, mammogram.masses) == (None, "", "", 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",a.png,b.png,p,1,,,,", "case is blank"),
        ("a,,b.png,p,1,,,,", "image is blank"),
        ("a,a.png,b.png,,1,,,,", "patient is blank"),
        ("a,a.png,b.png,p,0,,,,", "density must be an ACR category 1 to 4, A to D or I to IV, or blank, got 0"),
        ("a,a.png,b.png,p,dense,,,,", "got dense"),
        ("a,a.png,b.png,p,1,,,holdout,", "split must be train, val, test or blank, got holdout"),
        ("a,a.png,b.png,p,1,,,,many", "masses must be a non-negative integer, got many"),
        ("a,a.png", "blank"),
        ("a,a.png,b.png,nan,1,,,,", "patient is blank"),
        ("a,a.png,b.png,p,-1,,,,", "got -1"),
        ("a,a.png,b.png,p,1,Rechts,,,", "side must be LEFT, RIGHT, L, R or blank, got Rechts"),
        ("a,a.png,b.png,Doe,1,2,,,,1", "the row must have no text after the last column"),
    ],
)
def test_an_invalid_row_is_rejected_by_line(tmp_path: Path, row: str, message: str) -> None:
    rejected = RejectedCases()
    mammograms = read(table(tmp_path, "valid,a.png,b.png,p,1,,,,", row), rejected)
    assert [mammogram.case for mammogram in mammograms] == ["valid"]
    ((label, reason),) = rejected.rows
    assert label == "cases.csv line 3"
    assert message in reason


def test_marks_of_missing_values_are_blank(tmp_path: Path) -> None:
    (mammogram,) = read(table(tmp_path, "a,a.png,b.png,p,NaN,nan,N/A,None,", ",,,,,,,,"), rejected := RejectedCases())
    assert (mammogram.density, mammogram.side, mammogram.view, mammogram.split) == (None, "", "", "")
    assert not rejected.rows  # the last row consists of separators, as spreadsheets write below a table


def test_a_duplicate_case_is_rejected(tmp_path: Path) -> None:
    rejected = RejectedCases()
    assert len(read(table(tmp_path, "a,a.png,b.png,p,1,,,,", "a,c.png,d.png,q,2,,,,"), rejected)) == 1
    assert "case a is already defined in an earlier line" in rejected.rows[0][1]


def test_a_folder_without_a_valid_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cases\.csv"):
        read(tmp_path / "nowhere", RejectedCases())
    with pytest.raises(UserError, match="missing columns: mask, density"):
        read(table(tmp_path, header="case,image,patient"), RejectedCases())
    with pytest.raises(UserError, match="the first line is empty"):
        read(table(tmp_path, header=""), RejectedCases())
    (tmp_path / "cases.csv").rename(tmp_path / "cases.xlsx")
    with pytest.raises(UserError, match=r"cases\.xlsx: spreadsheets are not read"):
        read(tmp_path, RejectedCases())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_raster_images_of_8_and_16_bits_keep_their_values(tmp_path: Path, suffix: str, dtype: type) -> None:
    values: np.ndarray = np.linspace(0, np.iinfo(dtype).max, 600).reshape(20, 30).astype(dtype)
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), values)
    np.testing.assert_array_equal(read_image(path)[0], values)


def test_grey_in_three_channels_is_accepted_and_colour_is_an_error(tmp_path: Path) -> None:
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    cv2.imwrite(str(tmp_path / "grey.png"), np.dstack([grey] * 3))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[0], grey)
    cv2.imwrite(str(tmp_path / "colour.png"), np.dstack([grey, grey, 255 - grey]))
    with pytest.raises(ImageReadError, match="colour"):
        read_image(tmp_path / "colour.png")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_an_invalid_image_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageReadError, match="empty, truncated or of another format"):
        read_image(tmp_path / "x.png")


def test_masks_of_all_encodings_are_binarised(tmp_path: Path) -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[8:24, 16:32] = 1
    encodings: dict[str, np.ndarray] = {
        "01.png": truth,
        "255.png": truth * 255,
        "16.tif": truth.astype(np.uint16) * 65535,
    }
    for name, values in encodings.items():
        cv2.imwrite(str(tmp_path / name), values)
        np.testing.assert_array_equal(read_masks([[tmp_path / name]], (40, 40)).mask, truth, err_msg=name)
    cv2.imwrite(str(tmp_path / "grey.jpg"), truth * 255)  # edges become grey
    assert (read_masks([[tmp_path / "grey.jpg"]], (40, 40)).mask != truth).sum() <= 4
    cv2.imwrite(str(tmp_path / "empty.png"), truth * 0)
    assert read_masks([[tmp_path / "empty.png"]], (40, 40)).mask.sum() == 0
    with pytest.raises(ImageReadError, match="the mask has 40x40 pixels, but the image has 30x20"):
        read_masks([[tmp_path / "01.png"]], (20, 30))


@pytest.mark.parametrize("mask", ["", "NaN", "n/a"])
def test_a_row_without_a_mask_is_an_image_without_a_mass_on_request(mask: str, tmp_path: Path) -> None:
    root, rejected = (
        table(tmp_path, f"a,a.png,{mask},p,1,,,,", "b,b.png,m.png,p,1,,,,", "c,c.png,m.png,q,1,,,,0"),
        RejectedCases(),
    )
    images = read(root, rejected, negatives=True)
    assert not rejected.rows
    assert [(image.case, image.masses, len(image.mask_candidates)) for image in images] == [
        ("a", 0, 0),
        ("b", 1, 1),
        ("c", 0, 1),
    ]


def test_a_row_with_masses_needs_a_mask(tmp_path: Path) -> None:
    rejected = RejectedCases()
    assert read(table(tmp_path, "a,a.png,,p,1,,,,2"), rejected, negatives=True) == []
    assert rejected.rows == [("cases.csv line 2", "masses must be 0 or blank in a row without a mask, got 2")]
