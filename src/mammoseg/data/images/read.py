"""Image reader for DICOM, PNG, TIFF and JPEG, shared by training and prediction."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.errors import ImageReadError

DICOM_SUFFIXES = (".dcm", ".dicom")
TIFF_SUFFIXES = (".tif", ".tiff")
JPEG_SUFFIXES = (".jpg", ".jpeg")
RASTER_SUFFIXES = (".png", *TIFF_SUFFIXES, *JPEG_SUFFIXES)
IMAGE_SUFFIXES = (*RASTER_SUFFIXES, *DICOM_SUFFIXES)
DICOM_PREFIX_OFFSET = 128  # bytes of preamble before "DICM"
WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation

# Unreadable files are reported in the table of rejected cases, not by OpenCV on stderr.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


def read_image(path: Path) -> tuple[NDArray[Any], ImageMetadata]:
    """Read a single-frame greyscale image.

    The format is determined by the suffix: `RASTER_SUFFIXES`, or DICOM for `DICOM_SUFFIXES` and files without a suffix.
    A file with any other suffix is DICOM if it has "DICM" at byte 128, since DICOM files are often named by a UID.

    Args:
        path: The image file.

    Returns:
        Pixels (H, W), where brighter is denser, and the metadata of the image.

    Raises:
        ImageReadError: If the file is missing, damaged, in colour, multi-page, or in an unsupported format.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "image.png"
        ...     _ = cv2.imwrite(str(path), np.full((3, 2), 1000, np.uint16))
        ...     pixels, metadata = read_image(path)
        >>> pixels.shape, pixels.dtype
        ((3, 2), dtype('uint16'))
    """
    if not _exists(path):
        raise ImageReadError("no such file")
    if is_raster(path):
        return _read_raster(path), ImageMetadata()
    _require_dicom(path)
    from mammoseg.data.images import dicom  # lazy: importing pydicom is slow

    return dicom.read_image(path)


def read_metadata(path: Path) -> ImageMetadata:
    """Read the metadata that `read_image` returns, without decoding the pixels.

    Raises:
        ImageReadError: If the file is missing or its header cannot be read.
    """
    if not _exists(path):
        raise ImageReadError("no such file")
    if is_raster(path):
        return ImageMetadata()
    _require_dicom(path)
    from mammoseg.data.images import dicom

    return dicom.read_metadata(path)


def is_raster(path: Path) -> bool:
    """Return whether the file has the suffix of a PNG, TIFF or JPEG."""
    return path.suffix.lower() in RASTER_SUFFIXES


def has_dicom_prefix(path: Path) -> bool:
    """Return whether the file has "DICM" after a preamble of 128 bytes; False if it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(DICOM_PREFIX_OFFSET + 4)[DICOM_PREFIX_OFFSET:] == b"DICM"
    except OSError:
        return False


def _require_dicom(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix and suffix not in DICOM_SUFFIXES and not has_dicom_prefix(path):
        raise ImageReadError(f"format {suffix} is not supported; convert it to one of {' '.join(IMAGE_SUFFIXES)}")


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # the name is too long or contains a null byte
        return False


def _read_raster(path: Path) -> NDArray[Any]:
    try:
        pixels = _decode_jpeg(path) if path.suffix.lower() in JPEG_SUFFIXES else _decode_with_opencv(path)
    except OSError as error:
        raise ImageReadError(f"cannot be read ({error.strerror}); check it or copy it again") from None
    if pixels is None:
        raise ImageReadError("the image is empty, truncated or of another format; copy it again")
    if pixels.ndim == 3:
        channels = pixels[..., :3]
        if not (channels == channels[..., :1]).all():
            raise ImageReadError("a colour image; a mammogram is greyscale")
        pixels = np.ascontiguousarray(channels[..., 0])
    return _check_tiff(pixels, path) if path.suffix.lower() in TIFF_SUFFIXES else pixels


def _decode_with_opencv(path: Path) -> NDArray[Any] | None:
    encoded = np.fromfile(path, np.uint8)
    try:
        return cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    except cv2.error:  # the number of pixels in the header is implausible
        return None


def _decode_jpeg(path: Path) -> NDArray[Any] | None:
    """Decode with Pillow, since OpenCV fills the missing part of a truncated JPEG with grey."""
    with path.open("rb") as file:
        try:
            with Image.open(file, formats=["JPEG"]) as image:
                return np.asarray(image)
        except (OSError, SyntaxError, Image.DecompressionBombError):
            return None


def _check_tiff(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """Invert a 16-bit WhiteIsZero TIFF; OpenCV already inverts 8-bit ones.

    Raises:
        ImageReadError: If the file has several pages.
    """
    pages = _tiff_pages(path)
    if len(pages) > 1:
        raise ImageReadError(f"{len(pages)} pages; provide one mammogram per file")
    if (
        pixels.dtype == np.uint16
        and pages
        and pages[0].get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
    ):
        return np.asarray(np.iinfo(np.uint16).max - pixels)
    return pixels


def _tiff_pages(path: Path) -> list[TiffImagePlugin.ImageFileDirectory_v2]:
    """Return the image file directories up to the first damaged one, since OpenCV's decoder tolerates damage.

    `PIL.Image.open` is not used because it rejects pixel formats that Pillow cannot decode.
    """
    pages: list[TiffImagePlugin.ImageFileDirectory_v2] = []
    offsets: set[int] = set()
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about metadata that is not used
            header = file.read(8)
            header += file.read(8) if header[2:3] == b"\x2b" else b""  # BigTIFF
            offset = TiffImagePlugin.ImageFileDirectory_v2(header).next
            while offset and offset not in offsets:  # directories may form a cycle
                offsets.add(offset)
                page = TiffImagePlugin.ImageFileDirectory_v2(header)
                file.seek(offset)
                page.load(file)
                pages.append(page)
                offset = page.next
    except (SyntaxError, OSError, ValueError, struct.error):
        return pages
    return pages
