"""Every image of a folder is found once, whatever it is called, and what cannot be a mammogram is told."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import cv2
import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammoseg.errors import ImageReadError, UserError
from mammoseg.predict.inputs import Input, find_images, output_names, read_input
from mammoseg.runs.prediction_folder import JOURNAL_FILE


def files(folder: Path, output: Path | None = None) -> list[str]:
    return [image.file for image in find_images(folder, output or folder / "output")]


def picture(path: Path, pixels: np.ndarray) -> Input:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return Input(path, path.name)


def noise(kind: type = np.uint8, shape: tuple[int, ...] = (90, 70)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)


def reason(image: Input) -> str:
    with pytest.raises(ImageReadError) as caught:
        read_input(image)
    return str(caught.value)


def test_a_folder_is_walked(tmp_path: Path) -> None:
    for name in ("b/c/d.PNG", "a.tif", "z.jpeg", ".hidden.png", "notes.txt", "b/table.csv", "DICOMDIR"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    planted.write(tmp_path / "b" / "1.2.840.10008.77")
    planted.write(tmp_path / "b" / "IM00001")
    planted.write(tmp_path / "DICOMDIR")
    picture(tmp_path / "output" / "masks" / "a.png", noise())
    assert files(tmp_path) == ["a.tif", "b/1.2.840.10008.77", "b/IM00001", "b/c/d.PNG", "z.jpeg"]


def test_formats_and_special_files_of_a_folder(tmp_path: Path) -> None:
    """Every image file is listed, also in formats that are not read; named pipes are not opened."""
    picture(tmp_path / "mdb001.pgm", noise())
    planted.write(tmp_path / "b.dcm")
    for name in ("c.dcm.gz", "IM2"):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / "b.dcm").read_bytes()))
    picture(tmp_path / "d.bmp", noise())
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"something" * 100))
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    assert files(tmp_path) == ["IM2", "b.dcm", "c.dcm.gz", "d.bmp", "mdb001.pgm", "pipe.png"]
    assert "not a regular file" in reason(Input(tmp_path / "pipe.png", "pipe.png"))
    assert "format .bmp is not supported" in reason(Input(tmp_path / "d.bmp", "d.bmp"))
    np.testing.assert_array_equal(read_input(Input(tmp_path / "mdb001.pgm", "mdb001.pgm"))[0], noise())
    names = output_names(["c.dcm.gz", "d.png.gz", "mdb001.pgm"], {})
    assert [*names.values()] == ["c", "d", "mdb001"]
    assert not Input(tmp_path / "d.bmp", "d.bmp").is_dicom
    assert Input(tmp_path / "c.dcm.gz", "c.dcm.gz").is_dicom


def test_only_unsupported_formats(tmp_path: Path) -> None:
    picture(tmp_path / "d.bmp", noise())
    with pytest.raises(UserError, match="no images found"):
        files(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="must be an image or a folder, got a named pipe, socket or device"):
        files(tmp_path / "pipe")


def test_links_lead_on_and_not_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "real" / "a.png", noise())
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "there").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "back").symlink_to(tmp_path / "given", target_is_directory=True)
    assert files(tmp_path / "given") == ["there/a.png"]


def test_a_folder_without_images_and_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UserError, match="no images found"):
        files(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        files(tmp_path / "absent")
    with pytest.raises(UserError, match="must differ from the input folder"):
        files(tmp_path, tmp_path / ".")


def test_names_are_short_where_they_can_be() -> None:
    given = ["a.dcm", "a.png", "b/a.dcm", "c.dcm", "C.png", "1.2.3", "1.2.4", "d.tar.dcm"]
    assert output_names(given, {}) == {
        **{file: file for file in ("a.dcm", "a.png", "c.dcm", "C.png", "1.2.3", "1.2.4")},
        "b/a.dcm": "b/a",
        "d.tar.dcm": "d.tar",
    }


def test_names_of_before_stay_and_are_given_to_nobody_else() -> None:
    before = {"a.dcm": "a", "gone.dcm": "gone"}
    assert output_names(["a.dcm", "a.png", "gone.png"], before) == {
        "a.dcm": "a",
        "a.png": "a.png",
        "gone.png": "gone.png",
    }


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "A"]), st.lists(st.sampled_from([".dcm", ".png", ".x"])))))
def test_no_two_files_share_a_name(parts: list[tuple[str, list[str]]]) -> None:
    files = sorted({stem + "".join(suffixes) for stem, suffixes in parts})
    first = output_names(files[::2], {})
    later = output_names(files, first)
    assert first.items() <= later.items()
    assert len(set(later.values())) == len(files)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".jpg"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_are_read(tmp_path: Path, suffix: str, kind: type) -> None:
    if suffix == ".jpg" and kind == np.uint16:
        return
    pixels, metadata = read_input(picture(tmp_path / f"a{suffix}", noise(kind)))
    assert pixels.dtype == kind
    assert metadata.view == metadata.side == ""
    assert metadata.spacing is None
    if suffix != ".jpg":
        np.testing.assert_array_equal(pixels, noise(kind))


def test_a_dicom_has_metadata(tmp_path: Path) -> None:
    planted.write(tmp_path / "IM1", ImageLaterality="R", ViewPosition="MLO")
    pixels, metadata = read_input(Input(tmp_path / "IM1", "IM1"))
    np.testing.assert_array_equal(pixels, planted.phantom().pixels)
    assert (metadata.view, metadata.side) == ("MLO", "R")
    assert metadata.spacing is not None
    assert metadata.spacing.column == planted.SPACING


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_which_white_is_zero_is_inverted(tmp_path: Path, kind: type, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    for photometric, expected in (("minisblack", noise(kind)), ("miniswhite", np.iinfo(kind).max - noise(kind))):
        tifffile.imwrite(path, noise(kind), photometric=photometric, byteorder=order)
        np.testing.assert_array_equal(read_input(Input(path, "a.tif"))[0], expected)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (noise(shape=(63, 500)), "only 500x63 pixels"),
        (np.full((90, 70), 7, np.uint16), "the same grey value"),
        (noise(shape=(90, 70, 3)), "a colour image"),
        (np.where(noise() > 100, 255, 0).astype(np.uint8), "only 2 grey values"),
    ],
)
def test_what_cannot_be_a_mammogram(tmp_path: Path, pixels: np.ndarray, expected: str) -> None:
    assert expected in reason(picture(tmp_path / "a.png", pixels))


def test_what_is_not_a_number(tmp_path: Path) -> None:
    pixels = noise().astype(np.float32)
    pixels[3, 3] = np.nan
    assert "not a number" in reason(picture(tmp_path / "a.tiff", pixels))


def test_several_pages(tmp_path: Path) -> None:
    assert cv2.imwritemulti(str(tmp_path / "a.tif"), [noise(), noise()])
    assert "2 pages" in reason(Input(tmp_path / "a.tif", "a.tif"))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.dcm"])
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_empty_and_cut_off(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if name == "a.dcm":
        planted.write(path)
    else:
        picture(path, noise(shape=(200, 200)))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    message = reason(Input(path, name))
    assert "again" in message or "replace" in message
    assert str(tmp_path) not in message


def test_a_segmentation_is_not_taken_for_a_mammogram(tmp_path: Path) -> None:
    """Somebody's earlier results may lie among the images."""
    dicom_seg = pytest.importorskip("mammoseg.predict.dicom_seg")
    pytest.importorskip("highdicom")
    planted.write(tmp_path / "a.dcm")
    mask = planted.phantom().pixels > 2000
    (tmp_path / "seg.dcm").write_bytes(dicom_seg.encode_segmentation(tmp_path / "a.dcm", mask, None, serial="abc"))
    assert "Segmentation Storage, not a mammogram" in reason(Input(tmp_path / "seg.dcm", "seg.dcm"))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    path.write_bytes(picture(tmp_path / "a.png", noise()).path.read_bytes())
    assert len(find_images(tmp_path, tmp_path / "output")) == 2


def test_what_an_earlier_call_predicted_is_no_mammogram(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", noise())
    before = tmp_path / "predicted"
    picture(before / "probabilities" / "a.png", noise())
    (before / JOURNAL_FILE).write_text("")
    assert files(tmp_path) == ["a.png"]
