"""Anybody's folder: every column told if wrong, every picture format read."""

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

HEADING = "case,image,mask,patient,density,side,view,split,masses"


def table(root: Path, *rows: str, heading: str = HEADING, ending: str = "\n") -> Path:
    (root / "cases.csv").write_bytes(ending.join([heading, *rows, ""]).encode())
    return root


def test_rows_become_mammograms(tmp_path: Path) -> None:
    bad = RejectedCases()
    (only,) = read(table(tmp_path, "a,i/a.png,m/a.png,p1,3,LEFT,mlo,train,2", ending="\r\n"), bad)
    assert not bad.rows
    assert (only.case, only.patient, only.density, only.side, only.view) == ("a", "p1", 3, "L", "MLO")
    assert (only.split, only.masses) == ("train", 2)
    assert (only.image_file, only.mask_candidates) == (tmp_path / "i" / "a.png", ((tmp_path / "m" / "a.png",),))


def test_a_byte_order_mark_and_the_required_columns_alone_are_enough(tmp_path: Path) -> None:
    heading = "\ufeffcase,image,mask,patient,density"
    (only,) = read(table(tmp_path, "a,a.png,b.png,p,", heading=heading), RejectedCases())
    assert (only.density, only.side, only.split, only.masses) == (None, "", "", 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (",a.png,b.png,p,1,,,,", "case is blank"),
        ("a,,b.png,p,1,,,,", "image is blank"),
        ("a,a.png,b.png,,1,,,,", "patient is blank"),
        ("a,a.png,b.png,p,0,,,,", "density 0 is no ACR category"),
        ("a,a.png,b.png,p,dense,,,,", "density dense"),
        ("a,a.png,b.png,p,1,,,training,", "split training"),
        ("a,a.png,b.png,p,1,,,,many", "many"),
        ("a,a.png", "blank"),
    ],
)
def test_a_wrong_row_is_told_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    bad = RejectedCases()
    found = read(table(tmp_path, "fine,a.png,b.png,p,1,,,,", row), bad)
    assert [mammogram.case for mammogram in found] == ["fine"]
    ((place, reason),) = bad.rows
    assert place == "cases.csv line 3"
    assert said in reason


def test_a_case_named_twice_is_told(tmp_path: Path) -> None:
    bad = RejectedCases()
    assert len(read(table(tmp_path, "a,a.png,b.png,p,1,,,,", "a,c.png,d.png,q,2,,,,"), bad)) == 1
    assert "a stands in an earlier line" in bad.rows[0][1]


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cases\.csv"):
        read(tmp_path / "nowhere", RejectedCases())
    with pytest.raises(UserError, match="mask, density are missing"):
        read(table(tmp_path, heading="case,image,patient"), RejectedCases())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_of_8_and_16_bits_keep_their_values(tmp_path: Path, suffix: str, kind: type) -> None:
    values: np.ndarray = np.linspace(0, np.iinfo(kind).max, 600).reshape(20, 30).astype(kind)
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), values)
    np.testing.assert_array_equal(read_image(path)[0], values)


def test_grey_in_three_channels_is_read_and_colour_is_refused(tmp_path: Path) -> None:
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    cv2.imwrite(str(tmp_path / "grey.png"), np.dstack([grey] * 3))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[0], grey)
    cv2.imwrite(str(tmp_path / "colour.png"), np.dstack([grey, grey, 255 - grey]))
    with pytest.raises(ImageReadError, match="colour"):
        read_image(tmp_path / "colour.png")


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageReadError, match="empty, truncated or of another format"):
        read_image(tmp_path / "x.png")
    with pytest.raises(ImageReadError, match="no such file"):
        read_image(tmp_path / "y.png")
    (tmp_path / "x.webp").write_bytes(content)
    with pytest.raises(ImageReadError, match=r"\.webp is not supported"):
        read_image(tmp_path / "x.webp")


def test_masks_of_any_coding(tmp_path: Path) -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[8:24, 16:32] = 1
    codings: dict[str, np.ndarray] = {
        "01.png": truth,
        "255.png": truth * 255,
        "16.tif": truth.astype(np.uint16) * 65535,
    }
    for name, values in codings.items():
        cv2.imwrite(str(tmp_path / name), values)
        np.testing.assert_array_equal(read_masks([[tmp_path / name]], (40, 40))[0], truth, err_msg=name)
    cv2.imwrite(str(tmp_path / "grey.jpg"), truth * 255)  # edges turn grey
    assert (read_masks([[tmp_path / "grey.jpg"]], (40, 40))[0] != truth).sum() <= 4
    cv2.imwrite(str(tmp_path / "empty.png"), truth * 0)
    assert read_masks([[tmp_path / "empty.png"]], (40, 40))[0].sum() == 0
    with pytest.raises(ImageReadError, match="the mask is 40x40 pixels, its image 30x20"):
        read_masks([[tmp_path / "01.png"]], (20, 30))
