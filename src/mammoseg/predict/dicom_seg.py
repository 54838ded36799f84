"""A mask -> a DICOM Segmentation that refers to the image it was found in.

Who the patient is stays out of it unless the user wants it in. What it cannot do without are four identifiers of the
source image: its SOP, series and study instance UIDs, by which a viewer puts the two together, and its class.
"""

from __future__ import annotations

import io
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import DSfloat

from mammoseg.data.images.dicom import suppress_header_text
from mammoseg.data.images.metadata import Spacing
from mammoseg.errors import ImageReadError, UserError

REFERENCES = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
PLACE = ("FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient")
# What the standard wants to be there, if only blank.
ASKED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
IDENTITY = (*ASKED, "SpecificCharacterSet", "IssuerOfPatientID", "StudyDescription", "PatientAge")
DIRECTION = re.compile("[APRLHF]{1,3}")  # of rows and columns: anterior, posterior, ...
SERIES = 9001  # far from the numbers that scanners give


def available() -> None:
    """Raises UserError with the extra to install."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UserError(
            "DICOM Segmentations need highdicom: pip install '.[dicom]', or set segmentation=none"
        ) from error


def encode(
    source: Path, mask: NDArray[np.bool_], spacing: Spacing | None, *, serial: str, identified: bool = False
) -> bytes:
    """Encode a mask as a DICOM Segmentation with one segment, "Mass".

    Projection images carry no patient-space geometry, but 3D Slicer and OHIF require one. If the source has none, the
    segmentation gets a synthetic frame of reference, with rows down and columns across, at the stored spacing of the
    source (1 mm if there is none), which is where they draw the image itself.

    Args:
        source: The DICOM file of the image.
        mask: All masses of the image, (H, W).
        spacing: Pixel spacing of the image, None if unknown.
        serial: Identifies the network, as the standard requires of the device.
        identified: Copies patient and study attributes from the source, for an archive of the same hospital; by
            default they are blank.

    Returns:
        The content of the file.

    Raises:
        ImageReadError: If the source lacks what is needed to refer to it.
    """
    with suppress_header_text():
        image = reference(source, mask.shape, spacing, identified)
        try:
            segmentation = build_segmentation(image, mask, serial)
            content = io.BytesIO()
            segmentation.save_as(content, enforce_file_format=True)
        except Exception:
            # As in dicom.py: values that the standard does not allow raise a dozen types, whose texts quote them.
            raise ImageReadError(
                "its header's values cannot go into a DICOM Segmentation; try segmentation=anonymous or none"
            ) from None
    return content.getvalue()


def build_segmentation(image: Dataset, mask: NDArray[np.bool_], serial: str) -> Any:
    """A highdicom Segmentation of the image that refers to it."""
    import highdicom
    from highdicom.seg import Segmentation

    segmentation = Segmentation(
        [image],
        mask[None].astype(np.uint8),
        "BINARY",
        [mass_segment()],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="mammoseg",
        manufacturer_model_name="mammoseg",
        software_versions=version("mammoseg"),
        device_serial_number=serial,
        series_description="Breast masses, mammoseg. Research only",
        content_label="MASSES",
        content_description="Breast masses found by a network; research only",
        content_creator_name="",
        omit_empty_frames=False,
    )
    segmentation.PatientOrientation = image.PatientOrientation
    return segmentation


def mass_segment() -> Any:
    """The description of the one segment: masses of the breast, found automatically by mammoseg."""
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


def reference(path: Path, shape: tuple[int, ...], spacing: Spacing | None, identified: bool) -> Dataset:
    """The source image without its pixels, and without all that need not be known of it."""
    wanted = [*REFERENCES, *PLACE, "PatientOrientation", *(IDENTITY if identified else ())]
    try:
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(wanted))
        if missing := [name for name in REFERENCES if not is_uid(header.get(name))]:
            raise ImageReadError(f"a DICOM Segmentation cannot refer to it: its header has no valid {missing[0]}")
        image = Dataset()
        for name in ASKED:
            setattr(image, name, "")
        for name in wanted:
            if name not in PLACE and header.get(name) is not None:
                image.add(header[name])
        # Known for the patient only if all of it is.
        placed = all(header.get(name) for name in PLACE) and is_uid(header.FrameOfReferenceUID)
        image.FrameOfReferenceUID = header.FrameOfReferenceUID if placed else generate_uid()
        image.ImageOrientationPatient = header.ImageOrientationPatient if placed else [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = header.ImagePositionPatient if placed else [0, 0, 0]
    except ImageReadError:
        raise
    except Exception:
        # As in dicom.py: pydicom's many types, whose texts quote the header.
        raise ImageReadError("its header is damaged, so no DICOM Segmentation can refer to it") from None
    image.Modality = "MG"
    image.Rows, image.Columns = shape
    if not all(DIRECTION.fullmatch(part) for part in texts(image.get("PatientOrientation"))):
        image.PatientOrientation = ""
    image.PixelSpacing = [DSfloat(value, auto_format=True) for value in (spacing.raw if spacing else (1, 1))]
    image.SliceThickness = 1  # of a picture; readers of volumes ask for one
    return image


def texts(value: object) -> list[str]:
    """The parts of an attribute of one, several or no values; [""] for none."""
    return [str(part) for part in value] if isinstance(value, MultiValue) else [str(value or "")]


def is_uid(value: object) -> bool:
    return isinstance(value, str) and value != "" and UID(value).is_valid
