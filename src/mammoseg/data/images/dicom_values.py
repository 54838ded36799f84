"""Conversion of stored values to grey values: Modality LUT, rescale, photometric interpretation and padding."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from mammoseg.data.images.dicom_decode import DecodedPixels, StoredFormat
from mammoseg.data.images.dicom_metadata import float_attribute
from mammoseg.data.images.float_precision import MAX_EXACT, to_preprocessable
from mammoseg.errors import ImageReadError

MAX_UINT16, MAX_INT32 = np.iinfo(np.uint16).max, np.iinfo(np.int32).max


def grey_values(decoded: DecodedPixels, header: FileDataset) -> NDArray[Any]:
    """Apply the Modality LUT or rescale, invert MONOCHROME1, and set padding to the darkest grey value of the image.

    Args:
        decoded: Decoded pixel data.
        header: Header of the image.

    Returns:
        Pixels (H, W), where brighter is denser, as uint8, uint16, int32 or float32.

    Raises:
        ImageReadError: If the Modality LUT, slope or intercept is invalid, or all pixels are padding.

    Source:
        DICOM PS3.3, sections C.7.5.1.1.2 (padding), C.7.6.3.1.2 (photometric interpretation) and C.11.1 (Modality LUT).
    """
    padding = padding_mask(decoded, header)
    values = to_monochrome2(decoded.values, header)
    if padding is None or not padding.any():
        return to_preprocessable(values)
    if padding.all():
        raise ImageReadError("all pixels are padding; replace the file with the original")
    darkest, _, _, _ = cv2.minMaxLoc(values, mask=np.asarray(~padding).view(np.uint8))
    return to_preprocessable(np.where(padding, values.dtype.type(darkest), values))


def padding_mask(decoded: DecodedPixels, header: FileDataset) -> NDArray[np.bool_] | None:
    """Return which pixels are padding.

    Pixel Padding Value and Pixel Padding Range Limit are stored values. If they are outside the range of Bits Stored,
    they are compared with the words, since some scanners mark padding by bits above the stored value.

    Args:
        decoded: Decoded pixel data.
        header: Header of the image.

    Returns:
        (H, W), or None if the header does not define padding.
    """
    value = integer_attribute(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = integer_attribute(header, "PixelPaddingRangeLimit")
    form = StoredFormat.from_header(header)
    bounds = [to_signedness(bound, form) for bound in (value, value if limit is None else limit)]
    low, high = min(bounds), max(bounds)
    minimum, maximum = form.range
    pixels = decoded.values
    if not minimum <= low <= high <= maximum:
        n_words = 2 ** (8 * decoded.words.dtype.itemsize)
        low, high = (bound % n_words for bound in (low, high))
        pixels = decoded.words
    if low == high:
        return np.asarray(pixels == low)
    return np.asarray((pixels >= low) & (pixels <= high))


def to_signedness(value: int, form: StoredFormat) -> int:
    """Reinterpret a 16-bit integer that was written with the signedness that the pixels do not have.

    Example:
        >>> to_signedness(63536, StoredFormat(16, 16, 15, signed=True))
        -2000
    """
    if form.signed and value > form.range[1]:
        return value - 2**16
    return value + 2**16 if not form.signed and value < 0 else value


def to_monochrome2(stored: NDArray[Any], header: FileDataset) -> NDArray[Any]:
    """Apply the Modality LUT or rescale, and invert MONOCHROME1; see `grey_values`.

    Args:
        stored: Stored values (H, W).
        header: Header of the image.

    Returns:
        Pixels (H, W), where brighter is denser, as uint8, uint16, int32, float32, or float64 if float32 is not exact.

    Raises:
        ImageReadError: If the Modality LUT is invalid, slope or intercept is not finite, or the slope is 0.
    """
    if sequence := header.get("ModalityLUTSequence"):
        return _apply_lut(stored, sequence[0], header)
    slope, intercept = float_attribute(header, "RescaleSlope", 1.0), float_attribute(header, "RescaleIntercept", 0.0)
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise ImageReadError("the rescale slope or intercept is invalid; replace the file with the original")
    rescaled = (slope, intercept) != (1.0, 0.0)
    if not rescaled and header.PhotometricInterpretation == "MONOCHROME2" and stored.dtype in (np.uint8, np.uint16):
        return stored  # the most common case, without a copy of 20 million pixels
    values, (low, high) = stored, stored_range(stored, header)
    if rescaled:
        largest = max(abs(low), abs(high), abs(low * slope), abs(high * slope), abs(intercept))
        values = stored.astype(np.float32 if largest <= MAX_EXACT else np.float64)
        values = values * values.dtype.type(slope) + values.dtype.type(intercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = high - (values if rescaled else values.astype(np.int64))
        low, high = 0, high - low
    if rescaled or high > MAX_INT32:
        return np.asarray(values if rescaled else values.astype(np.float64))
    return values.astype(np.uint16 if low >= 0 and high <= MAX_UINT16 else np.int32)


def _apply_lut(stored: NDArray[Any], item: Dataset, header: FileDataset) -> NDArray[Any]:
    """Apply a Modality LUT, and invert MONOCHROME1."""
    lut, first, highest = parse_lut(item, StoredFormat.from_header(header))
    if header.PhotometricInterpretation == "MONOCHROME1":
        lut = np.uint16(highest) - lut
    return np.asarray(lut[np.clip(stored.astype(np.int64) - first, 0, len(lut) - 1)])


def parse_lut(item: Dataset, form: StoredFormat) -> tuple[NDArray[np.uint16], int, int]:
    """Return a lookup table.

    Args:
        item: Item of the Modality LUT Sequence.
        form: Format of the stored values, which are the input of the table.

    Returns:
        The output values (N,), the input value of the first one, and the end of the output range.

    Raises:
        ImageReadError: If the table is invalid.

    Source:
        DICOM PS3.3, section C.11.1.1.
    """
    try:
        n_entries, first, bits = (int(value) for value in item.LUTDescriptor)
        n_entries = n_entries or 2**16
        data = item.LUTData
        if isinstance(data, bytes):
            packed = bits == 8 and len(data) < 2 * n_entries  # two values of 8 bits in each word
            data = np.frombuffer(data, np.uint8 if packed else "<u2")
        lut = np.atleast_1d(np.asarray(data, np.int64))[:n_entries]
        if len(lut) != n_entries or not 8 <= bits <= 16 or lut.min() < 0 or lut.max() > MAX_UINT16:
            raise ValueError
    except (AttributeError, TypeError, ValueError):
        raise ImageReadError("the Modality LUT is invalid; replace the file with the original") from None
    return lut.astype(np.uint16), to_signedness(first, form), max(2**bits - 1, int(lut.max()))


def stored_range(stored: NDArray[Any], header: FileDataset) -> tuple[float, float]:
    """Return the range of stored values.

    Args:
        stored: Stored values (H, W).
        header: Header of the image.

    Returns:
        Minimum and maximum for Bits Stored and Pixel Representation, extended to the values of the image.
    """
    low, high = StoredFormat.from_header(header).range
    return min(low, int(stored.min())), max(high, int(stored.max()))


def integer_attribute(header: Dataset, name: str) -> int | None:
    """Return an integer attribute, or None if it is absent or empty."""
    value = header.get(name)
    if value in (None, "", b""):
        return None
    return int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)
