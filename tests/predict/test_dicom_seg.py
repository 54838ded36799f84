"""DICOM Segmentations: other software reads them, they refer to their image, and they contain no patient data."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless

from helpers import confidential_dicom
from mammoseg.data.images.dicom import read_image
from mammoseg.errors import ImageReadError
from mammoseg.predict import dicom_seg
from mammoseg.predict.dicom_source import SourceImage

DICOM3TOOLS = "is not installed; it is part of Debian's dicom3tools"
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
BREAST_PROJECTION = "1.2.840.10008.5.1.4.1.1.13.1.4"
MULTI_FRAME_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    confidential_dicom.write(tmp_path / "image.dcm")
    return tmp_path / "image.dcm"


def mask_of(source: Path) -> np.ndarray:
    pixels = read_image(source)[0]
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    # Two discs off the centre, one of them cut by the upper edge.
    return np.asarray(((rows - 90) ** 2 + (columns - 60) ** 2 < 900) | (rows**2 + (columns - 300) ** 2 < 1600))


def encode(source: Path, mask: np.ndarray | None = None, *, identified: bool = False) -> bytes:
    mask = mask_of(source) if mask is None else mask
    image = SourceImage(source, mask.shape, read_image(source)[1].spacing, identified)
    return dicom_seg.encode_segmentation(image, mask, serial="abc")


def test_the_mask_is_encoded_losslessly(source: Path) -> None:
    content = encode(source)
    segmentation = highdicom.seg.segread(BytesIO(content))
    uids = pydicom.dcmread(source, stop_before_pixels=True)
    frames = segmentation.get_pixels_by_source_instance([uids.SOPInstanceUID])
    np.testing.assert_array_equal(frames[0, :, :, 0] > 0, mask_of(source))
    plain = pydicom.dcmread(BytesIO(content))
    np.testing.assert_array_equal(plain.pixel_array > 0, mask_of(source))
    assert segmentation.number_of_segments == 1
    description = segmentation.get_segment_description(1)
    assert description.segmented_property_type.meaning == "Mass"
    assert description.algorithm_type == highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC


@pytest.mark.parametrize("identified", [False, True])
def test_the_segmentation_refers_to_its_image(source: Path, identified: bool) -> None:
    written, image = pydicom.dcmread(BytesIO(encode(source, identified=identified))), pydicom.dcmread(source)
    assert written.StudyInstanceUID == image.StudyInstanceUID
    (series,) = written.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    (instance,) = series.ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == image.SOPClassUID
    assert written.SeriesInstanceUID != image.SeriesInstanceUID
    assert (written.Rows, written.Columns) == (image.Rows, image.Columns)


def test_anonymous_segmentations_contain_no_patient_data(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "segmentation.dcm").write_bytes(encode(source))
    assert confidential_dicom.leaks(tmp_path / "out") == []
    written = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    assert all(written[name].value in ("", None) for name in confidential_dicom.PATIENT_ATTRIBUTES if name in written)


def test_identified_segmentations_contain_the_patient(source: Path) -> None:
    content = encode(source, identified=True)
    written = pydicom.dcmread(BytesIO(content))
    for name, value in confidential_dicom.PATIENT_ATTRIBUTES.items():
        assert str(written[name].value) == value, name
    for name, value in confidential_dicom.OTHER_ATTRIBUTES.items():
        assert value.encode() not in content, name


def test_an_empty_mask_is_written(source: Path) -> None:
    empty = np.zeros_like(mask_of(source))
    assert not pydicom.dcmread(BytesIO(encode(source, empty))).pixel_array.any()


@pytest.mark.parametrize("identified", [False, True])
@pytest.mark.parametrize("syntax", [None, JPEG2000Lossless])
@pytest.mark.parametrize("empty", [False, True])
def test_dciodvfy_finds_no_error(tmp_path: Path, identified: bool, syntax: str | None, empty: bool) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip(f"dciodvfy {DICOM3TOOLS}")
    source = tmp_path / "image.dcm"
    confidential_dicom.write(source, syntax=syntax)
    mask = mask_of(source) & (not empty)
    (tmp_path / "segmentation.dcm").write_bytes(encode(source, mask, identified=identified))
    output = subprocess.run(
        ["dciodvfy", tmp_path / "segmentation.dcm"], text=True, capture_output=True, check=False
    ).stderr
    lines = [line for line in output.splitlines() if "would be needed to build DICOMDIR" not in line]
    assert lines == ["Segmentation"], "without errors it prints only the type of the file"


def test_dcmqi_reads_geometry_and_mask(source: Path, tmp_path: Path) -> None:
    """3D Slicer reads segmentations with dcmqi."""
    tool = shutil.which("segimage2itkimage")
    if tool is None:
        pytest.skip("segimage2itkimage is not installed; pip install dcmqi")
    (tmp_path / "segmentation.dcm").write_bytes(encode(source))
    arguments = [
        tool,
        "--inputDICOM",
        str(tmp_path / "segmentation.dcm"),
        "--outputDirectory",
        str(tmp_path),
        "-t",
        "nrrd",
    ]
    subprocess.run(arguments, check=True, capture_output=True)
    header, _, packed = (tmp_path / "1.nrrd").read_bytes().partition(b"\n\n")
    assert b"space origin: (0,0,0)" in header
    (directions,) = re.findall(rb"space directions: \((\S+),0,0\) \(0,(\S+),0\)", header)
    assert [float(value) for value in directions] == pytest.approx([confidential_dicom.SPACING] * 2)
    values = np.frombuffer(gzip.decompress(packed), "<i2").reshape(mask_of(source).shape)
    np.testing.assert_array_equal(values > 0, mask_of(source))


def test_the_frame_of_reference_of_the_source_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "image.dcm"
    geometry: dict[str, Any] = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [5, 6, 7]}
    confidential_dicom.write(source, FrameOfReferenceUID="1.2.3.4.5", **geometry)
    written = pydicom.dcmread(BytesIO(encode(source)))
    assert written.FrameOfReferenceUID == "1.2.3.4.5"
    (shared,), (frame,) = written.SharedFunctionalGroupsSequence, written.PerFrameFunctionalGroupsSequence
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == geometry["ImageOrientationPatient"]
    assert frame.PlanePositionSequence[0].ImagePositionPatient == geometry["ImagePositionPatient"]


def test_the_spacing_equals_that_of_the_source(tmp_path: Path) -> None:
    for spacing, expected in (([0.07, 0.08], [0.07, 0.08]), ([0.1 / 3, 0.1 / 3], [0.033333, 0.033333]), (None, [1, 1])):
        source = tmp_path / "image.dcm"
        confidential_dicom.write(source, ImagerPixelSpacing=spacing, EstimatedRadiographicMagnificationFactor=1.5)
        (shared,) = pydicom.dcmread(BytesIO(encode(source))).SharedFunctionalGroupsSequence
        assert shared.PixelMeasuresSequence[0].PixelSpacing == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sop_class", [TOMOSYNTHESIS, BREAST_PROJECTION, MULTI_FRAME_SECONDARY_CAPTURE, "1.2.3.4"])
def test_a_source_of_one_frame_of_a_multi_frame_class(tmp_path: Path, sop_class: str) -> None:
    """The segmentation refers to the class of its source, whose geometry is in functional groups."""
    source = tmp_path / "image.dcm"
    groups = pydicom.Dataset()
    for macro, name, value in (
        ("PixelMeasuresSequence", "PixelSpacing", [0.07, 0.08]),
        ("PlanePositionSequence", "ImagePositionPatient", [5, 6, 7]),
        ("PlaneOrientationSequence", "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]),
    ):
        item = pydicom.Dataset()
        setattr(item, name, value)
        setattr(groups, macro, pydicom.Sequence([item]))
    confidential_dicom.write(
        source,
        SOPClassUID=sop_class,
        NumberOfFrames=1,
        ImagerPixelSpacing=None,
        FrameOfReferenceUID="1.2.3.4.5",
        SharedFunctionalGroupsSequence=pydicom.Sequence([groups]),
    )
    content = encode(source)
    written = pydicom.dcmread(BytesIO(content))
    np.testing.assert_array_equal(written.pixel_array > 0, mask_of(source))
    (series,) = written.ReferencedSeriesSequence
    assert series.ReferencedInstanceSequence[0].ReferencedSOPClassUID == sop_class
    (shared,), (frame,) = written.SharedFunctionalGroupsSequence, written.PerFrameFunctionalGroupsSequence
    (image,) = frame.DerivationImageSequence[0].SourceImageSequence
    assert image.ReferencedSOPClassUID == sop_class
    assert image.ReferencedSOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.07, 0.08]
    assert frame.PlanePositionSequence[0].ImagePositionPatient == [5, 6, 7]
    highdicom.seg.segread(BytesIO(content))


def test_a_source_in_gzip(source: Path, tmp_path: Path) -> None:
    compressed = tmp_path / "image.dcm.gz"
    compressed.write_bytes(gzip.compress(source.read_bytes()))
    written = pydicom.dcmread(BytesIO(encode(compressed)))
    np.testing.assert_array_equal(written.pixel_array > 0, mask_of(source))


def test_advice_differs_from_the_setting(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_seg, "build_segmentation", lambda *_: 1 / 0)
    with pytest.raises(ImageReadError, match=r"set segmentation=none$"):
        encode(source)
    with pytest.raises(ImageReadError, match=r"set segmentation=anonymous or segmentation=none$"):
        encode(source, identified=True)


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize("value", ["", "Planted^Jane"])
def test_a_source_without_valid_uids_is_rejected(tmp_path: Path, name: str, value: str) -> None:
    source = tmp_path / "image.dcm"
    confidential_dicom.write(source)
    header = pydicom.dcmread(source)
    header[name]._value = value
    header.save_as(source)
    with pytest.raises(ImageReadError, match=f"no valid {name}") as raised:
        encode(source)
    assert "Planted" not in str(raised.value)


def test_invalid_header_values_are_reported_without_quoting_them(source: Path) -> None:
    content = source.read_bytes()
    source.write_bytes(content.replace(b"19010203", b"Jan-1901").replace(b"19870605", b"Jun-1987"))
    with pytest.raises(ImageReadError, match="segmentation=anonymous") as raised:
        encode(source, identified=True)
    assert "1901" not in str(raised.value)
    assert pydicom.dcmread(BytesIO(encode(source))).PatientBirthDate in ("", None)
