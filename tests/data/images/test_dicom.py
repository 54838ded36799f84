"""DICOM reader: pixel values, metadata and errors."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.pixels import get_decoder
from pydicom.sr.codedict import codes
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from helpers.inbreast_files import HEIGHT, PLANTED, WIDTH, dicom, grey, save
from mammoseg.data.images.dicom import read_header, read_image, read_metadata
from mammoseg.errors import ImageReadError

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "22678622.dcm"


def error_message(path: Path) -> str:
    """Return the message of the ImageReadError, which must contain neither a path nor header text."""
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "Planted" not in message
    assert str(path.parent) not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


def test_stored_values_are_returned(path: Path) -> None:
    pixels = read_image(save(dicom(grey(), BitsStored=12), path))[0]
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, grey())


@pytest.mark.parametrize(
    ("dtype", "n_levels"), [(np.uint8, 256), (np.uint16, 65536), (np.int16, 32768), (np.uint32, 65536)]
)
def test_integer_types_keep_their_values(path: Path, dtype: Any, n_levels: int) -> None:
    pixels = grey(n_levels=n_levels).astype(dtype)
    if dtype == np.int16:
        pixels -= 1000
    stored = read_image(save(dicom(pixels), path))[0]
    assert stored.dtype == {np.uint8: np.uint8, np.uint16: np.uint16, np.int16: np.int32}.get(dtype, np.float32)
    np.testing.assert_array_equal(stored, pixels)


def test_monochrome1_is_inverted_within_the_stored_range(path: Path) -> None:
    header = dicom(grey(), BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    stored = read_image(save(header, path))[0]
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, 4095 - grey())


def test_signed_monochrome1_is_inverted_within_the_stored_range(path: Path) -> None:
    signed = grey().astype(np.int16) - 2048
    header = dicom(signed, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(save(header, path))[0], 2047 - signed.astype(int))


def test_rescale_slope_and_intercept_are_applied(path: Path) -> None:
    stored = read_image(save(dicom(grey(), BitsStored=12, RescaleSlope="0.5", RescaleIntercept="-10"), path))[0]
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, grey() * 0.5 - 10)


def test_negative_slope_and_monochrome1_cancel(path: Path) -> None:
    """Rescale slope -1 and MONOCHROME1 both invert, so dense tissue stays bright."""
    header = dicom(grey(), BitsStored=12, RescaleSlope="-1", RescaleIntercept="0")
    header.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_array_equal(read_image(save(header, path))[0], grey())


@pytest.mark.parametrize("slope", ["0", "nan"])
def test_an_invalid_slope_is_an_error(path: Path, slope: str) -> None:
    complete = save(dicom(grey(), RescaleSlope="7.5", RescaleIntercept="0"), path).read_bytes()
    path.write_bytes(complete.replace(b"7.5 ", slope.ljust(4).encode()))
    assert "rescale slope" in error_message(path)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_transfer_syntaxes_are_read(path: Path, syntax: UID) -> None:
    pixels = grey().astype(">u2") if syntax == ExplicitVRBigEndian else grey()
    stored = read_image(save(dicom(pixels, syntax=syntax, BitsStored=12), path))[0]
    assert stored.dtype.isnative
    np.testing.assert_array_equal(stored, grey())


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_losslessly_compressed_images_are_read(path: Path, syntax: UID) -> None:
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg")
    header = dicom(grey(), BitsStored=12)
    header.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read_image(save(header, path))[0], grey())


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_and_file_meta_are_read(path: Path, implicit: bool) -> None:
    header = pydicom.Dataset(dicom(grey(), BitsStored=12))
    header.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_image(path)[0], grey())


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PixelData": None}, "no pixel data"),
        ({"Rows": None}, "lacks Rows"),
        ({"PhotometricInterpretation": None}, "lacks PhotometricInterpretation"),
        ({"PhotometricInterpretation": "RGB"}, "a colour image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "a colour image"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"NumberOfFrames": 60, "SOPClassUID": TOMOSYNTHESIS}, "60 frames"),
        ({"Rows": 65535, "Columns": 65535}, "65535x65535"),
        ({"Rows": 0}, "48x0"),
        ({"Rows": HEIGHT + 1}, f"truncated: {2 * HEIGHT * WIDTH} of {2 * (HEIGHT + 1) * WIDTH} bytes"),
        ({"Rows": HEIGHT // 2}, "does not have the size stated in the header"),
        ({"BitsAllocated": 13}, "Bits Allocated must be 1, 8, 16 or 32, got 13"),
    ],
)
def test_an_unsuitable_header_is_an_error(path: Path, elements: dict[str, Any], expected: str) -> None:
    save(dicom(grey(), **elements), path)
    assert expected in error_message(path)


def test_colour_pixel_data_is_an_error(path: Path) -> None:
    save(dicom(np.zeros((8, 8, 3), np.uint8), PhotometricInterpretation="RGB", PlanarConfiguration=0), path)
    assert "a colour image" in error_message(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "the file is empty"), (b"PK\3\4 a zip archive", "not a DICOM"), (b"\0" * 4096, "not a DICOM")],
)
def test_a_file_that_is_not_dicom_is_an_error(path: Path, content: bytes, expected: str) -> None:
    path.write_bytes(content)
    assert expected in error_message(path)


def test_a_missing_file_is_an_error(path: Path) -> None:
    assert "No such file" in error_message(path)


def test_an_unsupported_transfer_syntax_is_an_error(path: Path) -> None:
    compressed = dicom(grey(), BitsStored=12)
    compressed.compress(RLELossless, generate_instance_uid=False)
    complete = save(compressed, path).read_bytes()
    assert len(MPEG2MPML) > len(RLELossless)  # so the padding in replace_syntax is valid
    for uid in ("1.2.3.99.Planted", str(MPEG2MPML)):
        compressed.file_meta.TransferSyntaxUID = RLELossless
        path.write_bytes(replace_syntax(complete, RLELossless, uid))
        assert "is not supported; convert" in error_message(path)


def replace_syntax(complete: bytes, old: str, new: str) -> bytes:
    """Replace the transfer syntax UID, and update its length and that of its group."""
    old_value, new_value = (uid.encode() + b"\0" * (len(uid) % 2) for uid in (old, new))
    start = complete.index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(complete[140:144], "little") + len(new_value) - len(old_value)
    element = b"\x02\x00\x10\x00UI" + len(new_value).to_bytes(2, "little") + new_value
    remainder = complete[start + 8 + len(old_value) :]
    return complete[:140] + length.to_bytes(4, "little") + complete[144:start] + element + remainder


def test_a_missing_decoder_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compressed = dicom(grey(), BitsStored=12)
    compressed.compress(RLELossless, generate_instance_uid=False)
    path.write_bytes(replace_syntax(save(compressed, path).read_bytes(), RLELossless, JPEG2000Lossless))
    monkeypatch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
    assert "JPEG 2000" in error_message(path)
    assert "pip install '.[codecs]'" in error_message(path)


def test_a_failing_decoder_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openjpeg")
    compressed = dicom(grey(), BitsStored=12)
    compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
    content = bytearray(save(compressed, path).read_bytes())
    start = content.index(b"\xff\x52") + 5  # coding style
    content[start : start + 6] = b"\xff" * 6
    path.write_bytes(content)
    monkeypatch.setattr("mammoseg.data.images.dicom_decode.find_spec", lambda _: None)
    assert "pip install '.[codecs]'" in error_message(path)
    monkeypatch.setattr("mammoseg.data.images.dicom_decode.find_spec", lambda module: module)
    assert "pip install" not in error_message(path)


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_a_truncated_file_is_an_error(path: Path, syntax: UID | None) -> None:
    header = dicom(grey(), BitsStored=12)
    if syntax:
        header.compress(syntax, generate_instance_uid=False)
    complete = save(header, path).read_bytes()
    for length in [*range(0, 700, 3), *range(700, len(complete) - 12, 131), *range(len(complete) - 12, len(complete))]:
        path.write_bytes(complete[:length])
        if syntax and length > len(complete) - 8:  # in the delimiter after the pixels
            with suppress(ImageReadError):
                np.testing.assert_array_equal(read_image(path)[0], grey())
        else:
            error_message(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(changes=st.lists(st.tuples(st.integers(0, 639), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_header_never_leaks_the_patient_name(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Random changes of header bytes give an image or an ImageReadError without the name."""
    path = tmp_path / "damaged.dcm"
    content = bytearray(save(dicom(grey(), BitsStored=12), path).read_bytes())
    for position, byte in changes:
        content[position] = byte
    path.write_bytes(content)
    try:
        outcome: object = read_image(path)[0].ndim
    except ImageReadError as error:
        outcome = str(error)
    assert outcome == 2 or "Planted" not in str(outcome)


