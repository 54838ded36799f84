"""DICOM reader. Free text in headers may identify the patient and is never returned, logged or quoted in errors.

`read.py` imports this module lazily, because importing pydicom is slow.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian
from pydicom.uid import UID_dictionary as STANDARD_UIDS

from mammoseg.data.images.dicom_metadata import METADATA_TAGS, float_attribute, parse_metadata
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.errors import ImageReadError
from mammoseg.terminal import suppress_logs_and_warnings

# Only these attributes are parsed; attributes of the patient are never read.
PIXEL_TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "PixelData",
]
TAGS = [*PIXEL_TAGS, *METADATA_TAGS]
REQUIRED_ATTRIBUTES = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")
MAX_PIXELS = 200_000_000  # digitised films have up to about 40 million; a larger number indicates a damaged header
CODECS_INSTALL_HINT = "pip install '.[codecs]'"
CODEC_MODULES = ("gdcm", "pylibjpeg", "openjpeg")  # installed by the extra


def read_image(path: Path) -> tuple[NDArray[Any], ImageMetadata]:
    """Read a single-frame greyscale DICOM image.

    Rescale Slope and Rescale Intercept are applied if they are not 1 and 0; the result is then float32. MONOCHROME1
    images are inverted (maximum of the range minus value). Window levels, lookup tables and Pixel Padding Value are
    ignored.

    Args:
        path: The DICOM file.

    Returns:
        Pixels (H, W) at full resolution as uint8, uint16, int32 or float32, where brighter is denser, and the metadata.

    Raises:
        ImageReadError: If the file is not a single greyscale image or cannot be decoded.
    """
    with suppress_header_text():
        header = read_header(path)
        try:
            validate_header(header)
            return to_monochrome2(decode(header), header), parse_metadata(header)
        except ImageReadError:
            raise
        except Exception:
            # pydicom raises many exception types for damaged files; `from None`, since their messages quote the header.
            raise ImageReadError("the header or the pixel data is damaged; copy the file again") from None


def read_metadata(path: Path) -> ImageMetadata:
    """Read view position, laterality and pixel spacing without decoding the pixels.

    Raises:
        ImageReadError: If the header cannot be read.
    """
    with suppress_header_text():
        header = read_header(path)
        try:
            return parse_metadata(header)
        except Exception:
            raise ImageReadError("the header is damaged; copy the file again") from None


def suppress_header_text() -> AbstractContextManager[None]:
    """Silence pydicom and highdicom, whose warnings and log messages may quote patient names."""
    return suppress_logs_and_warnings("pydicom", "highdicom")


def read_header(path: Path) -> FileDataset:
    """Read the attributes in `TAGS`; a missing Transfer Syntax UID is inferred from the byte order.

    Raises:
        ImageReadError: If the file is empty, cannot be opened or is not DICOM.
    """
    try:
        if path.stat().st_size == 0:
            raise ImageReadError("the file is empty; copy it again")
        # force: some exports lack the preamble and the "DICM" prefix.
        header = pydicom.dcmread(path, force=True, specific_tags=list(TAGS))
    except OSError as error:
        raise ImageReadError(
            f"cannot be read ({error.strerror or 'unexpected end of file'}); check it or copy it again"
        ) from None
    except ImageReadError:
        raise
    except Exception:
        raise ImageReadError("not a DICOM file, or truncated in its header; copy it again") from None
    if header.preamble is None and not any(name in header for name in REQUIRED_ATTRIBUTES):
        raise ImageReadError("not a DICOM file; replace it with the original")
    if "TransferSyntaxUID" not in header.file_meta:
        little = header.original_encoding[1]
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return header


def validate_header(header: FileDataset) -> None:
    """Check that the file contains one complete greyscale frame of plausible size, and that its decoder is installed.

    Raises:
        ImageReadError: If any of these does not hold.
    """
    if "PixelData" not in header or not header.PixelData:
        raise ImageReadError("no pixel data: truncated, or not an image; copy the file again")
    if missing := [name for name in REQUIRED_ATTRIBUTES if header.get(name) in (None, "")]:
        raise ImageReadError(f"the header lacks {', '.join(missing)}; replace the file with the original")
    if header.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2") or samples_per_pixel(header) != 1:
        raise ImageReadError("a colour image; a mammogram is greyscale (MONOCHROME1 or MONOCHROME2)")
    if (frames := int(header.get("NumberOfFrames") or 1)) != 1:
        raise ImageReadError(f"{frames} frames; provide one two-dimensional mammogram per file")
    height, width = int(header.Rows), int(header.Columns)
    if not 0 < height * width <= MAX_PIXELS:
        raise ImageReadError(f"implausible size of {width}x{height} pixels; replace the file with the original")
    syntax = header.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageReadError(
            f"{syntax_name(syntax)} is not supported; convert the file to uncompressed DICOM"
        ) from None
    if not decoder.is_available:
        raise ImageReadError(f"{syntax_name(syntax)} needs a decoder: {CODECS_INSTALL_HINT}")
    if not decoder.is_encapsulated:
        validate_length(header)


def validate_length(header: FileDataset) -> None:
    """Check that uncompressed pixel data is complete.

    Raises:
        ImageReadError: If the pixel data is truncated, or is compressed although the header does not say so.
    """
    if header["PixelData"].is_undefined_length:
        raise ImageReadError("compressed, but the header lacks the transfer syntax; replace the file with the original")
    n_bytes = len(header.PixelData)
    n_expected = (int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) + 7) // 8
    if n_bytes < n_expected:
        raise ImageReadError(f"truncated: {n_bytes} of {n_expected} bytes of pixel data; copy the file again")


def samples_per_pixel(header: FileDataset) -> int:
    """Return Samples per Pixel, 1 if the attribute is missing."""
    if header.get("SamplesPerPixel") is None:
        header.SamplesPerPixel = 1  # required, but missing in some exports of greyscale images
    return int(header.SamplesPerPixel)


def syntax_name(syntax: UID) -> str:
    """Return the name of a standard transfer syntax; an unknown UID is free text and is not quoted."""
    return f"transfer syntax {syntax.name}" if syntax in STANDARD_UIDS else "an unknown transfer syntax"


def decode(header: FileDataset) -> NDArray[Any]:
    """Decode the stored values (H, W), in the integer type of the file.

    Raises:
        ImageReadError: If compressed pixel data cannot be decoded, or the size differs from the header.
    """
    syntax = header.file_meta.TransferSyntaxUID
    try:
        pixels = pixel_array(header)
    except Exception:
        if not syntax.is_encapsulated:
            raise
        # An installed decoder may not support this file: Pillow decodes 8-bit JPEG only.
        missing = [module for module in CODEC_MODULES if find_spec(module) is None]
        advice = f"copy the file again, or install more decoders: {CODECS_INSTALL_HINT}" if missing else "copy it again"
        raise ImageReadError(f"pixel data in {syntax_name(syntax)} cannot be decoded; {advice}") from None
    if pixels.shape != (header.Rows, header.Columns):
        raise ImageReadError("the pixel data does not have the size stated in the header; copy the file again")
    return pixels


def to_monochrome2(stored: NDArray[Any], header: FileDataset) -> NDArray[Any]:
    """Apply Rescale Slope and Rescale Intercept, and invert MONOCHROME1; see `read_image`.

    Args:
        stored: Stored values (H, W).
        header: Header of the image.

    Returns:
        Pixels (H, W), where brighter is denser.

    Raises:
        ImageReadError: If slope or intercept is not finite, or the slope is 0.

    Source:
        DICOM PS3.3, sections C.7.6.3.1.2 (Photometric Interpretation) and C.11.1 (rescale).
    """
    slope, intercept = float_attribute(header, "RescaleSlope", 1.0), float_attribute(header, "RescaleIntercept", 0.0)
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise ImageReadError("the rescale slope or intercept is invalid; replace the file with the original")
    rescaled = (slope, intercept) != (1.0, 0.0)
    if not rescaled and header.PhotometricInterpretation == "MONOCHROME2" and stored.dtype in (np.uint8, np.uint16):
        return stored  # the most common case, without a copy of 20 million pixels
    values, (low, high) = stored, stored_range(stored, header)
    if rescaled:
        values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = high - (values if rescaled else values.astype(np.int64))
        low, high = 0, high - low
    if rescaled or high > np.iinfo(np.int32).max:
        return values.astype(np.float32)
    return values.astype(np.uint16 if low >= 0 and high <= np.iinfo(np.uint16).max else np.int32)


def stored_range(stored: NDArray[Any], header: FileDataset) -> tuple[float, float]:
    """Return the range of stored values.

    Args:
        stored: Stored values (H, W).
        header: Header of the image.

    Returns:
        Minimum and maximum for Bits Stored and Pixel Representation, extended to the values of the image.
    """
    bits = int(header.get("BitsStored") or header.BitsAllocated)
    signed = bool(int(header.get("PixelRepresentation") or 0))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return min(low, int(stored.min())), max(high, int(stored.max()))
