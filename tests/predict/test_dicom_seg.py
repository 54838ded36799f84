"""What is written opens elsewhere, refers to its image, and says nothing of the patient unless it is asked to."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless

from mammoseg.data.images.dicom import read_image
from mammoseg.errors import ImageReadError, UserError
from mammoseg.predict import dicom_seg

highdicom = pytest.importorskip("highdicom")
MISSING = "is not there; it comes with Debian's dicom3tools"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    planted.write(tmp_path / "image.dcm")
    return tmp_path / "image.dcm"


def mask_of(source: Path) -> np.ndarray:
    pixels = read_image(source)[0]
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    # Two discs, one cut by the upper edge, neither in the middle.
    return ((rows - 90) ** 2 + (columns - 60) ** 2 < 900) | (rows**2 + (columns - 300) ** 2 < 1600)


def encode(source: Path, mask: np.ndarray | None = None, **more: Any) -> bytes:
    facts = read_image(source)[1]
    return dicom_seg.encode(source, mask_of(source) if mask is None else mask, facts.spacing, serial="abc", **more)


def test_it_reads_back_pixel_by_pixel(source: Path) -> None:
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
def test_it_refers_to_its_image(source: Path, identified: bool) -> None:
    written, image = pydicom.dcmread(BytesIO(encode(source, identified=identified))), pydicom.dcmread(source)
    assert written.StudyInstanceUID == image.StudyInstanceUID
    (series,) = written.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    (instance,) = series.ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == image.SOPClassUID
    assert written.SeriesInstanceUID != image.SeriesInstanceUID
    assert (written.Rows, written.Columns) == (image.Rows, image.Columns)


def test_nothing_of_the_patient_is_in_it(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "it.dcm").write_bytes(encode(source))
    assert planted.leaks(tmp_path / "out") == []
    written = pydicom.dcmread(tmp_path / "out" / "it.dcm")
    assert all(written[name].value in ("", None) for name in planted.IDENTITY if name in written)


def test_the_patient_is_in_it_where_the_user_says_so(source: Path) -> None:
    content = encode(source, identified=True)
    written = pydicom.dcmread(BytesIO(content))
    for name, value in planted.IDENTITY.items():
        assert str(written[name].value) == value, name
    for name, value in planted.ELSEWHERE.items():
        assert value.encode() not in content, name


def test_a_picture_without_masses_is_a_segmentation_too(source: Path) -> None:
    empty = np.zeros_like(mask_of(source))
    assert not pydicom.dcmread(BytesIO(encode(source, empty))).pixel_array.any()


@pytest.mark.parametrize("identified", [False, True])
@pytest.mark.parametrize("syntax", [None, JPEG2000Lossless])
@pytest.mark.parametrize("empty", [False, True])
def test_dciodvfy_finds_no_error(tmp_path: Path, identified: bool, syntax: str | None, empty: bool) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip(f"dciodvfy {MISSING}")
    source = tmp_path / "image.dcm"
    planted.write(source, syntax=syntax)
    mask = mask_of(source) & (not empty)
    (tmp_path / "it.dcm").write_bytes(encode(source, mask, identified=identified))
    said = subprocess.run(["dciodvfy", tmp_path / "it.dcm"], text=True, capture_output=True, check=False).stderr
    lines = [line for line in said.splitlines() if "would be needed to build DICOMDIR" not in line]
    assert lines == ["Segmentation"], "its verdict is the name of what it took it for"


def test_dcmqi_by_which_slicer_loads_it_puts_it_where_the_image_is(source: Path, tmp_path: Path) -> None:
    tool = shutil.which("segimage2itkimage")
    if tool is None:
        pytest.skip("segimage2itkimage is not there; pip install dcmqi")
    (tmp_path / "it.dcm").write_bytes(encode(source))
    arguments = [tool, "--inputDICOM", str(tmp_path / "it.dcm"), "--outputDirectory", str(tmp_path), "-t", "nrrd"]
    subprocess.run(arguments, check=True, capture_output=True)
    header, _, packed = (tmp_path / "1.nrrd").read_bytes().partition(b"\n\n")
    assert b"space origin: (0,0,0)" in header
    (directions,) = re.findall(rb"space directions: \((\S+),0,0\) \(0,(\S+),0\)", header)
    assert [float(value) for value in directions] == pytest.approx([planted.SPACING] * 2)
    values = np.frombuffer(gzip.decompress(packed), "<i2").reshape(mask_of(source).shape)
    np.testing.assert_array_equal(values > 0, mask_of(source))


def test_a_source_that_knows_its_place_gives_it(tmp_path: Path) -> None:
    source = tmp_path / "image.dcm"
    place: dict[str, Any] = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [5, 6, 7]}
    planted.write(source, FrameOfReferenceUID="1.2.3.4.5", **place)
    written = pydicom.dcmread(BytesIO(encode(source)))
    assert written.FrameOfReferenceUID == "1.2.3.4.5"
    (shared,), (frame,) = written.SharedFunctionalGroupsSequence, written.PerFrameFunctionalGroupsSequence
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == place["ImageOrientationPatient"]
    assert frame.PlanePositionSequence[0].ImagePositionPatient == place["ImagePositionPatient"]


def test_spacing_is_the_stored_one_by_which_viewers_draw_the_image(tmp_path: Path) -> None:
    for spacing, expected in (([0.07, 0.08], [0.07, 0.08]), ([0.1 / 3, 0.1 / 3], [0.033333, 0.033333]), (None, [1, 1])):
        source = tmp_path / "image.dcm"
        planted.write(source, ImagerPixelSpacing=spacing, EstimatedRadiographicMagnificationFactor=1.5)
        (shared,) = pydicom.dcmread(BytesIO(encode(source))).SharedFunctionalGroupsSequence
        assert shared.PixelMeasuresSequence[0].PixelSpacing == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize("value", ["", "Planted^Jane"])
def test_a_source_that_cannot_be_referred_to(tmp_path: Path, name: str, value: str) -> None:
    source = tmp_path / "image.dcm"
    planted.write(source)
    header = pydicom.dcmread(source)
    header[name]._value = value
    header.save_as(source)
    with pytest.raises(ImageReadError, match=f"no valid {name}") as caught:
        encode(source)
    assert "Planted" not in str(caught.value)


def test_values_that_the_standard_does_not_allow_are_told_without_them(source: Path) -> None:
    whole = source.read_bytes()
    source.write_bytes(whole.replace(b"19010203", b"Jan-1901").replace(b"19870605", b"Jun-1987"))
    with pytest.raises(ImageReadError, match="segmentation=anonymous") as caught:
        encode(source, identified=True)
    assert "1901" not in str(caught.value)
    assert pydicom.dcmread(BytesIO(encode(source))).PatientBirthDate in ("", None)


def test_without_highdicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UserError, match=r"pip install '\.\[dicom\]'"):
        dicom_seg.available()
