"""View position, laterality, pixel spacing and acquisition from DICOM headers. Free text is never returned."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from mammoseg.data.images.metadata import ImageMetadata, PixelSpacing

# Enhanced classes store attributes of frames in these sequences; for images of one frame they are equivalent.
FUNCTIONAL_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
METADATA_TAGS = [
    *("ViewCodeSequence", "ViewPosition", "PatientOrientation", "SeriesDescription", "ProtocolName"),
    *("ImageLaterality", "Laterality", "FrameLaterality", "BodyPartExamined"),
    *("Rows", "Columns", "PixelSpacing", "PixelSpacingCalibrationType", "ImagerPixelSpacing"),
    *("NominalScannedPixelSpacing", "EstimatedRadiographicMagnificationFactor", "ConversionType", "DetectorType"),
    *FUNCTIONAL_GROUPS,
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
# Code meanings of the same views, without letters other than a to z; some files contain no known code value.
VIEW_MEANINGS = {
    **dict.fromkeys(("craniocaudal", "cc"), "CC"),
    **dict.fromkeys(("mediolateraloblique", "mediolateralobliqueprojection", "mlo"), "MLO"),
    **dict.fromkeys(("mediolateral", "mediolateralprojection", "ml"), "ML"),
    **dict.fromkeys(("lateromedial", "lm"), "LM"),
    **dict.fromkeys(("lateromedialoblique", "lmo"), "LMO"),
    **dict.fromkeys(("caudocranial", "caudocranialfrombelow", "fb"), "FB"),
    **dict.fromkeys(("superolateraltoinferomedialoblique", "sio"), "SIO"),
    **dict.fromkeys(("inferomedialtosuperolateraloblique", "iso"), "ISO"),
    **dict.fromkeys(("craniocaudalexaggeratedlaterally", "xccl"), "XCCL"),
    **dict.fromkeys(("craniocaudalexaggeratedmedially", "xccm"), "XCCM"),
}
VIEW_POSITIONS = {*VIEW_CODES.values(), "XCC"}
VIEW_IN_TEXT = re.compile(r"(?<![A-Z])[LR]?[ _-]?(CC|MLO|XCCL|XCCM)(?![A-Z])")
SIDE_AND_VIEW = re.compile(r"[LR][ _-]?(?=[A-Z])")
MIN_SPACING_MM, MAX_SPACING_MM = 0.001, 5.0  # mammograms: 0.025 to 0.2; images at a lower resolution have more
MAX_SIDE_MM = 400.0  # of the image; detectors and films measure at most 24 cm x 30 cm
MAX_MAGNIFICATION = 5.0  # spot views: up to 2
SPACING_TOLERANCE = 1.01  # of calibrated to detector spacing, for rounding


def attribute(header: Dataset, name: str) -> Any:
    """Return an attribute of the image, or of the first frame in the functional groups; None if absent or empty."""
    if (value := header.get(name)) not in (None, ""):
        return value
    for groups in FUNCTIONAL_GROUPS:
        for group in list(header.get(groups) or [])[:1]:
            for element in group:
                items = list(element.value or []) if element.VR == "SQ" else []
                if items and (value := items[0].get(name)) not in (None, ""):
                    return value
    return None


def texts(header: Dataset, name: str) -> list[str]:
    """Return the values of a text attribute in upper case; empty if it is absent."""
    value = attribute(header, name)
    values = [] if value is None else [value] if isinstance(value, str) else value
    return [str(text).strip().upper() for text in values]


def float_attribute(header: Dataset, name: str, default: float) -> float:
    """Return a numeric attribute, or `default` if it is absent or empty."""
    value = attribute(header, name)
    return default if value is None else float(value)


def parse_metadata(header: FileDataset) -> ImageMetadata:
    """Return the metadata of an image; attributes are empty or None if absent, unknown or invalid."""
    return ImageMetadata(parse_view(header), parse_side(header), resolve_spacing(header), parse_acquisition(header))


def parse_view(header: FileDataset) -> str:
    """Return the view position.

    In order of preference: code value and code meaning of the View Code Sequence, View Position, Patient Orientation
    (in CBIS-DDSM), and a view named in Series Description or Protocol Name.
    """
    code = next(iter(attribute(header, "ViewCodeSequence") or []), None)
    if code is not None:
        meaning = re.sub("[^a-z]", "", str(code.get("CodeMeaning", "")).lower())
        if view := VIEW_CODES.get(str(code.get("CodeValue", "")), "") or VIEW_MEANINGS.get(meaning, ""):
            return view
    for text in [*texts(header, "ViewPosition"), *texts(header, "PatientOrientation")]:
        for candidate in (text, SIDE_AND_VIEW.sub("", text, count=1)):
            if candidate in VIEW_POSITIONS:
                return candidate
    for name in ("SeriesDescription", "ProtocolName"):
        views = set(VIEW_IN_TEXT.findall(str(header.get(name) or "").upper()))
        if len(views) == 1:
            return str(views.pop())
    return ""


def parse_side(header: FileDataset) -> str:
    """Return the laterality, L or R, from the attributes for it or from "LEFT BREAST" or "RIGHT BREAST"."""
    for name in ("ImageLaterality", "Laterality", "FrameLaterality"):
        for text in texts(header, name):
            if text in ("L", "R", "LEFT", "RIGHT"):
                return text[0]
    match = re.fullmatch("(L|R)(?:EFT|IGHT)[ _-]?BREAST", str(header.get("BodyPartExamined") or "").strip().upper())
    return match.group(1) if match else ""


def parse_acquisition(header: FileDataset) -> str:
    """Return "film" for a digitised film, "digital" for an image of a digital detector, or an empty string.

    Source:
        DICOM PS3.3, sections C.8.6.1 (Conversion Type), C.8.11.4 (Detector Type) and 10.7.1 (pixel spacing).
    """
    detectors = {*texts(header, "DetectorType")}
    scanned, imager = (spacing_attribute(header, name) for name in ("NominalScannedPixelSpacing", "ImagerPixelSpacing"))
    if "DF" in texts(header, "ConversionType") or "FILM" in detectors or scanned:
        return "film"
    return "digital" if imager or detectors & {"DIRECT", "SCINTILLATOR", "STORAGE"} else ""


def resolve_spacing(header: FileDataset) -> PixelSpacing | None:
    """Return the pixel spacing in the plane of the breast, or None if it is unknown.

    In order of preference:

    1. Pixel Spacing, if marked as calibrated or different from the detector's or scanner's spacing, unless it exceeds
       that spacing or implies a magnification above `MAX_MAGNIFICATION`: the breast lies between source and detector,
       so it is magnified.
    2. Imager Pixel Spacing, divided by the Estimated Radiographic Magnification Factor if that is between 1 and
       `MAX_MAGNIFICATION`. Without the factor, the spacing is that at the detector, which slightly overestimates sizes.
    3. Nominal Scanned Pixel Spacing.
    4. Pixel Spacing, if it is the only attribute and not marked as calibrated.

    Source:
        DICOM PS3.3, section 10.7.1.
    """
    calibrated, imager, nominal_scanned = (
        spacing_attribute(header, name) for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    )
    uncalibrated = imager or nominal_scanned
    if (
        calibrated
        and uncalibrated
        and is_possible_calibration(calibrated, uncalibrated)
        and (attribute(header, "PixelSpacingCalibrationType") or calibrated != uncalibrated)
    ):
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


def is_possible_calibration(calibrated: tuple[float, float], detector: tuple[float, float]) -> bool:
    """Return whether a calibrated spacing implies a magnification between 1 and `MAX_MAGNIFICATION`.

    Example:
        >>> is_possible_calibration((0.09, 0.09), (0.1, 0.1)), is_possible_calibration((0.98, 0.98), (0.1, 0.1))
        (True, False)
    """
    return all(
        detector_mm / MAX_MAGNIFICATION <= calibrated_mm <= detector_mm * SPACING_TOLERANCE
        for calibrated_mm, detector_mm in zip(calibrated, detector, strict=True)
    )


def spacing_attribute(header: FileDataset, name: str) -> tuple[float, float] | None:
    """Return the (row, column) spacing in mm; None if absent, or implausible for the size of the image."""
    try:
        row, column = (float(value) for value in attribute(header, name) or ())
        shape = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    except (TypeError, ValueError):
        return None
    plausible = all(MIN_SPACING_MM < value < MAX_SPACING_MM for value in (row, column))
    if not plausible or row * shape[0] > MAX_SIDE_MM or column * shape[1] > MAX_SIDE_MM:
        return None
    return row, column
