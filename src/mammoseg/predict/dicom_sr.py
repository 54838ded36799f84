"""DICOM Structured Reports of predicted masses: area, centre and probability of each mass, and its contour.

Source:
    DICOM PS3.3, section A.35.2 (Enhanced SR IOD); PS3.16, TID 1500 (Measurement Report), TID 1410 (Planar ROI
    Measurements and Qualitative Evaluations) and TID 1501 (Measurement and Qualitative Evaluation Group).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from mammoseg.metrics.regions import Region
from mammoseg.predict.contours import Outline
from mammoseg.predict.dicom_source import SourceImage, encode_object, equipment
from mammoseg.predict.findings import Findings

SERIES_NUMBER = 9002  # the Segmentations have 9001
LATERALITY = {"L": codes.SCT.Left, "R": codes.SCT.Right}


def encode_report(source: SourceImage, findings: Findings, *, side: str, serial: str) -> bytes:
    """Encode the masses of an image as a DICOM Structured Report.

    Args:
        source: The image.
        findings: Its masses.
        side: Laterality, L or R, or empty if it is unknown.
        serial: Serial number of the observer; identifies the network.

    Returns:
        Content of the DICOM file.

    Raises:
        ImageReadError: If the header of the source is damaged, lacks a UID or contains invalid values.
    """
    return encode_object(source, lambda image: build_report(image, source, findings, side, serial))


def build_report(image: Dataset, source: SourceImage, findings: Findings, side: str, serial: str) -> Any:
    """Create the highdicom EnhancedSR.

    Args:
        image: Output of `source_dataset`.
        source: As the following arguments, see `encode_report`.
        findings: The masses.
        side: Laterality.
        serial: Serial number.

    Returns:
        A `highdicom.sr.EnhancedSR`.
    """
    from highdicom import sr

    sites = [sr.FindingSite(codes.SCT.Breast, laterality=LATERALITY.get(side))]
    pixel_area = source.spacing.pixel_area if source.spacing else None
    groups = [image_group(image, found=bool(findings.masses))]
    for index, (mass, outline) in enumerate(zip(findings.masses, findings.outlines, strict=True), start=1):
        groups.append(mass_group(image, f"Mass {index}", mass, outline, pixel_area, sites))
    content = sr.MeasurementReport(
        sr.ObservationContext(observer_device_context=device_context(serial)), codes.SCT.Mammography, groups
    )
    report = sr.EnhancedSR(
        evidence=[image],
        content=content[0],
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        **equipment(serial),
        is_complete=True,
        # Explicit encodings limit a contour to 8191 vertices.
        transfer_syntax_uid=ImplicitVRLittleEndian,
    )
    report.copy_patient_and_study_information(image)
    return report


def device_context(serial: str) -> Any:
    """Return the observer: a device, whose UID is derived from its serial number."""
    from highdicom import sr

    attributes = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["mammoseg", serial]),
        name="mammoseg",
        manufacturer_name="mammoseg",
        model_name="mammoseg",
        serial_number=serial,
    )
    return sr.ObserverContext(codes.DCM.Device, attributes)


def image_group(image: Dataset, *, found: bool) -> Any:
    """Return the group that states whether there are findings, so that a report without a mass is distinguishable."""
    from highdicom import sr

    summary = codes.DCM.AllAlgorithmsSucceededWithFindings if found else codes.DCM.AllAlgorithmsSucceededWithoutFindings
    return sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(uid=generate_uid(), identifier="Image"),
        algorithm_id=algorithm(),
        source_images=[sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)],
        qualitative_evaluations=[sr.QualitativeEvaluation(codes.DCM.CADProcessingAndFindingsSummary, summary)],
    )


def mass_group(
    image: Dataset, identifier: str, mass: Region, outline: Outline, pixel_area: float | None, sites: list[Any]
) -> Any:
    """Return the group of measurements of one mass.

    Args:
        image: Output of `source_dataset`.
        identifier: Tracking Identifier.
        mass: The mass.
        outline: Its contour.
        pixel_area: Area of a pixel in mm2, None if unknown.
        sites: Finding sites.
    """
    from highdicom import sr

    source_image = sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)
    closed = np.concatenate([outline.polygon, outline.polygon[:1]]).astype(np.float64)
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(uid=generate_uid(), identifier=identifier),
        referenced_region=sr.ImageRegion(sr.GraphicTypeValues.POLYLINE, closed, source_image),
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        finding_type=codes.SCT.Mass,
        finding_sites=sites,
        algorithm_id=algorithm(),
        measurements=measure(mass, pixel_area),
    )
    # The origin of spatial coordinates is the corner of the first pixel, that of `Region` its centre.
    centre = sr.CoordinatesForMeasurement(
        sr.GraphicTypeValues.POINT, np.array([[mass.x + 0.5, mass.y + 0.5]]), source_image, codes.DCM.Center
    )
    centre.RelationshipType = "CONTAINS"  # TID 1410 is extensible
    group[0].ContentSequence.append(centre)
    return group


def measure(mass: Region, pixel_area: float | None) -> list[Any]:
    """Return the measurements of one mass: area, if the area of a pixel in mm2 is known, and probability."""
    from highdicom.sr import Measurement

    certainty = round(100 * mass.mean_prob, 2)
    probability = Measurement(codes.DCM.CertaintyOfFinding, certainty, codes.UCUM.Percent, derivation=codes.SCT.Mean)
    if pixel_area is None:
        return [probability]
    return [Measurement(codes.SCT.Area, round(mass.area * pixel_area, 2), codes.UCUM.SquareMillimeter), probability]


def algorithm() -> Any:
    """Return the identification of the algorithm."""
    from highdicom import sr

    return sr.AlgorithmIdentification("mammoseg", version("mammoseg"), family=codes.DCM.ArtificialIntelligence)
