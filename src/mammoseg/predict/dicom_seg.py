"""DICOM Segmentations of predicted masks, which refer to their source images.

Patient attributes are blank unless segmentation=identified. Four attributes of the source image, by which viewers
find it, are always copied: SOP Class UID, SOP Instance UID, Series Instance UID and Study Instance UID.

Source:
    DICOM PS3.3, section A.51 (Segmentation IOD).
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.uid import UID, DigitalMammographyXRayImageStorageForPresentation, generate_uid
from pydicom.valuerep import DSfloat

from mammoseg.data.images.dicom import suppress_header_text
from mammoseg.data.images.dicom_metadata import FUNCTIONAL_GROUPS, attribute
from mammoseg.data.images.formats import open_decompressed
from mammoseg.data.images.metadata import PixelSpacing
from mammoseg.errors import ImageReadError, UserError

DIGITAL_MAMMOGRAPHY = DigitalMammographyXRayImageStorageForPresentation
REFERENCE_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
SPATIAL_ATTRIBUTES = ("FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient")
# Type 2 attributes, which are required but may be empty: DICOM PS3.5, section 7.4.3.
TYPE2_ATTRIBUTES = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
PATIENT_ATTRIBUTES = (*TYPE2_ATTRIBUTES, "SpecificCharacterSet", "IssuerOfPatientID", "StudyDescription", "PatientAge")
ORIENTATION_CODE = re.compile("[APRLHF]{1,3}")  # anterior, posterior, right, left, head, foot
SERIES_NUMBER = 9001  # higher than those that scanners assign


def require_highdicom() -> None:
    """Check that highdicom is installed.

    Raises:
        UserError: If it is not.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UserError(
            "DICOM Segmentations require highdicom: pip install '.[dicom]', or set segmentation=none"
        ) from error


def encode_segmentation(
    source: Path, mask: NDArray[np.bool_], spacing: PixelSpacing | None, *, serial: str, identified: bool = False
) -> bytes:
    """Encode a mask as a DICOM Segmentation with one segment, "Mass".

    Projection images have no patient coordinate system, but 3D Slicer and OHIF require one. If the source has none, the
    segmentation has a synthetic frame of reference with the identity orientation and the stored pixel spacing of the
    source (1 mm if unknown), which is the geometry that these viewers assume for the image.

    Args:
        source: The DICOM file of the image.
        mask: (H, W) mask of all masses.
        spacing: Pixel spacing of the image, None if unknown.
        serial: Device Serial Number, which the standard requires; identifies the network.
        identified: Whether to copy patient and study attributes from the source, for an archive of the same hospital;
            otherwise they are blank.

    Returns:
        Content of the DICOM file.

    Raises:
        ImageReadError: If the header of the source is damaged, lacks a UID or contains invalid values.
    """
    with suppress_header_text():
        image = source_dataset(source, mask.shape, spacing, identified)
        try:
            segmentation = build_segmentation(image, mask, serial)
            content = io.BytesIO()
            segmentation.save_as(content, enforce_file_format=True)
        except Exception:
            # highdicom raises many exception types for invalid values; their messages quote the header.
            alternatives = "anonymous or segmentation=none" if identified else "none"
            raise ImageReadError(
                f"its header has values that DICOM Segmentations do not allow; set segmentation={alternatives}"
            ) from None
    return content.getvalue()


def build_segmentation(image: Dataset, mask: NDArray[np.bool_], serial: str) -> Any:
    """Create the highdicom Segmentation.

    Args:
        image: Output of `source_dataset`.
        mask: (H, W) mask of all masses.
        serial: Device Serial Number.

    Returns:
        A `highdicom.seg.Segmentation`.
    """
    import highdicom
    from highdicom.seg import Segmentation

    # highdicom requires functional groups of sources of multi-frame classes, such as tomosynthesis, even for one frame.
    source_class, image.SOPClassUID = image.SOPClassUID, DIGITAL_MAMMOGRAPHY
    segmentation = Segmentation(
        [image],
        mask[None].astype(np.uint8),
        "BINARY",
        [mass_segment()],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="mammoseg",
        manufacturer_model_name="mammoseg",
        software_versions=version("mammoseg"),
        device_serial_number=serial,
        series_description="Breast masses, mammoseg. Research use only",
        content_label="MASSES",
        content_description="Breast masses found by a network; research only",
        content_creator_name="",
        omit_empty_frames=False,
    )
    segmentation.PatientOrientation = image.PatientOrientation
    for element in segmentation.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = source_class
    return segmentation


def mass_segment() -> Any:
    """Return the description of the only segment: masses of the breast, segmented automatically."""
    import highdicom
    from highdicom.seg import SegmentDescription

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="mammoseg", version=version("mammoseg"), family=codes.DCM.ArtificialIntelligence
    )
    return SegmentDescription(
        segment_number=1,
        segment_label="Mass",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Mass,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        anatomic_regions=[codes.SCT.Breast],
    )


def source_dataset(path: Path, shape: tuple[int, ...], spacing: PixelSpacing | None, identified: bool) -> Dataset:
    """Read the header of the source image, with only the attributes that the segmentation needs.

    Args:
        path: The DICOM file of the image.
        shape: (H, W).
        spacing: Pixel spacing, None if unknown.
        identified: Whether to include patient and study attributes.

    Returns:
        The header, with blank Type 2 attributes and a spatial reference.

    Raises:
        ImageReadError: If the header is damaged or lacks a UID.
    """
    keywords = [*REFERENCE_UIDS, *SPATIAL_ATTRIBUTES, "PatientOrientation", *(PATIENT_ATTRIBUTES if identified else ())]
    try:
        header = read_attributes(path, [*keywords, *FUNCTIONAL_GROUPS])
        if missing := [name for name in REFERENCE_UIDS if not is_uid(header.get(name))]:
            raise ImageReadError(f"a DICOM Segmentation cannot refer to it: its header has no valid {missing[0]}")
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
        raise ImageReadError("its header is damaged, so a DICOM Segmentation cannot refer to it") from None
    image.Modality = "MG"
    image.Rows, image.Columns = shape
    if not all(ORIENTATION_CODE.fullmatch(code) for code in as_strings(image.get("PatientOrientation"))):
        image.PatientOrientation = ""
    image.PixelSpacing = [DSfloat(value, auto_format=True) for value in (spacing.raw if spacing else (1, 1))]
    image.SliceThickness = 1  # required by software that reads volumes; meaningless for a projection image
    return image


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
