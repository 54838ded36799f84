"""Image reader: detection of the format, pixel values and errors."""

from __future__ import annotations

import gzip
import struct
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from helpers import confidential_dicom
from mammoseg.data.dataset import build_dataset
from mammoseg.data.images.masks import read_masks
from mammoseg.data.images.read import read_image, read_metadata
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.errors import ImageReadError, UserError
from mammoseg.predict.inputs import Input, read_input


def grey(shape: tuple[int, int] = (90, 70), dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def write_tiff(path: Path, pixels: np.ndarray, photometric: int, tile: int | None = None) -> None:
    """Write an uncompressed little-endian TIFF with one strip or one square tile, of any pixel type."""
    bits, sample_format = 8 * pixels.dtype.itemsize, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    height, width = pixels.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: pixels.nbytes, 339: sample_format}
    if tile is not None:
        strips = (273, 278, 279)
        tags = {tag: value for tag, value in tags.items() if tag not in strips}
        tags = dict(sorted({**tags, 322: tile, 323: tile, 324: 8, 325: pixels.nbytes}.items()))
    entries = b"".join(struct.pack("<HHII", tag, 4 if value > 65535 else 3, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + pixels.nbytes) + pixels.tobytes() + directory)


@pytest.mark.parametrize("name", ["a.dcm", "a.DICOM", "IM00001", "1.2.840.10008.77"])
def test_dicom_files_of_any_name_are_read(tmp_path: Path, name: str) -> None:
    confidential_dicom.write(tmp_path / name, ImageLaterality="R", ViewPosition="CC")
    pixels, metadata = read_image(tmp_path / name)
    np.testing.assert_array_equal(pixels, confidential_dicom.phantom().pixels)
    assert (metadata.view, metadata.side) == ("CC", "R")
    assert read_metadata(tmp_path / name) == metadata


@pytest.mark.parametrize("read", [read_image, read_metadata])
def test_an_unsupported_format_is_an_error(tmp_path: Path, read: object) -> None:
    (tmp_path / "a.webp").write_bytes(b"RIFF" + bytes(200))
    with pytest.raises(ImageReadError, match=r"format \.webp is not supported"):
        read(tmp_path / "a.webp")  # type: ignore[operator]
    with pytest.raises(ImageReadError, match="no such file"):
        read(tmp_path / "a.png")  # type: ignore[operator]


@pytest.mark.parametrize("missing_bytes", [1, 2, 100, 2000])
def test_a_truncated_jpeg_is_an_error(tmp_path: Path, missing_bytes: int) -> None:
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), grey((200, 200)))
    path.write_bytes(path.read_bytes()[:-missing_bytes])
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(path)


def test_a_jpeg_has_the_values_of_opencv(tmp_path: Path) -> None:
    path = tmp_path / "a.jpeg"
    cv2.imwrite(str(path), grey())
    np.testing.assert_array_equal(read_image(path)[0], cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    path.write_bytes(path.read_bytes() + bytes(5000))  # written by some scanners after the end of the image
    np.testing.assert_array_equal(read_image(path)[0], cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".tif.gz"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_tag_is_an_error(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    content = BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    format_name = {".jpg": "JPEG", ".png": "PNG"}.get(suffix, "TIFF")
    Image.fromarray(grey()).save(content, format_name, exif=exif)
    path.write_bytes(gzip.compress(content.getvalue()) if suffix.endswith(".gz") else content.getvalue())
    with pytest.raises(ImageReadError, match=rf"orientation tag must be 1 \(as stored\), got {orientation}"):
        read_image(path)


def test_a_palette_mask_with_an_orientation_tag_is_an_error(tmp_path: Path) -> None:
    image = Image.fromarray(np.eye(80, dtype=np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    image.save(tmp_path / "m.png", exif=exif)
    with pytest.raises(ImageReadError, match="orientation tag"):
        read_masks([[tmp_path / "m.png"]], (80, 80))


def test_a_cmyk_jpeg_is_an_error(tmp_path: Path) -> None:
    ink = np.dstack([grey(), grey(), grey(), np.zeros_like(grey())])
    Image.fromarray(ink, "CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageReadError, match="1 or 3 components, got 4"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32, np.float32])
def test_a_white_is_zero_tiff_is_inverted(tmp_path: Path, dtype: type) -> None:
    values = np.arange(90 * 70).reshape(90, 70) % 251
    for name, photometric in (("black.tif", 1), ("white.tif", 0)):
        write_tiff(tmp_path / name, values.astype(dtype), photometric)
    black, white = (read_image(tmp_path / name)[0].astype(np.float64) for name in ("black.tif", "white.tif"))
    np.testing.assert_array_equal(white - white.min(), black.max() - black)


def test_a_damaged_image_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_tiff(tmp_path / "a.tif", grey((90, 70)).astype(np.float16), 1)
    with pytest.raises(ImageReadError, match=r"layout \(16-bit floats\)"):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


def test_the_layout_of_a_tiff_that_cannot_be_decoded_is_reported(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", grey((16, 16)), 1, tile=16)
    with pytest.raises(ImageReadError, match="8-bit unsigned integers, tiles of 16x16 pixels"):
        read_image(tmp_path / "a.tif")
    write_tiff(tmp_path / "b.tif", grey((90, 70)), 1)
    (tmp_path / "b.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:100])
    with pytest.raises(ImageReadError, match="empty, truncated or of another format"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_a_tiff_keeps_its_values(tmp_path: Path, dtype: type, compression: str | None) -> None:
    Image.fromarray(grey(dtype=dtype)).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], grey(dtype=dtype))


@pytest.fixture
def multi_page(tmp_path: Path) -> Path:
    path = tmp_path / "a.tif"
    assert cv2.imwritemulti(str(path), [grey(), grey()])
    return path


def test_a_multi_page_tiff_is_an_error_in_every_reader(multi_page: Path, tmp_path: Path) -> None:
    """Images and masks of the dataset and inputs of prediction share one reader."""
    reason = "2 pages; provide one mammogram per file"
    with pytest.raises(ImageReadError, match=reason):
        read_image(multi_page)
    with pytest.raises(ImageReadError, match=reason):
        read_masks([[multi_page]], (90, 70))
    with pytest.raises(ImageReadError, match=reason):
        read_input(Input(multi_page, "a.tif"))
    outline = np.array([[10.0, 10], [30, 10], [30, 40]])
    mammogram = Mammogram("a", multi_page, "p", density=1, outlines=(outline,))  # type: ignore[arg-type]
    dataset = build_dataset("d", str(tmp_path), lambda *_: [mammogram], size=32, store=str(tmp_path / "s"), workers=1)
    with pytest.raises(UserError, match=reason):
        dataset.open_store()
