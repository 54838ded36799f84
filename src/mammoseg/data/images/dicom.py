"""DICOM files -> arrays. The only room that sees a DICOM header, and no text of one leaves it.

pydicom is imported with this module; `pixels.py` imports the module when the first DICOM is read.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    UID_dictionary,
)

from mammoseg.data.images.metadata import Facts, Spacing
from mammoseg.errors import UnreadableImage
from mammoseg.terminal import suppress_logs_and_warnings

# Nothing else is parsed: what describes the patient stays on the disk.
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
FACT_TAGS = [
    *("ViewCodeSequence", "ViewPosition", "ImageLaterality", "Laterality"),
    *("PixelSpacing", "PixelSpacingCalibrationType", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    "EstimatedRadiographicMagnificationFactor",
]
TAGS = [*PIXEL_TAGS, *FACT_TAGS]
# Codes of DICOM's views of the breast, SNOMED's and the older ones. A closed list: free text stays in the header.
VIEW_CODES = {
    **dict.fromkeys(("399162004", "R-10242"), "CC"),
    **dict.fromkeys(("399368009", "R-10226"), "MLO"),
    **dict.fromkeys(("399260004", "R-10224"), "ML"),
    **dict.fromkeys(("399352003", "R-10228"), "LM"),
    **dict.fromkeys(("399099002", "R-10230"), "LMO"),
    **dict.fromkeys(("399196006", "R-10244"), "FB"),
    **dict.fromkeys(("399188001", "R-102D0"), "SIO"),
    **dict.fromkeys(("441555000", "R-40AAA"), "ISO"),
    **dict.fromkeys(("399192008", "R-1024A"), "XCCL"),
    **dict.fromkeys(("399101009", "R-1024B"), "XCCM"),
}
VIEWS = {*VIEW_CODES.values(), "XCC"}
NEEDED = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")
LEAST_MM, MOST_MM = 0.001, 5.0  # between pixels; mammograms have 0.025 to 0.2
MOST_MAGNIFIED = 5.0  # spot views go to 2
MOST_PIXELS = 200_000_000  # the largest digitised films have about 40 million; more is a damaged header
CODECS = "pip install 'mammoseg[codecs]'"
CODEC_MODULES = ("gdcm", "pylibjpeg", "openjpeg")  # what the extra installs


def read_pixels(path: Path) -> NDArray:
    """(H, W) grey values at full size, brighter is denser: uint8 or uint16, or int32 where they are too narrow.

    The values are the stored ones. A rescale slope and intercept other than 1 and 0 are applied and give
    float32. A MONOCHROME1 image is inverted: the top of its range minus the value. Windows, lookup tables
    and padding values are left alone.

    Raises UnreadableImage with a short reason for what is no single grey image or cannot be decoded.
    """
    return read(path)[0]


def read(path: Path) -> tuple[NDArray, Facts]:
    """The pixels as `read_pixels` gives them, and what the header says about view, side and pixel spacing."""
    with quiet():
        header = read_header(path)
        try:
            check(header)
            return brighter_is_denser(decode(header), header), facts(header)
        except UnreadableImage:
            raise
        except Exception:
            # pydicom raises a dozen types for damaged files. `from None`: their texts quote the header.
            raise UnreadableImage("the header or the pixel data are damaged; copy the file again") from None


def read_facts(path: Path) -> Facts:
    """What the header says about view, side and pixel spacing; the pixels are not decoded."""
    with quiet():
        header = read_header(path)
        try:
            return facts(header)
        except Exception:
            raise UnreadableImage("the header is damaged; copy the file again") from None


def quiet() -> AbstractContextManager[None]:
    """What these libraries warn and log quotes header values, which may be names: none gets out."""
    return suppress_logs_and_warnings("pydicom", "highdicom")


def read_header(path: Path) -> FileDataset:
    """The elements in TAGS, and the transfer syntax: the byte order found where the file names none."""
    try:
        if path.stat().st_size == 0:
            raise UnreadableImage("the file is empty; copy it again")
        # force: some exports lack the 128 bytes and "DICM" in front.
        header = pydicom.dcmread(path, force=True, specific_tags=list(TAGS))
    except OSError as error:
        raise UnreadableImage(
            f"cannot be read ({error.strerror or 'the file ends early'}); check it or copy it again"
        ) from None
    except UnreadableImage:
        raise
    except Exception:
        raise UnreadableImage("not a DICOM file, or one cut off in its header; copy it again") from None
    if header.preamble is None and not any(name in header for name in NEEDED):
        raise UnreadableImage("not a DICOM file; replace it by the original")
    if "TransferSyntaxUID" not in header.file_meta:
        little = header.original_encoding[1]
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return header


def check(header: FileDataset) -> None:
    """Raises UnreadableImage unless this is one grey frame of a sane size, all there, with a decoder for it."""
    if "PixelData" not in header or not header.PixelData:
        raise UnreadableImage("no pixel data: cut off, or not an image; copy the file again")
    if missing := [name for name in NEEDED if header.get(name) in (None, "")]:
        raise UnreadableImage(f"the header lacks {', '.join(missing)}; replace the file by the original")
    if header.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2") or samples(header) != 1:
        raise UnreadableImage("a colour image; a mammogram is grey (MONOCHROME1 or MONOCHROME2)")
    if (frames := int(header.get("NumberOfFrames") or 1)) != 1:
        raise UnreadableImage(f"{frames} frames; give one two-dimensional mammogram per file")
    height, width = int(header.Rows), int(header.Columns)
    if not 0 < height * width <= MOST_PIXELS:
        raise UnreadableImage(f"a size of {width}x{height} pixels cannot be; replace the file by the original")
    syntax = header.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableImage(
            f"{syntax_name(syntax)} is not supported; convert the file to uncompressed DICOM"
        ) from None
    if not decoder.is_available:
        raise UnreadableImage(f"{syntax_name(syntax)} needs a decoder: {CODECS}")
    if decoder.is_encapsulated:
        return
    if header["PixelData"].is_undefined_length:
        raise UnreadableImage("compressed, but the header does not say how; replace the file by the original")
    present, needed = len(header.PixelData), (height * width * int(header.BitsAllocated) + 7) // 8
    if present < needed:
        raise UnreadableImage(f"cut off: {present} of {needed} bytes of pixel data; copy the file again")


def samples(header: FileDataset) -> int:
    if header.get("SamplesPerPixel") is None:
        header.SamplesPerPixel = 1  # required, yet left out by some exports of grey images
    return int(header.SamplesPerPixel)


def syntax_name(syntax: UID) -> str:
    """From the standard's list only: an unknown UID is text from the header."""
    return f"transfer syntax {syntax.name}" if syntax in UID_dictionary else "an unknown transfer syntax"


