"""Whether a DICOM file contains a mammogram, and which images show the same exposure."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import FileDataset
from pydicom.uid import UID
from pydicom.uid import UID_dictionary as STANDARD_UIDS

from mammoseg.data.images.dicom_metadata import parse_metadata
from mammoseg.errors import ImageReadError

CONTENT_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality", "PresentationIntentType"),
    *("ImageType", "ConversionType", "BodyPartExamined", "AnatomicRegionSequence", "SourceImageSequence"),
]
STORAGE = "1.2.840.10008.5.1.4.1.1"
FOR_PRESENTATION_CLASS, FOR_PROCESSING_CLASS = f"{STORAGE}.1.2", f"{STORAGE}.1.2.1"
MAMMOGRAPHY_CLASSES = {
    *(FOR_PRESENTATION_CLASS, FOR_PROCESSING_CLASS),
    f"{STORAGE}.13.1.3",  # Breast Tomosynthesis
    *(f"{STORAGE}.13.1.4", f"{STORAGE}.13.1.5"),  # Breast Projection X-Ray
}
# Classes of images that may be mammograms: digital X-ray, computed radiography and secondary captures.
GENERAL_CLASSES = {
    *(f"{STORAGE}.1", f"{STORAGE}.1.1", f"{STORAGE}.1.1.1"),
    *(f"{STORAGE}.7", f"{STORAGE}.7.1", f"{STORAGE}.7.2", f"{STORAGE}.7.3"),
}
# Modalities of X-ray images in general and of secondary captures: mammograms if the header states the breast.
GENERAL_MODALITIES = ("CR", "DX", "RG", "OT", "SC")
SCREEN_CAPTURES = ("SD", "DRW", "DV")  # Conversion Type of scanned documents, drawings and digitised video
# Defined terms of PS3.3, section C.7.3.1.1.1; other text in the header is not quoted.
OTHER_MODALITIES = {
    *("CT", "MR", "US", "NM", "PT", "XA", "RF", "ES", "GM", "SM", "XC", "OP", "OPT", "IVUS", "IVOCT", "PX", "IO", "BI"),
    *("SEG", "SR", "PR", "KO", "DOC", "REG", "FID", "RWV", "ECG", "EPS", "HD", "AU", "BMD", "LS", "TG", "ANN"),
    *("RTIMAGE", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTRECORD", "DMS", "M3D", "OCT", "OAM", "VA", "POS", "STAIN"),
}
BREAST_CODES = {"76752008", "T-04000"}  # SNOMED CT, SRT
NOT_A_MAMMOGRAM = "not a mammogram (MG)"


@dataclass(frozen=True)
class Exposure:
    """Identification of the exposure of a DICOM image.

    Attributes:
        intent: "FOR PROCESSING", "FOR PRESENTATION" or empty.
        instance: SOP Instance UID, or empty.
        sources: SOP Instance UIDs of the images from which the image was derived.
        view: Study Instance UID, laterality and view position; None unless all are known.
        study: Study Instance UID, or empty.
    """

    intent: str
    instance: str
    sources: frozenset[str]
    view: tuple[str, str, str] | None
    study: str = ""


def require_mammogram(header: FileDataset) -> None:
    """Check by Modality, SOP class and body part that an image may be a mammogram.

    Images without these attributes are accepted, since exports and anonymisation tools remove them.

    Raises:
        ImageReadError: If the image was acquired with another modality, or is a general X-ray image or secondary
            capture whose header does not state the breast.
    """
    sop_class = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    modality = str(header.get("Modality") or "").strip().upper()
    if sop_class in STANDARD_UIDS and sop_class not in MAMMOGRAPHY_CLASSES | GENERAL_CLASSES:
        raise ImageReadError(f"{UID(sop_class).name}, {NOT_A_MAMMOGRAM}")
    if modality in OTHER_MODALITIES:
        raise ImageReadError(f"Modality {modality}, {NOT_A_MAMMOGRAM}")
    if is_screen_capture(header):
        raise ImageReadError(f"a screen capture or scanned document, {NOT_A_MAMMOGRAM}")
    if modality in ("", "MG") or sop_class in MAMMOGRAPHY_CLASSES or states_breast(header):
        return
    quoted = f"Modality {modality}" if modality in GENERAL_MODALITIES else "an unknown Modality"
    raise ImageReadError(f"{quoted} and no breast in the header, {NOT_A_MAMMOGRAM}")


def is_screen_capture(header: FileDataset) -> bool:
    """Return whether the image is a secondary capture of a screen, document or drawing."""
    if str(header.get("ConversionType") or "").strip().upper() in SCREEN_CAPTURES:
        return True
    image_type = header.get("ImageType") or ()
    return "SCREEN SAVE" in ([image_type] if isinstance(image_type, str) else [str(value) for value in image_type])


def states_breast(header: FileDataset) -> bool:
    """Return whether the body part, the anatomic region or the view is that of a mammogram."""
    if "BREAST" in str(header.get("BodyPartExamined") or "").upper():
        return True
    region = next(iter(header.get("AnatomicRegionSequence") or []), None)
    if region is not None and str(region.get("CodeValue", "")) in BREAST_CODES:
        return True
    return parse_metadata(header).view in ("CC", "MLO")


def parse_exposure(header: FileDataset) -> Exposure:
    """Return the identification of the exposure of an image."""
    metadata = parse_metadata(header)
    study = str(header.get("StudyInstanceUID") or "")
    known = study and metadata.side and metadata.view
    sources = (str(item.get("ReferencedSOPInstanceUID") or "") for item in header.get("SourceImageSequence") or [])
    return Exposure(
        presentation_intent(header),
        str(header.get("SOPInstanceUID") or ""),
        frozenset(uid for uid in sources if uid),
        (study, metadata.side, metadata.view) if known else None,
        study,
    )


def presentation_intent(header: FileDataset) -> str:
    """Return "FOR PROCESSING", "FOR PRESENTATION" or an empty string.

    FOR PROCESSING images contain the values of the detector, FOR PRESENTATION images are processed for display.
    """
    intent = str(header.get("PresentationIntentType") or "").strip().upper()
    if intent in ("FOR PROCESSING", "FOR PRESENTATION"):
        return intent
    classes = {FOR_PRESENTATION_CLASS: "FOR PRESENTATION", FOR_PROCESSING_CLASS: "FOR PROCESSING"}
    return classes.get(str(header.get("SOPClassUID") or ""), "")
