"""DICOM reader. Free text in headers may identify the patient and is never returned, logged or quoted in errors.

`read.py` imports this module lazily, because importing pydicom is slow.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from mammoseg.data.images.dicom_content import CONTENT_TAGS, Exposure, parse_exposure, require_mammogram
from mammoseg.data.images.dicom_decode import decode, require_decoder
from mammoseg.data.images.dicom_metadata import METADATA_TAGS, parse_metadata
from mammoseg.data.images.dicom_values import grey_values, to_monochrome2
from mammoseg.data.images.formats import check_size, open_decompressed
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.errors import ImageReadError
from mammoseg.terminal import suppress_logs_and_warnings

T = TypeVar("T")

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
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "PixelData",
]
TAGS = [*dict.fromkeys([*PIXEL_TAGS, *METADATA_TAGS, *CONTENT_TAGS])]
LARGE_FILE_BYTES = 2**26
REQUIRED_ATTRIBUTES = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")


def read_image(path: Path, *, mask: bool = False) -> tuple[NDArray[Any], ImageMetadata]:
    """Read a single-frame greyscale DICOM image.

    The Modality LUT, or Rescale Slope and Rescale Intercept if they are not 1 and 0, is applied; rescaled images are
    float32. MONOCHROME1 images are inverted (maximum of the range minus value). Padding gets the darkest grey value of
    the other pixels. Window levels and VOI lookup tables are ignored.

    Args:
        path: The DICOM file.
        mask: Whether the file is a mask. Masks may have any modality, and their padding is not changed.

    Returns:
        Pixels (H, W) at full resolution as uint8, uint16, int32 or float32, where brighter is denser, and the metadata.

    Raises:
        ImageReadError: If the file is not a mammogram of a single greyscale frame or cannot be decoded.
    """
    with suppress_header_text():
        if path.is_file() and path.stat().st_size > LARGE_FILE_BYTES:
            # Reject other modalities and stacks of frames before their pixels are in memory.
            validate(read_header(path, stop_before_pixels=True), mask, has_pixels=False)
        header = read_header(path)
        validate(header, mask)
        try:
            decoded = decode(header)
            pixels = to_monochrome2(decoded.values, header) if mask else grey_values(decoded, header)
            return pixels, parse_metadata(header)
        except ImageReadError:
            raise
        except MemoryError:
            raise ImageReadError(
                f"not enough memory for {header.Columns}x{header.Rows} pixels; use fewer workers"
            ) from None
        except Exception:
            # pydicom raises many exception types for damaged files; `from None`, since their messages quote the header.
            raise ImageReadError("the header or the pixel data is damaged; copy the file again") from None


def read_metadata(path: Path) -> ImageMetadata:
    """Read view position, laterality and pixel spacing without decoding the pixels.

    Raises:
        ImageReadError: If the header cannot be read.
    """
    return _parse_header(path, parse_metadata)


def read_exposure(path: Path) -> Exposure:
    """Read the identification of the exposure of an image.

    Raises:
        ImageReadError: If the header cannot be read.
    """
    return _parse_header(path, parse_exposure)


def _parse_header(path: Path, parse: Callable[[FileDataset], T]) -> T:
    """Apply `parse` to the header of a file without reading its pixels."""
    with suppress_header_text():
        header = read_header(path, stop_before_pixels=True)
        try:
            return parse(header)
        except Exception:
            raise ImageReadError("the header is damaged; copy the file again") from None


def suppress_header_text() -> AbstractContextManager[None]:
    """Silence pydicom and highdicom, whose warnings and log messages may quote patient names."""
    return suppress_logs_and_warnings("pydicom", "highdicom")


def read_header(path: Path, *, stop_before_pixels: bool = False) -> FileDataset:
    """Read the attributes in `TAGS`; a missing Transfer Syntax UID is inferred from the byte order.

    Args:
        path: The DICOM file, which may be compressed with gzip.
        stop_before_pixels: Whether to read only the attributes before the pixel data.

    Raises:
        ImageReadError: If the file is empty, cannot be opened or is not DICOM.
    """
    try:
        if path.stat().st_size == 0:
            raise ImageReadError("the file is empty; copy it again")
        with open_decompressed(path) as file:
            # force: some exports lack the preamble and the "DICM" prefix.
            header = pydicom.dcmread(file, force=True, stop_before_pixels=stop_before_pixels, specific_tags=list(TAGS))
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


def validate(header: FileDataset, mask: bool, *, has_pixels: bool = True) -> None:
    """Check that the file contains one complete greyscale frame of a mammogram or mask, and that it can be decoded.

    Args:
        header: Header of the image.
        mask: Whether the file is a mask, which may have any modality.
        has_pixels: Whether `header` contains the pixel data.

    Raises:
        ImageReadError: If any of these does not hold.
    """
    try:
        if not mask:
            require_mammogram(header)
        if has_pixels and not header.get("PixelData"):
            raise ImageReadError("no pixel data: truncated, or not an image; copy the file again")
        validate_attributes(header)
        decoder = require_decoder(header.file_meta.TransferSyntaxUID)
        if has_pixels and not decoder.is_encapsulated:
            validate_length(header)
    except ImageReadError:
        raise
    except Exception:
        raise ImageReadError("the header is damaged; copy the file again") from None


def validate_attributes(header: FileDataset) -> None:
    """Check that the header describes one greyscale frame of plausible size.

    Raises:
        ImageReadError: If it does not.
    """
    if missing := [name for name in REQUIRED_ATTRIBUTES if header.get(name) in (None, "")]:
        raise ImageReadError(f"the header lacks {', '.join(missing)}; replace the file with the original")
    if header.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2") or samples_per_pixel(header) != 1:
        raise ImageReadError("a colour image; a mammogram is greyscale (MONOCHROME1 or MONOCHROME2)")
    if (frames := int(header.get("NumberOfFrames") or 1)) != 1:
        raise ImageReadError(f"{frames} frames; provide one two-dimensional mammogram per file")
    check_size(int(header.Rows), int(header.Columns))


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