def decode(header: FileDataset) -> NDArray:
    """(H, W) stored values, of the file's own integer type."""
    syntax = header.file_meta.TransferSyntaxUID
    try:
        pixels = pixel_array(header)
    except Exception:
        if not syntax.is_encapsulated:
            raise
        # A decoder may be there that cannot do this file: Pillow's knows JPEG of 8 bits only.
        lacking = [module for module in CODEC_MODULES if find_spec(module) is None]
        advice = f"copy the file again, or install more decoders: {CODECS}" if lacking else "copy it again"
        raise UnreadableImage(f"pixel data in {syntax_name(syntax)} cannot be decoded; {advice}") from None
    if pixels.shape != (header.Rows, header.Columns):
        raise UnreadableImage("the pixel data have another size than the header says; copy the file again")
    return pixels


def brighter_is_denser(stored: NDArray, header: FileDataset) -> NDArray:
    """(H, W) stored values -> what `read_pixels` promises."""
    slope, intercept = number(header, "RescaleSlope", 1.0), number(header, "RescaleIntercept", 0.0)
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise UnreadableImage("the rescale slope or intercept cannot be; replace the file by the original")
    rescaled = (slope, intercept) != (1.0, 0.0)
    if not rescaled and header.PhotometricInterpretation == "MONOCHROME2" and stored.dtype in (np.uint8, np.uint16):
        return stored  # as most are; a film of 20 million pixels is not copied for nothing
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


def stored_range(stored: NDArray, header: FileDataset) -> tuple[float, float]:
    """The least and the greatest value that the header allows, widened to what is there."""
    bits = int(header.get("BitsStored") or header.BitsAllocated)
    signed = bool(int(header.get("PixelRepresentation") or 0))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return min(low, int(stored.min())), max(high, int(stored.max()))


def number(header: FileDataset, name: str, otherwise: float) -> float:
    """The header's number, or `otherwise` where it is absent or blank."""
    value = header.get(name)
    return otherwise if value in (None, "") else float(value)


def facts(header: FileDataset) -> Facts:
    """View, side and spacing; what is absent, unknown or damaged is left blank."""
    view = next(iter(header.get("ViewCodeSequence") or []), None)
    code = VIEW_CODES.get(str(view.get("CodeValue", "")), "") if view is not None else ""
    named = str(header.get("ViewPosition") or "").upper()
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "")
    return Facts(code or (named if named in VIEWS else ""), side if side in ("L", "R") else "", spacing(header))


def spacing(header: FileDataset) -> Spacing | None:
    """Distances in the breast as far as the header knows them (PS3.3, section 10.7.1).

    Pixel Spacing counts where it says that it was calibrated, or differs from the spacing of the detector or scanner,
    which means the same. Otherwise that of the detector, divided by the estimated radiographic magnification factor
    where there is one: without, it holds at the detector, and masses come out a little large. Then that of the
    scanner of a film, and a Pixel Spacing of which nothing more is known.
    """
    calibrated, imager, scanned = (
        distances(header, name) for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    )
    plain = imager or scanned
    if calibrated and plain and (header.get("PixelSpacingCalibrationType") or calibrated != plain):
        return Spacing(*calibrated, "PixelSpacing, calibrated", plain)
    if imager:
        try:
            factor = number(header, "EstimatedRadiographicMagnificationFactor", 1.0)
        except (TypeError, ValueError):
            factor = 1.0
        if np.isfinite(factor) and 1 < factor < MOST_MAGNIFIED:
            corrected = (imager[0] / factor, imager[1] / factor)
            return Spacing(*corrected, "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor", imager)
        return Spacing(*imager, "ImagerPixelSpacing", imager)
    if scanned:
        return Spacing(*scanned, "NominalScannedPixelSpacing", scanned)
    return Spacing(*calibrated, "PixelSpacing", calibrated) if calibrated else None


def distances(header: FileDataset, name: str) -> tuple[float, float] | None:
    """(down, across) in mm; None where absent or impossible."""
    try:
        down, across = (float(value) for value in header.get(name) or ())
    except (TypeError, ValueError):
        return None
    possible = all(LEAST_MM < value < MOST_MM for value in (down, across))
    return (down, across) if possible else None
