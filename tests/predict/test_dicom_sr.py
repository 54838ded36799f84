"""Structured Reports: highdicom reads the measurements, which refer to the image and contain no patient data."""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom import sr
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from helpers import confidential_dicom
from mammoseg.data.images.dicom import read_image
from mammoseg.errors import ImageReadError
from mammoseg.metrics.regions import connected_regions
from mammoseg.predict.dicom_source import SourceImage
from mammoseg.predict.dicom_sr import encode_report
from mammoseg.predict.findings import Findings

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    confidential_dicom.write(tmp_path / "image.dcm")
    return tmp_path / "image.dcm"


def predicted(shape: tuple[int, ...]) -> Findings:
    """A disc with a hole and a rectangle at the edge of the image, with probabilities of 0.75 and 0.625."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    squared = (rows - 90) ** 2 + (columns - 60) ** 2
    prob = np.where((squared < 900) & (squared > 25), np.float32(0.75), np.float32(0))
    prob[200:210, -20:] = 0.625
    return Findings(prob, None, prob > 0, connected_regions(prob > 0, prob))


def encode(
    source: Path, findings: Findings | None = None, *, identified: bool = False, side: str = "L"
) -> tuple[bytes, Findings]:
    pixels, metadata = read_image(source)
    findings = predicted(pixels.shape) if findings is None else findings
    image = SourceImage(source, pixels.shape, metadata.spacing, identified)
    return encode_report(image, findings, side=side, serial="abc"), findings


def read(content: bytes) -> Any:
    return sr.srread(BytesIO(content))


def shoelace(vertices: NDArray[np.float64]) -> float:
    x, y = vertices.T
    return float(abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2))


def test_each_mass_has_area_certainty_centre_and_contour(source: Path) -> None:
    content, findings = encode(source)
    image = pydicom.dcmread(source, stop_before_pixels=True)
    groups = read(content).content.get_planar_roi_measurement_groups()
    assert len(groups) == len(findings.masses) == 2
    for index, (group, mass) in enumerate(zip(groups, findings.masses, strict=True), start=1):
        values = {(m.name, m.unit, m.derivation): m.value for m in group.get_measurements()}
        area = mass.area * confidential_dicom.SPACING**2
        assert values.pop((codes.SCT.Area, codes.UCUM.SquareMillimeter, None)) == pytest.approx(area, abs=0.01)
        certainty = values.pop((codes.DCM.CertaintyOfFinding, codes.UCUM.Percent, codes.SCT.Mean))
        assert certainty == pytest.approx(100 * mass.mean_prob)
        assert values == {}
        assert group.tracking_identifier == f"Mass {index}"
        assert group.finding_type == codes.SCT.Mass
        (site,) = group.finding_sites
        assert site.value == codes.SCT.Breast
        assert site.laterality == codes.SCT.Left
        assert group.roi.graphic_type == sr.GraphicTypeValues.POLYLINE
        np.testing.assert_array_equal(group.roi.value[0], group.roi.value[-1])
        assert shoelace(group.roi.value) == mass.area
        (reference,) = group.roi.ContentSequence
        assert reference.referenced_sop_instance_uid == image.SOPInstanceUID
        (centre,) = (item for item in group[0].ContentSequence if item.name == codes.DCM.Center)
        assert centre.relationship_type == sr.RelationshipTypeValues.CONTAINS
        np.testing.assert_allclose(centre.value, [[mass.x + 0.5, mass.y + 0.5]], atol=1e-4)
        assert centre.ContentSequence[0].referenced_sop_instance_uid == image.SOPInstanceUID


@pytest.mark.parametrize(
    ("empty", "summary"),
    [
        (False, codes.DCM.AllAlgorithmsSucceededWithFindings),
        (True, codes.DCM.AllAlgorithmsSucceededWithoutFindings),
    ],
)
def test_the_report_states_whether_there_are_findings(source: Path, empty: bool, summary: Any) -> None:
    shape = read_image(source)[0].shape
    nothing = Findings(np.zeros(shape, np.float32), None, np.zeros(shape, bool), [])
    report = read(encode(source, nothing if empty else None)[0])
    (group,) = report.content.get_image_measurement_groups()
    evaluations = {evaluation.name: evaluation.value for evaluation in group.get_qualitative_evaluations()}
    assert evaluations[codes.DCM.CADProcessingAndFindingsSummary] == summary
    assert len(report.content.get_planar_roi_measurement_groups()) == (0 if empty else 2)


def test_unknown_spacing_and_side_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "image.dcm"
    confidential_dicom.write(source, ImagerPixelSpacing=None)
    for group in read(encode(source, side="")[0]).content.get_planar_roi_measurement_groups():
        assert [measurement.name for measurement in group.get_measurements()] == [codes.DCM.CertaintyOfFinding]
        assert group.finding_sites[0].laterality is None


def test_the_report_refers_to_its_image_only_by_uids(source: Path, tmp_path: Path) -> None:
    content, _ = encode(source)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.dcm").write_bytes(content)
    assert confidential_dicom.leaks(tmp_path / "out") == []
    report, image = pydicom.dcmread(BytesIO(content)), pydicom.dcmread(source)
    assert all(report[name].value in ("", None) for name in confidential_dicom.PATIENT_ATTRIBUTES if name in report)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert report.StudyInstanceUID == study.StudyInstanceUID == image.StudyInstanceUID
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert instance.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert report.SeriesInstanceUID != image.SeriesInstanceUID


def test_identified_reports_contain_the_patient(source: Path) -> None:
    content, _ = encode(source, identified=True)
    report = pydicom.dcmread(BytesIO(content))
    for name, value in confidential_dicom.PATIENT_ATTRIBUTES.items():
        assert str(report[name].value) == value, name
    assert not any(value.encode() in content for value in confidential_dicom.OTHER_ATTRIBUTES.values())


def test_a_long_contour_is_written(source: Path) -> None:
    """Explicit encodings could not contain it."""
    shape = read_image(source)[0].shape
    prob = np.zeros(shape, np.float32)
    prob[::2] = prob[:, 50] = 1
    content, findings = encode(source, Findings(prob, None, prob > 0, connected_regions(prob > 0, prob)))
    (group,) = read(content).content.get_planar_roi_measurement_groups()
    assert len(group.roi.value) > 1000
    np.testing.assert_array_equal(group.roi.value[:-1], findings.outlines[0].polygon)


def test_a_source_of_a_multi_frame_class(tmp_path: Path) -> None:
    source = tmp_path / "image.dcm"
    confidential_dicom.write(source, SOPClassUID=TOMOSYNTHESIS, NumberOfFrames=1)
    report = read(encode(source)[0])
    group = report.content.get_planar_roi_measurement_groups()[0]
    assert group.roi.ContentSequence[0].referenced_sop_class_uid == TOMOSYNTHESIS


def test_invalid_header_values_are_reported_without_quoting_them(source: Path) -> None:
    source.write_bytes(source.read_bytes().replace(b"19010203", b"Jan-1901"))
    with pytest.raises(ImageReadError, match="segmentation=anonymous") as raised:
        encode(source, identified=True)
    assert "1901" not in str(raised.value)


@pytest.mark.parametrize("identified", [False, True])
def test_dciodvfy_finds_no_error(source: Path, tmp_path: Path, identified: bool) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed; it is part of Debian's dicom3tools")
    (tmp_path / "report.dcm").write_bytes(encode(source, identified=identified)[0])
    completed = subprocess.run(["dciodvfy", tmp_path / "report.dcm"], text=True, capture_output=True, check=False)
    lines = [line for line in completed.stderr.splitlines() if "would be needed to build DICOMDIR" not in line]
    assert lines == ["EnhancedSR"], "without errors it prints only the type of the file"
