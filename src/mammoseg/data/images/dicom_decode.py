"""Decoding of DICOM pixel data into stored values, independent of the decoder.

Decoders interpret Bits Stored, High Bit and Pixel Representation differently. Each is therefore asked for the values
of its codestream, and the header is applied to these here.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    HTJ2K,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)
from pydicom.uid import UID_dictionary as STANDARD_UIDS

from mammoseg.data.images.codestream import Codestream, is_intact_jpeg, parse_jpeg, parse_jpeg2000
from mammoseg.data.images.gdcm_decoder import CODECS_INSTALL_HINT, CONVERT, decode_extended_jpeg, suppress_stderr
from mammoseg.errors import ImageReadError

FIX = "replace the file with the original"
CODEC_MODULES = ("gdcm", "pylibjpeg", "openjpeg")  # installed by the extra
# In order of preference. GDCM is last, since its libraries print to the terminal.
PLUGINS = ("pydicom", "pylibjpeg", "pyjpegls", "pillow", "gdcm")
J2K_SYNTAXES = (*JPEG2000TransferSyntaxes, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
LOSSY_OVERSHOOT = 8  # lossy compression may exceed the range of Bits Stored, by less than this fraction of it


@dataclass(frozen=True)
class StoredFormat:
    """Position of the stored value in each allocated word.

    Attributes:
        bits_allocated: Bits of each word.
        bits_stored: Bits of the value.
        high_bit: Most significant bit of the value.
        signed: Whether the value is signed, in two's complement.

    Source:
        DICOM PS3.5, section 8.1.1.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @classmethod
    def from_header(cls, header: FileDataset) -> StoredFormat:
        """Return the format stated in a header.

        Raises:
            ImageReadError: If the header is contradictory.
        """
        allocated = int(header.BitsAllocated)
        stored = int(header.get("BitsStored") or allocated)
        high_bit = stored - 1 if header.get("HighBit") in (None, "") else int(header.HighBit)
        if allocated not in (1, 8, 16, 32):
            raise ImageReadError(f"Bits Allocated must be 1, 8, 16 or 32, got {allocated}; {CONVERT}")
        if not 0 < stored <= allocated:
            raise ImageReadError(f"Bits Stored must be between 1 and Bits Allocated ({allocated}), got {stored}; {FIX}")
        if not stored - 1 <= high_bit < allocated:
            raise ImageReadError(f"High Bit must be between {stored - 1} and {allocated - 1}, got {high_bit}; {FIX}")
        representation = int(header.get("PixelRepresentation") or 0)
        if representation not in (0, 1):
            raise ImageReadError(f"Pixel Representation must be 0 or 1, got {representation}; {FIX}")
        return cls(allocated, stored, high_bit, bool(representation))

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest stored value."""
        if self.signed:
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits_stored - 1


@dataclass(frozen=True)
class DecodedPixels:
    """Pixel data as decoded.

    Attributes:
        words: (H, W) unsigned; the stored value and any other bits of each word.
        values: (H, W) stored values, in the integer type of the file.
    """

    words: NDArray[Any]
    values: NDArray[Any]


def decode(header: FileDataset) -> DecodedPixels:
    """Decode the stored values of a single-frame image.

    Raises:
        ImageReadError: If compressed pixel data cannot be decoded or contradicts the header.
    """
    form, syntax = StoredFormat.from_header(header), header.file_meta.TransferSyntaxUID
    stream = parse_codestream(header, syntax)
    decoded = _decode_frame(header, form, stream)
    if decoded.shape != (header.Rows, header.Columns):
        raise ImageReadError("the pixel data does not have the size stated in the header; copy the file again")
    bits = stream.bits if stream else form.bits_allocated
    words = decoded.astype(decoded.dtype.newbyteorder("="), copy=False).view(f"u{decoded.dtype.itemsize}")
    if stream and stream.signed and bits < 8 * words.dtype.itemsize:
        words = words & words.dtype.type(2**bits - 1)
    values = stored_values(words, bits, form, lossy=syntax.is_compressed and not _is_lossless(syntax))
    kind = f"{'i' if form.signed else 'u'}{max(form.bits_allocated // 8, 1)}"
    return DecodedPixels(words, values.astype(kind, copy=False))


def parse_codestream(header: FileDataset, syntax: UID) -> Codestream | None:
    """Return the properties of the codestream; None for uncompressed and RLE pixel data, whose words are the header's.

    Raises:
        ImageReadError: If the codestream is damaged or contradicts the header.
    """
    if syntax in J2K_SYNTAXES:
        parse = parse_jpeg2000
    elif syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        parse = parse_jpeg
    else:
        return None
    stream = parse(bytes(get_frame(header.PixelData, 0, number_of_frames=1)))
    if stream is None:
        raise ImageReadError(f"pixel data in {syntax_name(syntax)} is truncated or damaged; copy the file again")
    if (stream.height, stream.width) != (header.Rows, header.Columns):
        raise ImageReadError("the pixel data does not have the size stated in the header; copy the file again")
    if stream.components != 1:
        raise ImageReadError(f"compressed pixels must have 1 value (greyscale), got {stream.components}; {FIX}")
    if stream.bits > int(header.BitsAllocated):
        raise ImageReadError(
            f"compressed pixels must have at most {header.BitsAllocated} bits, got {stream.bits}; {FIX}"
        )
    return stream


def stored_values(words: NDArray[Any], bits: int, form: StoredFormat, *, lossy: bool = False) -> NDArray[Any]:
    """Extract the stored values from decoded words.

    Args:
        words: (H, W) unsigned.
        bits: Number of bits that the words have. A codestream may have fewer than Bits Allocated.
        form: Position of the value in the word.
        lossy: Whether values may exceed their range by compression; these are clipped.

    Returns:
        Values (H, W) in an integer type of the size of the words.

    Raises:
        ImageReadError: If the position of the value in the words cannot be determined.

    Example:
        >>> words = np.array([[0xF012, 0x1FFF]], np.uint16)  # other bits above a value of 12 bits
        >>> stored_values(words, 16, StoredFormat(16, 12, 11, signed=True)).tolist()
        [[18, -1]]
    """
    container = 8 * words.dtype.itemsize
    if form.bits_stored < bits <= form.high_bit:
        raise ImageReadError(
            f"compressed pixels must have {form.bits_stored} bits (Bits Stored) or more than {form.high_bit} "
            f"(High Bit), got {bits}; {FIX}"
        )
    n_bits = min(bits, form.bits_stored)
    values = words
    if bits > form.high_bit and (shift := form.high_bit + 1 - form.bits_stored):
        values = values >> words.dtype.type(shift)
    if n_bits < container:
        limit = 2**n_bits
        if lossy and not form.signed and limit <= values.max(initial=0) < limit + limit // LOSSY_OVERSHOOT:
            return np.asarray(np.minimum(values, words.dtype.type(limit - 1)))
        values = values & words.dtype.type(limit - 1)
    if not form.signed:
        return values
    shift = container - n_bits
    return np.asarray((values << words.dtype.type(shift)).view(f"i{words.dtype.itemsize}") >> shift)


def syntax_name(syntax: UID) -> str:
    """Return the name of a standard transfer syntax; an unknown UID is free text and is not quoted."""
    return f"transfer syntax {syntax.name}" if syntax in STANDARD_UIDS else "an unknown transfer syntax"


def require_decoder(syntax: UID) -> Decoder:
    """Return the decoder of a transfer syntax.

    Raises:
        ImageReadError: If the transfer syntax is not supported, or no library for it is installed.
    """
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageReadError(f"{syntax_name(syntax)} is not supported; {CONVERT}") from None
    if not decoder.is_available:
        raise ImageReadError(f"{syntax_name(syntax)} needs a decoder: {CODECS_INSTALL_HINT}")
    return decoder


def _decode_frame(header: FileDataset, form: StoredFormat, stream: Codestream | None) -> NDArray[Any]:
    """Decode into the integer type of the codestream, or into the words of uncompressed and RLE pixel data."""
    syntax = header.file_meta.TransferSyntaxUID
    decoder = require_decoder(syntax)
    options: dict[str, Any] = {
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_allocated,
        "pixel_representation": 0,
    }
    if stream:
        container = 8 if stream.bits <= 8 else 16 if stream.bits <= 16 else 32
        options = {
            "bits_allocated": container,
            "bits_stored": stream.bits,
            "pixel_representation": int(stream.signed),
        }
    if not syntax.is_encapsulated:
        return decoder.as_array(header, raw=True, **options)[0]
    frame = bytes(get_frame(header.PixelData, 0, number_of_frames=1))
    available = [name for name in decoder.available_plugins if name != "gdcm" or _is_safe_for_gdcm(frame, syntax)]
    if syntax == JPEGExtended12Bit and stream and stream.bits > 8 and "pylibjpeg" not in available:
        if not is_intact_jpeg(frame):
            raise ImageReadError(f"pixel data in {syntax_name(syntax)} is truncated or damaged; copy the file again")
        return decode_extended_jpeg(frame, stream)
    for plugin in [*(name for name in PLUGINS if name in available), *(set(available) - set(PLUGINS))]:
        try:
            with suppress_stderr() if plugin == "gdcm" else nullcontext():
                return decoder.as_array(header, raw=True, decoding_plugin=plugin, **options)[0]
        except MemoryError:
            raise
        except Exception:
            continue
    # An installed decoder may not support this file.
    missing = [module for module in CODEC_MODULES if find_spec(module) is None]
    advice = f"copy the file again, or install more decoders: {CODECS_INSTALL_HINT}" if missing else "copy it again"
    raise ImageReadError(f"pixel data in {syntax_name(syntax)} cannot be decoded; {advice}")


def _is_safe_for_gdcm(frame: bytes, syntax: UID) -> bool:
    """Return whether GDCM is called: it terminates the process for some damaged JPEG files."""
    return syntax not in JPEGTransferSyntaxes or is_intact_jpeg(frame)


def _is_lossless(syntax: UID) -> bool:
    return "Lossless" in syntax.name
