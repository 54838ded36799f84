"""DICOM reader: files that are not mammograms are rejected with a reason that quotes no free text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    BreastProjectionXRayImageStorageForPresentation,
    BreastTomosynthesisImageStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    UltrasoundImageStorage,
)

from helpers.inbreast_files import dicom, grey, save
from mammoseg.data.images.dicom import read_exposure, read_header, read_image
from mammoseg.data.images.dicom_content import Exposure
from mammoseg.errors import ImageReadError


def breast_region() -> pydicom.Sequence:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator = "76752008", "SCT"
    return pydicom.Sequence([item])


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"Modality": "CT", "SOPClassUID": CTImageStorage}, "CT Image Storage, not a mammogram"),
        ({"Modality": "MG", "SOPClassUID": CTImageStorage}, "CT Image Storage, not a mammogram"),
        ({"Modality": "MR", "SOPClassUID": MRImageStorage}, "MR Image Storage, not a mammogram"),
        ({"Modality": "US", "SOPClassUID": UltrasoundImageStorage}, "Ultrasound Image Storage, not a mammogram"),
        ({"Modality": "CT"}, "Modality CT, not a mammogram"),
        ({"Modality": "US", "BodyPartExamined": "BREAST", "SOPClassUID": SecondaryCaptureImageStorage}, "Modality US"),
        ({"Modality": "MR", "SOPClassUID": "1.2.3.4"}, "Modality MR, not a mammogram"),
        ({"Modality": "OT", "SOPClassUID": SecondaryCaptureImageStorage}, "Modality OT and no breast in the header"),
        (
            {"Modality": "DX", "SOPClassUID": DigitalXRayImageStorageForPresentation, "BodyPartExamined": "CHEST"},
            "Modality DX and no breast in the header",
        ),
        ({"Modality": "PLANTED", "SOPClassUID": SecondaryCaptureImageStorage}, "an unknown Modality and no breast"),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "ConversionType": "SD"}, "a screen capture"),
        (
            {"SOPClassUID": SecondaryCaptureImageStorage, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
            "a screen capture",
        ),
    ],
)
def test_not_a_mammogram(tmp_path: Path, elements: dict[str, Any], expected: str) -> None:
    path = save(dicom(grey(), **elements), tmp_path / "a.dcm")
    with pytest.raises(ImageReadError, match=expected) as raised:
        read_image(path)
    assert "planted" not in str(raised.value).lower()
    assert read_image(path, mask=True)[0].shape == grey().shape


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"Modality": None},
        {"Modality": ""},
        {"SOPClassUID": "1.2.3.4"},
        # CBIS-DDSM
        {"SOPClassUID": SecondaryCaptureImageStorage, "ConversionType": "WSD", "BodyPartExamined": "BREAST"},
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {"SOPClassUID": BreastTomosynthesisImageStorage, "NumberOfFrames": 1},
        {"SOPClassUID": BreastProjectionXRayImageStorageForPresentation, "NumberOfFrames": 1},
        {"Modality": "OT", "SOPClassUID": SecondaryCaptureImageStorage, "BodyPartExamined": "LEFT BREAST"},
        {"Modality": "CR", "SOPClassUID": ComputedRadiographyImageStorage, "ViewPosition": "MLO"},
        {
            "Modality": "DX",
            "SOPClassUID": DigitalXRayImageStorageForPresentation,
            "AnatomicRegionSequence": breast_region(),
        },
    ],
)
def test_a_mammogram(tmp_path: Path, elements: dict[str, Any]) -> None:
    assert read_image(save(dicom(grey(), **elements), tmp_path / "a.dcm"))[0].shape == grey().shape


def test_exposure(tmp_path: Path) -> None:
    elements: dict[str, Any] = {"StudyInstanceUID": "1.2", "ImageLaterality": "L", "ViewPosition": "CC"}
    path = save(dicom(grey(), **elements), tmp_path / "a.dcm")
    assert read_exposure(path) == Exposure("FOR PRESENTATION", "1.2.3.4", frozenset(), ("1.2", "L", "CC"), "1.2")
    source = pydicom.Dataset()
    source.ReferencedSOPInstanceUID = "1.2.9"
    save(dicom(grey(), PresentationIntentType="FOR PROCESSING", SourceImageSequence=[source]), path)
    assert read_exposure(path) == Exposure("FOR PROCESSING", "1.2.3.4", frozenset({"1.2.9"}), None)
    save(dicom(grey(), SOPClassUID=DigitalMammographyXRayImageStorageForProcessing), path)
    assert read_exposure(path).intent == "FOR PROCESSING"


def test_large_files_are_rejected_before_the_pixels_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mammoseg.data.images.dicom.LARGE_FILE_BYTES", 100)
    path = save(dicom(grey(), SOPClassUID=BreastTomosynthesisImageStorage, NumberOfFrames=60), tmp_path / "a.dcm")
    passes = []

    def read(path: Path, *, stop_before_pixels: bool = False) -> pydicom.FileDataset:
        passes.append(stop_before_pixels)
        return read_header(path, stop_before_pixels=stop_before_pixels)

    monkeypatch.setattr("mammoseg.data.images.dicom.read_header", read)
    with pytest.raises(ImageReadError, match="60 frames"):
        read_image(path)
    assert passes == [True]
    save(dicom(grey()), path)
    np.testing.assert_array_equal(read_image(path)[0], grey())


def test_a_mask_of_one_bit(tmp_path: Path) -> None:
    """The encoding of DICOM Segmentations."""
    mask = (grey() > 2000).astype(np.uint8)
    packed = np.packbits(mask, bitorder="little").tobytes()
    segmentation: dict[str, Any] = {"SOPClassUID": SegmentationStorage, "Modality": "SEG"}
    path = save(dicom(mask, BitsAllocated=1, BitsStored=1, PixelData=packed, **segmentation), tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_image(path, mask=True)[0], mask)
