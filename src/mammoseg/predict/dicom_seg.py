"""DICOM Segmentations of predicted masses, which refer to their source images.

Source:
    DICOM PS3.3, section A.51 (Segmentation IOD).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from mammoseg.predict.dicom_source import SourceImage, encode_object, equipment

DIGITAL_MAMMOGRAPHY = DigitalMammographyXRayImageStorageForPresentation
SERIES_NUMBER = 9001  # higher than those that scanners assign


def encode_segmentation(source: SourceImage, mask: NDArray[np.bool_], *, serial: str) -> bytes:
    """Encode a mask as a DICOM Segmentation with one segment, "Mass".

    Args:
        source: The image.
        mask: (H, W) mask of all masses.
        serial: Device Serial Number, which the standard requires; identifies the network.

    Returns:
        Content of the DICOM file.

    Raises:
        ImageReadError: If the header of the source is damaged, lacks a UID or contains invalid values.
    """
    return encode_object(source, lambda image: build_segmentation(image, mask, serial))


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
        **equipment(serial),
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
