"""DICOM mammograms with planted header text, in any transfer syntax, to test that no output contains it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLosslessSV1

from helpers.gdcm_files import gdcm_compress
from mammoseg.phantom.anatomy import Phantom, draw_phantom
from mammoseg.phantom.dicom import DIGITAL_MAMMOGRAPHY, write_greyscale_dicom

# Attributes that a DICOM SEG may copy if the user allows it.
PATIENT_ATTRIBUTES = {
    "PatientName": "Planted^Jane",
    "PatientID": "PLANTED-ID-4711",
    "PatientBirthDate": "19010203",
    "PatientSex": "F",
    "PatientAge": "077Y",
    "IssuerOfPatientID": "PLANTED-ISSUER",
    "StudyDate": "19870605",
    "StudyTime": "040506",
    "StudyID": "PLANTED-STUDY",
    "AccessionNumber": "PLANTED-ACC",
    "ReferringPhysicianName": "Plantedreferrer^Joe",
    "StudyDescription": "Planted study description",
}
OTHER_ATTRIBUTES = {
    "InstitutionName": "Planted Hospital",
    "InstitutionAddress": "Planted Street 1",
    "InstitutionalDepartmentName": "Planted Department",
    "StationName": "PLANTEDSTATION",
    "OperatorsName": "Plantedoperator^Kim",
    "PerformingPhysicianName": "Plantedperformer^Lee",
    "PatientComments": "Planted comment",
    "OtherPatientIDs": "PLANTED-OTHER",
    "PatientAddress": "Planted Lane 2",
    "SeriesDescription": "Planted series description",
    "ProtocolName": "Planted protocol",
    "AcquisitionDate": "19870606",
    "ContentDate": "19870607",
    "DeviceSerialNumber": "PLANTED-DEVICE",
    "ManufacturerModelName": "Planted model",
    "ImageComments": "Planted image comment",
}
PLANTED = {**PATIENT_ATTRIBUTES, **OTHER_ATTRIBUTES}
# Short values such as "F" would occur by chance.
SECRETS = [value.encode() for value in PLANTED.values() if len(value) > 4]
SPACING = 0.35  # mm


@lru_cache
def phantom(side: str = "L", view: str = "CC", seed: int = 3, height: int = 512) -> Phantom:
    width = round(height * 0.77)
    return draw_phantom(
        np.random.default_rng(seed),
        density=2,
        view=view,
        side=side,
        height=height,
        width=width,
        appearance="simple",
    )


def write(path: Path, pixels: np.ndarray | None = None, syntax: str | None = None, **attributes: Any) -> np.ndarray:
    """Write a DICOM mammogram.

    Args:
        path: File to write.
        pixels: (H, W); by default those of a phantom.
        syntax: Transfer syntax to compress with, or None.
        **attributes: Attributes that replace the default ones; None removes one.

    Returns:
        The stored values (H, W).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = phantom().pixels if pixels is None else pixels
    defaults: dict[str, Any] = {
        "SOPClassUID": DIGITAL_MAMMOGRAPHY,
        "ImageLaterality": "L",
        "ViewPosition": "CC",
        "PatientOrientation": ["A", "L"],
        "ImagerPixelSpacing": [SPACING, SPACING],
    }
    merged = {**PLANTED, **defaults, **attributes}
    present = {name: value for name, value in merged.items() if value is not None}
    write_greyscale_dicom(path, pixels, bits=12, uids=(path.name,), **present)
    if syntax is not None:
        compress(path, UID(syntax))
    return pixels


def compress(path: Path, syntax: UID) -> None:
    if syntax == JPEGLosslessSV1:
        gdcm_compress(path, "JPEGLosslessProcess14_1")  # pydicom cannot encode it
        return
    image = pydicom.dcmread(path)
    assert image.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    image.compress(syntax, generate_instance_uid=False)
    image.save_as(path)


def leaks(folder: Path) -> list[str]:
    """Return the planted values in the contents and names of the files below `folder`."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [
        f"{secret.decode()} in {path}"
        for path in files
        for content in [path.read_bytes() + str(path.relative_to(folder)).encode()]
        for secret in SECRETS
        if secret in content
    ]
