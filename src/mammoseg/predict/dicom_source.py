"""Headers of source images for DICOM objects that refer to them: Segmentations and Structured Reports.

Patient attributes are blank unless segmentation=identified. Four attributes of the source image, by which viewers
find it, are always copied: SOP Class UID, SOP Instance UID, Series Instance UID and Study Instance UID.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import DSfloat

from mammoseg.data.images.dicom import suppress_header_text
from mammoseg.data.images.dicom_metadata import FUNCTIONAL_GROUPS, attribute
from mammoseg.data.images.formats import open_decompressed
from mammoseg.data.images.metadata import PixelSpacing
from mammoseg.errors import ImageReadError

REFERENCE_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
SPATIAL_ATTRIBUTES = ("FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient")
# Type 2 attributes, which are required but may be empty: DICOM PS3.5, section 7.4.3.
TYPE2_ATTRIBUTES = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
PATIENT_ATTRIBUTES = (*TYPE2_ATTRIBUTES, "SpecificCharacterSet", "IssuerOfPatientID", "StudyDescription", "PatientAge")
ORIENTATION_CODE = re.compile("[APRLHF]{1,3}")  # anterior, posterior, right, left, head, foot


@dataclass(frozen=True)
class SourceImage:
    """The DICOM image to which an object refers.

    Attributes:
        path: The DICOM file.
        shape: (H, W).
        spacing: Pixel spacing, None if unknown.
        identified: Whether to copy patient and study attributes, for an archive of the same hospital; otherwise they
            are blank.
    """

    path: Path
    shape: tuple[int, ...]
    spacing: PixelSpacing | None
    identified: bool = False


def encode_object(source: SourceImage, build: Callable[[Dataset], Dataset]) -> bytes:
    """Encode a DICOM object that refers to an image.

    Args:
        source: The image.
        build: Creates the object from the output of `source_dataset`.

    Returns:
        Content of the DICOM file.

    Raises:
        ImageReadError: If the header of the source is damaged, lacks a UID or contains invalid values.
    """
    with suppress_header_text():
        image = source_dataset(source)
        try:
            content = io.BytesIO()
            build(image).save_as(content, enforce_file_format=True)
        except Exception:
            # highdicom raises many exception types for invalid values; their messages quote the header.
            alternatives = "anonymous or segmentation=none" if source.identified else "none"
            raise ImageReadError(
                f"its header has values that DICOM objects must not contain; set segmentation={alternatives}"
            ) from None
    return content.getvalue()


def equipment(serial: str) -> dict[str, Any]:
    """Return the arguments of highdicom that describe the series and the program.

    Args:
        serial: Device Serial Number.
    """
    return {
        "instance_number": 1,
        "manufacturer": "mammoseg",
        "manufacturer_model_name": "mammoseg",
        "software_versions": version("mammoseg"),
        "device_serial_number": serial,
        "series_description": "Breast masses, mammoseg. Research use only",
    }


def source_dataset(source: SourceImage) -> Dataset:
    """Read the header of the source image, with only the attributes that objects referring to it need.

    Projection images have no patient coordinate system, but 3D Slicer and OHIF require one for Segmentations. If the
    source has none, the header has a synthetic frame of reference with the identity orientation and the stored pixel
    spacing of the source (1 mm if unknown), which is the geometry that these viewers assume for the image.

    Args:
        source: The image.

    Returns:
        The header, with blank Type 2 attributes and a spatial reference.

    Raises:
        ImageReadError: If the header is damaged or lacks a UID.
    """
    patient_attributes = PATIENT_ATTRIBUTES if source.identified else ()
    keywords = [*REFERENCE_UIDS, *SPATIAL_ATTRIBUTES, "PatientOrientation", *patient_attributes]
    try:
        header = read_attributes(source.path, [*keywords, *FUNCTIONAL_GROUPS])
        if missing := [name for name in REFERENCE_UIDS if not is_uid(header.get(name))]:
            raise ImageReadError(f"its header has no valid {missing[0]}, so a DICOM object cannot refer to it")
        image = Dataset()
        for name in TYPE2_ATTRIBUTES:
            setattr(image, name, "")
        for name in keywords:
            if name not in SPATIAL_ATTRIBUTES and header.get(name) is not None:
                image.add(header[name])
        add_spatial_reference(image, header)
    except ImageReadError:
        raise
    except Exception:
        # pydicom raises many exception types for damaged files; their messages quote the header.
        raise ImageReadError("its header is damaged, so a DICOM object cannot refer to it") from None
    describe_pixels(image, source)
    return image


def describe_pixels(image: Dataset, source: SourceImage) -> None:
    """Add modality, size, orientation and spacing of the pixels to `image`."""
    image.Modality = "MG"
    image.Rows, image.Columns = source.shape
    if not all(ORIENTATION_CODE.fullmatch(code) for code in as_strings(image.get("PatientOrientation"))):
        image.PatientOrientation = ""
    spacing = source.spacing.raw if source.spacing else (1, 1)
    image.PixelSpacing = [DSfloat(value, auto_format=True) for value in spacing]
    image.SliceThickness = 1  # required by software that reads volumes; meaningless for a projection image


def read_attributes(path: Path, keywords: Sequence[str]) -> Dataset:
    """Read some attributes of a DICOM file, which may be compressed with gzip."""
    with open_decompressed(path) as file:
        return pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(keywords))


def add_spatial_reference(image: Dataset, header: Dataset) -> None:
    """Copy the frame of reference from `header`, or create a synthetic one if it is incomplete."""
    frame_of_reference, orientation, position = (attribute(header, name) for name in SPATIAL_ATTRIBUTES)
    is_known = bool(is_uid(frame_of_reference) and orientation and position)
    image.FrameOfReferenceUID = frame_of_reference if is_known else generate_uid()
    image.ImageOrientationPatient = orientation if is_known else [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = position if is_known else [0, 0, 0]


def as_strings(value: object) -> list[str]:
    """Return the values of an attribute as strings; [""] if it is empty."""
    return [str(item) for item in value] if isinstance(value, MultiValue) else [str(value or "")]


def is_uid(value: object) -> bool:
    """Return whether `value` is a valid UID."""
    return isinstance(value, str) and value != "" and UID(value).is_valid
