"""Writer of anonymous DICOM images; the same arguments give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITAL_MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.1.2"  # Digital Mammography X-Ray Image Storage - For Presentation
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # used for digitised film


def phantom_uid(*sources: str) -> str:
    """Return a UID derived from `sources`."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["mammoseg phantom", *sources]))


def write_greyscale_dicom(
    path: Path, pixels: NDArray[Any], *, bits: int, uids: tuple[str, ...], **attributes: Any
) -> None:
    """Write a greyscale DICOM image.

    Args:
        path: File to write.
        pixels: (H, W) uint8 or uint16.
        bits: Bits Stored.
        uids: Strings from which the study, series and instance UIDs are derived.
        **attributes: DICOM keywords and values, which override the defaults; SOPClassUID is required.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(attributes["SOPClassUID"])
    meta.MediaStorageSOPInstanceUID = UID(phantom_uid("instance", *uids))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(phantom_uid("implementation"))
    dicom = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    dicom.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dicom.StudyInstanceUID, dicom.SeriesInstanceUID = phantom_uid("study", *uids), phantom_uid("series", *uids)
    dicom.PatientID = dicom.PatientName = dicom.PatientBirthDate = dicom.PatientSex = ""
    dicom.StudyDate = dicom.StudyTime = dicom.StudyID = dicom.AccessionNumber = dicom.ReferringPhysicianName = ""
    dicom.SeriesNumber = dicom.InstanceNumber = 1
    dicom.Modality = "MG"
    dicom.Manufacturer = "mammoseg phantom"
    dicom.SamplesPerPixel, dicom.PhotometricInterpretation = 1, "MONOCHROME2"
    dicom.Rows, dicom.Columns = pixels.shape
    dicom.BitsAllocated = 8 * pixels.dtype.itemsize
    dicom.BitsStored, dicom.HighBit, dicom.PixelRepresentation = bits, bits - 1, 0
    for keyword, value in attributes.items():
        setattr(dicom, keyword, value)
    dicom.PixelData = pixels.astype(np.uint8 if pixels.dtype == np.uint8 else "<u2").tobytes()
    dicom.save_as(path, enforce_file_format=True)