def test_patient_attributes_are_not_parsed(path: Path) -> None:
    header = read_header(save(dicom(grey()), path))
    assert "PixelData" in header
    assert "PatientName" not in header
    assert "StudyDescription" not in header


def test_pydicom_does_not_log_header_text(
    path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    complete = save(dicom(grey(), BitsStored=12, RescaleSlope="1.5", RescaleIntercept="0"), path).read_bytes()
    # pydicom warns of an invalid decimal string, excess pixel data and an unknown encoding.
    path.write_bytes(complete.replace(b"1.5 ", PLANTED[:4].encode()))
    level = logging.getLogger("pydicom").level
    with caplog.at_level(logging.DEBUG):
        error_message(path)
        save(dicom(grey(), BitsStored=12, Rows=HEIGHT - 1, SpecificCharacterSet="ISO_IR 100"), path)
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR_Pla"))
        np.testing.assert_array_equal(read_image(path)[0], grey()[:-1])
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("pydicom").level == level


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, None),
        ({"ImagerPixelSpacing": [0.07, 0.08]}, (0.07, 0.08, "ImagerPixelSpacing")),
        ({"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 1.25}, (0.08, 0.08, "Imager")),
        # PS3.3, 10.7.1.1: equal values mean no calibration, different values mean calibration.
        (
            {
                "ImagerPixelSpacing": [0.1, 0.1],
                "PixelSpacing": [0.1, 0.1],
                "EstimatedRadiographicMagnificationFactor": 2,
            },
            (0.05, 0.05, "EstimatedRadiographicMagnificationFactor"),
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "PixelSpacing": [0.09, 0.09]},
            (0.09, 0.09, "PixelSpacing, calibrated"),
        ),
        (
            {"ImagerPixelSpacing": [0.1] * 2, "PixelSpacing": [0.1] * 2, "PixelSpacingCalibrationType": "GEOMETRY"},
            (0.1, 0.1, "PixelSpacing, calibrated"),
        ),
        ({"PixelSpacing": [0.05, 0.05]}, (0.05, 0.05, "PixelSpacing")),
        ({"NominalScannedPixelSpacing": [0.042, 0.042]}, (0.042, 0.042, "NominalScannedPixelSpacing")),
        ({"ImagerPixelSpacing": [0, 0.1]}, None),
        ({"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 0}, (0.1, 0.1, "Imager")),
        ({"PixelSpacing": ["70", "70"]}, None),
        # The breast lies between source and detector: it is magnified by 1 or more, so that its spacing is smaller.
        (
            {
                "PixelSpacing": [0.975039, 0.975039],
                "ImagerPixelSpacing": [0.1, 0.1],
                "EstimatedRadiographicMagnificationFactor": 0.10256,
            },
            (0.1, 0.1, "ImagerPixelSpacing"),
        ),
        ({"PixelSpacing": [0.1004] * 2, "ImagerPixelSpacing": [0.1] * 2}, (0.1004, 0.1004, "calibrated")),
        ({"PixelSpacing": [0.01] * 2, "ImagerPixelSpacing": [0.1] * 2}, (0.1, 0.1, "ImagerPixelSpacing")),
        (
            {"PixelSpacing": [0.2] * 2, "NominalScannedPixelSpacing": [0.05] * 2},
            (0.05, 0.05, "NominalScannedPixelSpacing"),
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 9},
            (0.1, 0.1, "ImagerPixelSpacing"),
        ),
    ],
)
def test_pixel_spacing_follows_the_standard(
    path: Path, elements: dict[str, Any], expected: tuple[float, float, str] | None
) -> None:
    metadata = read_image(save(dicom(grey(), **elements), path))[1]
    if expected is None:
        assert metadata.spacing is None
        return
    assert metadata.spacing is not None
    down, across, source = expected
    assert (metadata.spacing.row, metadata.spacing.column) == pytest.approx((down, across))
    assert source in metadata.spacing.source
    assert metadata.spacing.pixel_area == pytest.approx(down * across)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, ""),
        ({"ConversionType": "WSD"}, ""),
        ({"DetectorType": "UNKNOWN", "PixelSpacing": [0.05, 0.05]}, ""),
        ({"NominalScannedPixelSpacing": [0, 0]}, ""),
        ({"ConversionType": "DF"}, "film"),
        ({"DetectorType": "FILM"}, "film"),
        ({"NominalScannedPixelSpacing": [0.042, 0.042]}, "film"),
        ({"NominalScannedPixelSpacing": [0.042, 0.042], "DetectorType": "DIRECT"}, "film"),
        ({"DetectorType": "DIRECT"}, "digital"),
        ({"DetectorType": "SCINTILLATOR"}, "digital"),
        ({"DetectorType": "STORAGE"}, "digital"),
        ({"ImagerPixelSpacing": [0.1, 0.1]}, "digital"),
    ],
)
def test_films_and_digital_images_are_distinguished(path: Path, elements: dict[str, Any], expected: str) -> None:
    assert read_image(save(dicom(grey(), **elements), path))[1].acquisition == expected


