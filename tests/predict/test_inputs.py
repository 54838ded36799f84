"""Inputs of prediction: discovery of image files, unique output names, and rejection of unsuitable images."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import confidential_dicom
from mammoseg.errors import ImageReadError, UserError
from mammoseg.predict import dicom_seg
from mammoseg.predict.dicom_source import SourceImage
from mammoseg.predict.inputs import Input, find_images, output_names, read_input
from mammoseg.runs.prediction_folder import JOURNAL_FILE


def files(folder: Path, output: Path | None = None) -> list[str]:
    return [image.file for image in find_images(folder, output or folder / "output")]


def write_image(path: Path, pixels: np.ndarray) -> Input:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return Input(path, path.name)


def noise(dtype: type = np.uint8, shape: tuple[int, ...] = (90, 70)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def error_message(image: Input) -> str:
    with pytest.raises(ImageReadError) as caught:
        read_input(image)
    return str(caught.value)


def test_find_images_lists_all_images_below_a_folder(tmp_path: Path) -> None:
    for name in ("b/c/d.PNG", "a.tif", "z.jpeg", ".hidden.png", "notes.txt", "b/table.csv", "DICOMDIR"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"content")
    confidential_dicom.write(tmp_path / "b" / "1.2.840.10008.77")
    confidential_dicom.write(tmp_path / "b" / "IM00001")
    confidential_dicom.write(tmp_path / "DICOMDIR")
    write_image(tmp_path / "output" / "masks" / "a.png", noise())
    assert files(tmp_path) == ["a.tif", "b/1.2.840.10008.77", "b/IM00001", "b/c/d.PNG", "z.jpeg"]


def test_formats_and_special_files_of_a_folder(tmp_path: Path) -> None:
    """Every image file is listed, also in formats that are not read; named pipes are not opened."""
    write_image(tmp_path / "mdb001.pgm", noise())
    confidential_dicom.write(tmp_path / "b.dcm")
    for name in ("c.dcm.gz", "IM2"):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / "b.dcm").read_bytes()))
    write_image(tmp_path / "d.bmp", noise())
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"something" * 100))
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    assert files(tmp_path) == ["IM2", "b.dcm", "c.dcm.gz", "d.bmp", "mdb001.pgm", "pipe.png"]
    assert "not a regular file" in error_message(Input(tmp_path / "pipe.png", "pipe.png"))
    assert "format .bmp is not supported" in error_message(Input(tmp_path / "d.bmp", "d.bmp"))
    np.testing.assert_array_equal(read_input(Input(tmp_path / "mdb001.pgm", "mdb001.pgm"))[0], noise())
    names = output_names(["c.dcm.gz", "d.png.gz", "mdb001.pgm"], {})
    assert [*names.values()] == ["c", "d", "mdb001"]
    assert not Input(tmp_path / "d.bmp", "d.bmp").is_dicom
    assert Input(tmp_path / "c.dcm.gz", "c.dcm.gz").is_dicom


def test_only_unsupported_formats(tmp_path: Path) -> None:
    write_image(tmp_path / "d.bmp", noise())
    with pytest.raises(UserError, match="no images found"):
        files(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="must be an image or a folder, got a named pipe, socket or device"):
        files(tmp_path / "pipe")


def test_find_images_follows_links_once(tmp_path: Path) -> None:
    write_image(tmp_path / "real" / "a.png", noise())
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "input", target_is_directory=True)
    assert files(tmp_path / "input") == ["link/a.png"]


def test_invalid_input_or_output_folders_raise(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UserError, match="no images found"):
        files(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        files(tmp_path / "absent")
    with pytest.raises(UserError, match="must differ from the input folder"):
        files(tmp_path, tmp_path / ".")


def test_output_names_omit_unambiguous_suffixes() -> None:
    paths = ["a.dcm", "a.png", "b/a.dcm", "c.dcm", "C.png", "1.2.3", "1.2.4", "d.tar.dcm"]
    assert output_names(paths, {}) == {
        **{file: file for file in ("a.dcm", "a.png", "c.dcm", "C.png", "1.2.3", "1.2.4")},
        "b/a.dcm": "b/a",
        "d.tar.dcm": "d.tar",
    }


def test_existing_output_names_are_kept_and_not_reused() -> None:
    existing = {"a.dcm": "a", "removed.dcm": "removed"}
    assert output_names(["a.dcm", "a.png", "removed.png"], existing) == {
        "a.dcm": "a",
        "a.png": "a.png",
        "removed.png": "removed.png",
    }


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "A"]), st.lists(st.sampled_from([".dcm", ".png", ".x"])))))
def test_output_names_are_unique(parts: list[tuple[str, list[str]]]) -> None:
    files = sorted({stem + "".join(suffixes) for stem, suffixes in parts})
    existing = output_names(files[::2], {})
    names = output_names(files, existing)
    assert existing.items() <= names.items()
    assert len(set(names.values())) == len(files)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(suffix, dtype) for suffix in (".png", ".tif", ".tiff") for dtype in (np.uint8, np.uint16)] + [(".jpg", np.uint8)],
)
def test_raster_images_are_read_without_metadata(tmp_path: Path, suffix: str, dtype: type) -> None:
    pixels, metadata = read_input(write_image(tmp_path / f"a{suffix}", noise(dtype)))
    assert pixels.dtype == dtype
    assert metadata.view == metadata.side == ""
    assert metadata.spacing is None
    if suffix != ".jpg":
        np.testing.assert_array_equal(pixels, noise(dtype))


def test_a_dicom_image_has_view_side_and_spacing(tmp_path: Path) -> None:
    confidential_dicom.write(tmp_path / "IM1", ImageLaterality="R", ViewPosition="MLO")
    pixels, metadata = read_input(Input(tmp_path / "IM1", "IM1"))
    np.testing.assert_array_equal(pixels, confidential_dicom.phantom().pixels)
    assert (metadata.view, metadata.side) == ("MLO", "R")
    assert metadata.spacing is not None
    assert metadata.spacing.column == confidential_dicom.SPACING


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_white_is_zero_tiff_is_inverted(tmp_path: Path, dtype: type, byteorder: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    for photometric, expected in (("minisblack", noise(dtype)), ("miniswhite", np.iinfo(dtype).max - noise(dtype))):
        tifffile.imwrite(path, noise(dtype), photometric=photometric, byteorder=byteorder)
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
def test_an_implausible_image_is_an_error(tmp_path: Path, pixels: np.ndarray, expected: str) -> None:
    assert expected in error_message(write_image(tmp_path / "a.png", pixels))


def test_nan_pixels_are_an_error(tmp_path: Path) -> None:
    pixels = noise().astype(np.float32)
    pixels[3, 3] = np.nan
    assert "not a number" in error_message(write_image(tmp_path / "a.tiff", pixels))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.dcm"])
@pytest.mark.parametrize("fraction", [0, 0.3, 0.9])
def test_a_truncated_file_is_an_error_without_its_path(tmp_path: Path, name: str, fraction: float) -> None:
    path = tmp_path / name
    if name == "a.dcm":
        confidential_dicom.write(path)
    else:
        write_image(path, noise(shape=(200, 200)))
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    message = error_message(Input(path, name))
    assert "again" in message or "replace" in message
    assert str(tmp_path) not in message


def test_a_dicom_segmentation_is_an_error(tmp_path: Path) -> None:
    """The input folder may contain results of earlier predictions."""
    confidential_dicom.write(tmp_path / "a.dcm")
    mask = confidential_dicom.phantom().pixels > 2000
    source = SourceImage(tmp_path / "a.dcm", mask.shape, None)
    (tmp_path / "seg.dcm").write_bytes(dicom_seg.encode_segmentation(source, mask, serial="abc"))
    assert "Segmentation Storage, not a mammogram" in error_message(Input(tmp_path / "seg.dcm", "seg.dcm"))


def test_find_images_supports_file_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    path.write_bytes(write_image(tmp_path / "a.png", noise()).path.read_bytes())
    assert len(find_images(tmp_path, tmp_path / "output")) == 2


def test_find_images_skips_prediction_folders(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise())
    predictions = tmp_path / "predictions"
    write_image(predictions / "probabilities" / "a.png", noise())
    (predictions / JOURNAL_FILE).write_text("")
    assert files(tmp_path) == ["a.png"]
