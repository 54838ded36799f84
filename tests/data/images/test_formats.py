"""Formats: gzip, PGM, files named by a UID, special files and the limit on the number of pixels."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from helpers import confidential_dicom
from helpers.inbreast_files import dicom, save
from mammoseg.data.images import formats
from mammoseg.data.images.formats import has_dicom_prefix, tiff_size
from mammoseg.data.images.read import read_image, read_metadata
from mammoseg.errors import ImageReadError


def grey(dtype: type = np.uint8, shape: tuple[int, int] = (90, 70)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def message(path: Path) -> str:
    with pytest.raises(ImageReadError) as raised:
        read_image(path)
    return str(raised.value)


@pytest.mark.parametrize("name", ["a.dcm.gz", "IM1.gz", "IM1", "a.dcm", "1.2.840.77.gz"])
def test_dicom_in_gzip(tmp_path: Path, name: str) -> None:
    confidential_dicom.write(tmp_path / "a", ImageLaterality="R")
    path = tmp_path / name
    path.write_bytes(gzip.compress((tmp_path / "a").read_bytes()))
    assert has_dicom_prefix(path)
    pixels, metadata = read_image(path)
    np.testing.assert_array_equal(pixels, confidential_dicom.phantom().pixels)
    assert metadata.side == "R"
    assert read_metadata(path) == metadata
    path.write_bytes(path.read_bytes()[:-5000])
    assert "gzip file is truncated or damaged" in message(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".pgm"])
def test_other_formats_in_gzip(tmp_path: Path, suffix: str) -> None:
    plain, compressed = tmp_path / f"a{suffix}", tmp_path / f"a{suffix}.gz"
    assert cv2.imwrite(str(plain), grey())
    compressed.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(read_image(compressed)[0], read_image(plain)[0])


def test_a_gzip_bomb_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_DECOMPRESSED_BYTES", 10**5)
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(bytes(10**6)))
    assert "at most 100000 bytes, got more" in message(tmp_path / "a.dcm.gz")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("signature", ["P5", "P2"])
def test_pgm(tmp_path: Path, dtype: type, signature: str) -> None:
    """As written by other software, with comments."""
    pixels = grey(dtype)
    binary = signature == "P5"
    content = pixels.astype(f">u{pixels.itemsize}").tobytes() if binary else " ".join(map(str, pixels.ravel())).encode()
    header = f"{signature}\n# mdb001\n{pixels.shape[1]} {pixels.shape[0]}\n{np.iinfo(dtype).max}\n".encode()
    path = tmp_path / "mdb001.pgm"
    path.write_bytes(header + content)
    read = read_image(path)[0]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)
    np.testing.assert_array_equal(read, np.asarray(Image.open(path)))
    path.write_bytes((header + content)[:-9])
    if binary:
        assert "truncated" in message(path)


def test_invalid_pgm(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    for content, expected in (
        (b"P5 2 2 255 abcdP5 2 2 255 abcd", "several images"),
        (b"P5 2 2 70000 " + bytes(16), "between 1 and 65535, got 70000"),
        (b"P5 100000 100000 255 a", "got 100000x100000"),
        (b"P2 2 2 255 1 2 3 x", "truncated or of another format"),
        (b"P2 2 2 255 1 2 3 300", "truncated or of another format"),
        (b"P6 2 2 255 " + bytes(12), "truncated or of another format"),
        (b"P5 two", "truncated or of another format"),
    ):
        path.write_bytes(content)
        assert expected in message(path)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_named_by_a_uid_without_preamble(tmp_path: Path, implicit: bool) -> None:
    path = tmp_path / "1.2.840.113619.5"
    header = pydicom.Dataset(dicom(grey(np.uint16)))
    header.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert has_dicom_prefix(path)
    np.testing.assert_array_equal(read_image(path)[0], grey(np.uint16))


def test_text_is_not_dicom(tmp_path: Path) -> None:
    for content in (b"case,image\n" * 50, bytes(500), b"\x08\0\x05", b"\x1f\x8b" + bytes(300)):
        (tmp_path / "notes").write_bytes(content)
        assert not has_dicom_prefix(tmp_path / "notes")


@pytest.mark.parametrize("name", ["pipe.png", "pipe.dcm", "pipe", "pipe.x"])
def test_special_files_are_not_opened(tmp_path: Path, name: str) -> None:
    """Opening a named pipe would block until another process writes to it."""
    os.mkfifo(tmp_path / name)
    assert "not a regular file" in message(tmp_path / name)
    assert not has_dicom_prefix(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / name)
    assert not has_dicom_prefix(tmp_path / "link")
    (tmp_path / "folder.png").mkdir()
    assert "not a regular file" in message(tmp_path / "folder.png")


def large_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")


def large_tiff(width: int, height: int, order: str, big: bool) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    if big:
        start = struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, len(tags))
        entries = b"".join(
            struct.pack(f"{order}HHQ", tag, kind, 1) + value_of(kind, value, order, 8) for tag, kind, value in tags
        )
    else:
        start = struct.pack(f"{order}HIH", 42, 8, len(tags))
        entries = b"".join(
            struct.pack(f"{order}HHI", tag, kind, 1) + value_of(kind, value, order, 4) for tag, kind, value in tags
        )
    return (b"II" if order == "<" else b"MM") + start + entries + bytes(8)


def value_of(kind: int, value: int, order: str, size: int) -> bytes:
    return struct.pack(f"{order}{'H' if kind == 3 else 'I'}", value).ljust(size, b"\0")


def large_jpeg(width: int, height: int) -> bytes:
    content = bytearray(cv2.imencode(".jpg", grey())[1].tobytes())
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("size", [(30000, 30000), (1, 0), (200_000_001, 1)])
@pytest.mark.parametrize("kind", ["png", "<tif", ">tif", "<bigtiff", ">bigtiff", "jpg", "pgm", "dcm"])
def test_the_limit_of_pixels_applies_to_every_format(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    width, height = size
    path = tmp_path / "a.dcm" if kind == "dcm" else tmp_path / "a.png"  # the format is determined by the content
    if kind in ("jpg", "dcm") and max(size) > 65535:
        pytest.skip("the format does not allow this size")
    if kind == "dcm":
        save(dicom(grey(), Rows=height, Columns=width), path)
    elif kind == "pgm":
        path.write_bytes(f"P5 {width} {height} 255 ".encode())
    elif kind in ("png", "jpg"):
        path.write_bytes(large_png(*size) if kind == "png" else large_jpeg(*size))
    else:
        path.write_bytes(large_tiff(width, height, kind[0], "big" in kind))
    assert f"between 1 and 200 million pixels, got {width}x{height}" in message(path)


def test_the_size_of_a_tiff_is_that_of_other_readers(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for big in (False, True):
        for order in "<>":
            tifffile.imwrite(tmp_path / "a.tif", grey(np.uint16), bigtiff=big, byteorder=order)
            assert tiff_size((tmp_path / "a.tif").read_bytes()) == (90, 70)
            np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], grey(np.uint16))


def test_an_image_with_the_suffix_of_another_format(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", grey())[1].tobytes()
    (tmp_path / "a.png").write_bytes(jpeg)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], cv2.imread(str(tmp_path / "a.png"), -1))
    (tmp_path / "a.png").write_bytes(jpeg[:-100])
    assert "truncated" in message(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(cv2.imencode(".bmp", grey())[1].tobytes())
    assert "of another format" in message(tmp_path / "a.png")


def test_lack_of_memory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mammoseg.data.images.read.cv2.imdecode", fail)
    monkeypatch.setattr("mammoseg.data.images.dicom.decode", fail)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", grey())[1].tobytes())
    save(dicom(grey()), tmp_path / "a.dcm")
    assert "not enough memory" in message(tmp_path / "a.png")
    assert "not enough memory for 70x90 pixels" in message(tmp_path / "a.dcm")
