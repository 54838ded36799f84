"""View position, laterality and pixel spacing from DICOM headers. Free text is never returned."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import FileDataset

from mammoseg.data.images.metadata import ImageMetadata, PixelSpacing

METADATA_TAGS = [
    *("ViewCodeSequence", "ViewPosition", "ImageLaterality", "Laterality"),
    *("PixelSpacing", "PixelSpacingCalibrationType", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    "EstimatedRadiographicMagnificationFactor",
]
# View codes (SNOMED CT and SRT) of DICOM PS3.16, CID 4014. Other codes and free text are ignored.
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
VIEW_POSITIONS = {*VIEW_CODES.values(), "XCC"}
MIN_SPACING_MM, MAX_SPACING_MM = 0.001, 5.0  # mammograms: 0.025 to 0.2
MAX_MAGNIFICATION = 5.0  # spot views: up to 2


def float_attribute(header: FileDataset, name: str, default: float) -> float:
    """Return a numeric attribute, or `default` if it is absent or empty."""
    value = header.get(name)
    return default if value in (None, "") else float(value)


def parse_metadata(header: FileDataset) -> ImageMetadata:
    """Return view position, laterality and pixel spacing; empty or None if absent, unknown or invalid."""
    code = next(iter(header.get("ViewCodeSequence") or []), None)
    coded_view = VIEW_CODES.get(str(code.get("CodeValue", "")), "") if code is not None else ""
    position = str(header.get("ViewPosition") or "").upper()
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "")
    return ImageMetadata(
        coded_view or (position if position in VIEW_POSITIONS else ""),
        side if side in ("L", "R") else "",
        resolve_spacing(header),
    )


def resolve_spacing(header: FileDataset) -> PixelSpacing | None:
    """Return the pixel spacing in the plane of the breast, or None if it is unknown.

    In order of preference:

    1. Pixel Spacing, if marked as calibrated or different from the detector's or scanner's spacing.
    2. Imager Pixel Spacing, divided by the Estimated Radiographic Magnification Factor if present. Without the factor,
       the spacing is that at the detector, which slightly overestimates sizes.
    3. Nominal Scanned Pixel Spacing.
    4. Pixel Spacing, if it is the only attribute and not marked as calibrated.

    Source:
        DICOM PS3.3, section 10.7.1.
    """
    calibrated, imager, nominal_scanned = (
        spacing_attribute(header, name) for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    )
    uncalibrated = imager or nominal_scanned
    if calibrated and uncalibrated and (header.get("PixelSpacingCalibrationType") or calibrated != uncalibrated):
        return PixelSpacing(*calibrated, "PixelSpacing, calibrated", uncalibrated)
    if imager:
        try:
            factor = float_attribute(header, "EstimatedRadiographicMagnificationFactor", 1.0)
        except (TypeError, ValueError):
            factor = 1.0
        if np.isfinite(factor) and 1 < factor < MAX_MAGNIFICATION:
            corrected = (imager[0] / factor, imager[1] / factor)
            return PixelSpacing(*corrected, "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor", imager)
        return PixelSpacing(*imager, "ImagerPixelSpacing", imager)
    if nominal_scanned:
        return PixelSpacing(*nominal_scanned, "NominalScannedPixelSpacing", nominal_scanned)
    return PixelSpacing(*calibrated, "PixelSpacing", calibrated) if calibrated else None


def spacing_attribute(header: FileDataset, name: str) -> tuple[float, float] | None:
    """Return the (row, column) spacing in mm; None if absent or implausible."""
    try:
        row, column = (float(value) for value in header.get(name) or ())
    except (TypeError, ValueError):
        return None
    plausible = all(MIN_SPACING_MM < value < MAX_SPACING_MM for value in (row, column))
    return (row, column) if plausible else None