def test_the_image_is_not_larger_than_a_detector(path: Path) -> None:
    pixels = np.resize(grey(), (1000, 500))
    for spacing, expected in ((0.39, 0.39), (0.41, None)):
        metadata = read_metadata(save(dicom(pixels, PixelSpacing=[spacing, 0.1]), path))
        assert (metadata.spacing.row if metadata.spacing else None) == expected


def functional_group(macro: str, **attributes: Any) -> pydicom.Sequence:
    item, group = pydicom.Dataset(), pydicom.Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    setattr(group, macro, pydicom.Sequence([item]))
    return pydicom.Sequence([group])


@pytest.mark.parametrize("groups", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_one_frame_of_an_enhanced_class(path: Path, groups: str) -> None:
    """Spacing, rescale and side are in functional groups."""
    header = dicom(grey(), BitsStored=12, SOPClassUID=TOMOSYNTHESIS, NumberOfFrames=1)
    (group,) = functional_group("PixelMeasuresSequence", PixelSpacing=[0.07, 0.08], SliceThickness=1)
    for macro, attributes in (
        ("PixelValueTransformationSequence", {"RescaleSlope": 2, "RescaleIntercept": -5, "RescaleType": "US"}),
        ("FrameAnatomySequence", {"FrameLaterality": "R"}),
    ):
        setattr(group, macro, functional_group(macro, **attributes)[0][macro].value)
    setattr(header, groups, pydicom.Sequence([group]))
    header.ViewCodeSequence = view_code_sequence(codes.cid4014.CranioCaudal)
    pixels, metadata = read_image(save(header, path))
    np.testing.assert_array_equal(pixels, grey() * 2.0 - 5)
    assert (metadata.view, metadata.side) == ("CC", "R")
    assert metadata.spacing is not None
    assert (metadata.spacing.row, metadata.spacing.column) == (0.07, 0.08)


def view_code_sequence(code: Any) -> pydicom.Sequence:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    return pydicom.Sequence([item])


def meaning(text: str) -> pydicom.Sequence:
    item = pydicom.Dataset()
    item.CodeMeaning = text
    return pydicom.Sequence([item])


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, ("", "")),
        ({"ViewPosition": "MLO", "ImageLaterality": "R"}, ("MLO", "R")),
        ({"ViewPosition": "XCCL", "Laterality": "L"}, ("XCCL", "L")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.CranioCaudal), "ImageLaterality": "L"}, ("CC", "L")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.MedioLateralObliqueProjection)}, ("MLO", "")),
        (
            {"ViewCodeSequence": view_code_sequence(codes.cid4014.MedioLateralProjection), "ViewPosition": "CC"},
            ("ML", ""),
        ),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.LateroMedial)}, ("LM", "")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.LateroMedialOblique)}, ("LMO", "")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.CaudoCranial)}, ("FB", "")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.CranioCaudalExaggeratedLaterally)}, ("XCCL", "")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.CranioCaudalExaggeratedMedially)}, ("XCCM", "")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.SuperolateralToInferomedialOblique)}, ("SIO", "")),
        ({"ViewCodeSequence": view_code_sequence(codes.cid4014.InferomedialToSuperolateralOblique)}, ("ISO", "")),
        ({"ImageLaterality": "B"}, ("", "")),
        # CBIS-DDSM
        ({"PatientOrientation": "MLO", "Laterality": "L"}, ("MLO", "L")),
        ({"PatientOrientation": "CC", "BodyPartExamined": "RIGHT BREAST"}, ("CC", "R")),
        ({"PatientOrientation": ["A", "FR"]}, ("", "")),
        ({"PatientOrientation": ["L", "MLO"], "ImageLaterality": "LEFT"}, ("MLO", "L")),
        ({"ViewPosition": "RCC"}, ("CC", "")),
        ({"ViewPosition": "L MLO"}, ("MLO", "")),
        ({"ViewPosition": "LM"}, ("LM", "")),
        # CMMD
        ({"ViewCodeSequence": meaning("cranio-caudal")}, ("CC", "")),
        ({"ViewCodeSequence": meaning("Medio-Lateral Oblique")}, ("MLO", "")),
        ({"ViewCodeSequence": meaning("Planted"), "ViewPosition": "CC"}, ("CC", "")),
        ({"SeriesDescription": "R MLO Planted"}, ("MLO", "")),
        ({"SeriesDescription": "RCC", "ProtocolName": "Planted"}, ("CC", "")),
        ({"SeriesDescription": "CC and MLO"}, ("", "")),
        ({"SeriesDescription": "Success"}, ("", "")),
    ],
)
def test_view_and_side_are_parsed_from_codes_and_attributes(
    path: Path, elements: dict[str, Any], expected: tuple[str, str]
) -> None:
    metadata = read_image(save(dicom(grey(), **elements), path))[1]
    assert (metadata.view, metadata.side) == expected


def test_free_text_in_the_view_position_is_dropped(path: Path) -> None:
    complete = save(dicom(grey(), ViewPosition="MLO_PLANTED", ImageLaterality="L"), path).read_bytes()
    path.write_bytes(complete.replace(b"MLO_PLANTED ", b"Planted^Jane"))
    metadata = read_metadata(path)
    assert (metadata.view, metadata.side) == ("", "L")
