"""Image reader for DICOM, PNG, TIFF, JPEG and PGM, shared by training and prediction."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from mammoseg.data.images.codestream import parse_jpeg
from mammoseg.data.images.float_precision import to_preprocessable
from mammoseg.data.images.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    JPEG_SUFFIXES,
    SUPPORTED,
    check_size,
    has_dicom_prefix,
    image_suffix,
    is_raster,
    open_decompressed,
    png_size,
    require_regular_file,
    signature_format,
    tiff_size,
)
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.images.pgm import decode_pgm
from mammoseg.errors import ImageReadError

__all__ = [
    "DICOM_SUFFIXES",
    "IMAGE_SUFFIXES",
    "JPEG_SUFFIXES",
    "has_dicom_prefix",
    "is_raster",
    "read_image",
    "read_metadata",
]

FORMATS = ["PNG", "JPEG", "TIFF"]  # whose metadata may contain an orientation
WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF tags
SAMPLE_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floats"}  # TIFF SampleFormat

# Unreadable files are reported in the table of rejected cases, not by OpenCV on stderr.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path: Path, *, mask: bool = False) -> tuple[NDArray[Any], ImageMetadata]:
    """Read a single-frame greyscale image.

    The format is determined by the suffix: `RASTER_SUFFIXES`, or DICOM for `DICOM_SUFFIXES`, files without a suffix and
    files named by a UID. A file with any other suffix is DICOM if it has "DICM" at byte 128. Files may be compressed
    with gzip.

    Args:
        path: The image file.
        mask: Whether the file is a mask. A mask in DICOM format may have any modality, and its padding is not changed.

    Returns:
        Pixels (H, W), where brighter is denser, and the metadata of the image. Wide types are converted by
        `to_preprocessable` unless the file is a mask.

    Raises:
        ImageReadError: If the file is missing, damaged, in colour, multi-page, too large, in an unsupported format, or
            a DICOM file of another modality.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "image.png"
        ...     _ = cv2.imwrite(str(path), np.full((3, 2), 1000, np.uint16))
        ...     pixels, metadata = read_image(path)
        >>> pixels.shape, pixels.dtype
        ((3, 2), dtype('uint16'))
    """
    require_regular_file(path)
    if is_raster(path):
        pixels = _read_raster(path)
        return pixels if mask else to_preprocessable(pixels), ImageMetadata()
    _require_dicom(path)
    from mammoseg.data.images import dicom  # lazy: importing pydicom is slow

    return dicom.read_image(path, mask=mask)


def read_metadata(path: Path) -> ImageMetadata:
    """Read the metadata that `read_image` returns, without decoding the pixels.

    Raises:
        ImageReadError: If the file is missing or its header cannot be read.
    """
    require_regular_file(path)
    if is_raster(path):
        return ImageMetadata()
    _require_dicom(path)
    from mammoseg.data.images import dicom

    return dicom.read_metadata(path)


def _require_dicom(path: Path) -> None:
    suffix = image_suffix(path)
    if suffix and suffix not in DICOM_SUFFIXES and not suffix[1:].isdigit() and not has_dicom_prefix(path):
        raise ImageReadError(f"format {suffix} is not supported; convert it to one of {SUPPORTED}")


def _read_raster(path: Path) -> NDArray[Any]:
    try:
        with open_decompressed(path) as file:
            content = file.read()
        pixels = _decode(content)
    except OSError as error:
        raise ImageReadError(f"cannot be read ({error.strerror}); check it or copy it again") from None
    except MemoryError:
        raise ImageReadError("not enough memory for the pixels; use fewer workers") from None
    if pixels is None:
        raise ImageReadError(_reason_not_decoded(content))
    if pixels.ndim == 3:
        channels = pixels[..., :3]
        if not (channels == channels[..., :1]).all():
            raise ImageReadError("a colour image; a mammogram is greyscale")
        pixels = np.ascontiguousarray(channels[..., 0])
    kind = signature_format(content)
    if kind != "pgm":
        check_orientation(content)
    return _check_tiff(pixels, content) if kind == "tiff" else pixels


def _reason_not_decoded(content: bytes) -> str:
    """Return why a file cannot be decoded; OpenCV supports neither 16-bit floats nor small tiles."""
    pages = _tiff_pages(content) if signature_format(content) == "tiff" else []
    if not pages or TiffImagePlugin.IMAGEWIDTH not in pages[0]:
        return "the image is empty, truncated or of another format; copy it again"
    bits = pages[0].get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
    sample_format = pages[0].get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0]
    kind = SAMPLE_FORMATS.get(sample_format, "values")
    tile = f", tiles of {pages[0][TILE_WIDTH]}x{pages[0][TILE_LENGTH]} pixels" if TILE_WIDTH in pages[0] else ""
    return (
        f"the TIFF is damaged, or cannot be decoded with its layout ({bits}-bit {kind}{tile}); export it again as PNG "
        "or as TIFF with 8- or 16-bit integers or 32-bit floats, without tiles"
    )


def _decode(content: bytes) -> NDArray[Any] | None:
    """Decode a file by its signature, after checking the size in its header."""
    kind = signature_format(content)
    if kind == "jpeg":
        return _decode_jpeg(content)
    if kind == "pgm":
        return decode_pgm(content)
    if kind is None or (size := png_size(content) if kind == "png" else tiff_size(content)) is None:
        return None
    check_size(*size)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise MemoryError from None
        return None


def _decode_jpeg(content: bytes) -> NDArray[Any] | None:
    """Decode with Pillow, since OpenCV fills the missing part of a truncated JPEG with grey."""
    stream = parse_jpeg(content)
    if stream is None:
        return None
    check_size(stream.height, stream.width)
    if stream.bits != 8:
        raise ImageReadError(f"a JPEG must have 8 bits per pixel, got {stream.bits}; convert it to PNG or TIFF")
    if stream.components not in (1, 3):
        raise ImageReadError(
            f"a JPEG must have 1 or 3 components, got {stream.components} (CMYK); export the image as greyscale"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size was checked above
            with Image.open(BytesIO(content), formats=["JPEG"]) as image:
                return np.asarray(image)
    except Image.DecompressionBombError:
        raise ImageReadError(
            f"too large, got {stream.width}x{stream.height} pixels; convert it to PNG or TIFF"
        ) from None
    except (OSError, SyntaxError):
        return None


def check_orientation(content: bytes) -> None:
    """Check that the metadata of a PNG, JPEG or TIFF do not rotate or mirror the image.

    Programs disagree on whether they apply this tag, so the mask may have been drawn on the rotated or on the stored
    image.

    Raises:
        ImageReadError: If they do.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(content), formats=FORMATS) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error, Image.DecompressionBombError):
        return  # damaged metadata, or a pixel format that Pillow does not support
    if orientation in range(2, 9):
        raise ImageReadError(
            f"the orientation tag must be 1 (as stored), got {orientation}; rotate the pixels and export it again"
        )


def _check_tiff(pixels: NDArray[Any], content: bytes) -> NDArray[Any]:
    """Invert a WhiteIsZero TIFF, except if it has 8 bits, since OpenCV already inverts these.

    Raises:
        ImageReadError: If the file has several pages.
    """
    pages = _tiff_pages(content)
    if len(pages) > 1:
        raise ImageReadError(f"{len(pages)} pages; provide one mammogram per file")
    if not pages or pages[0].get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) != WHITE_IS_ZERO:
        return pixels
    if pixels.dtype == np.uint8:
        return pixels
    # For integers, the complement of all bits exchanges minimum and maximum of the type, signed or not.
    return np.asarray(pixels.max() - pixels if pixels.dtype.kind == "f" else ~pixels)


def _tiff_pages(content: bytes) -> list[TiffImagePlugin.ImageFileDirectory_v2]:
    """Return the image file directories up to the first damaged one, since OpenCV's decoder tolerates damage.

    `PIL.Image.open` is not used because it rejects pixel formats that Pillow cannot decode.
    """
    pages: list[TiffImagePlugin.ImageFileDirectory_v2] = []
    offsets: set[int] = set()
    try:
        with BytesIO(content) as file, warnings.catch_warnings():
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
