"""DICOM reader: padding, Modality LUT, lossy JPEG and the output of C libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit

from helpers.gdcm_files import gdcm_compress
from helpers.inbreast_files import HEIGHT, WIDTH, dicom, grey, save
from mammoseg.data.images import dicom_decode
from mammoseg.data.images.dicom import read_image
from mammoseg.data.images.dicom_decode import StoredFormat, decode, stored_values
from mammoseg.data.preprocessing.breast import segment_breast
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.errors import ImageReadError

AIR = 4095
READ_ALL = """
import sys
from pathlib import Path
from mammoseg.data.images.dicom import read_image
from mammoseg.errors import ImageReadError
errors = 0
for path in Path(sys.argv[1]).glob("[0-9]*.dcm"):
    try:
        read_image(path)
    except ImageReadError:
        errors += 1
print(errors)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.dcm"


def film() -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """A half disc of tissue at the left edge, and the background."""
    rows, columns = np.mgrid[:256, :200]
    breast = ((rows - 128) / 110) ** 2 + (columns / 120) ** 2 < 1
    noise = np.random.default_rng(0).integers(0, 300, breast.shape)
    thickness = np.sqrt(np.clip(1 - ((rows - 128) / 110) ** 2 - (columns / 120) ** 2, 0, None))
    return np.where(breast, 600 + 1500 * thickness + noise, 100).astype(np.uint16), breast


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("range_limit", [False, True])
def test_padding_is_background(path: Path, photometric: str, range_limit: bool) -> None:
    """Bright padding is neither part of the breast nor of the normalisation."""
    pixels, breast = film()
    padding = 0 if photometric == "MONOCHROME1" else AIR
    stored = AIR - pixels if photometric == "MONOCHROME1" else pixels
    stored = np.where(breast, stored, padding).astype(np.uint16)
    elements: dict[str, Any] = {"PixelPaddingValue": padding}
    if range_limit:
        stored[:, -20:] = abs(padding - 5)
        elements["PixelPaddingRangeLimit"] = abs(padding - 5)
    header = dicom(stored, BitsStored=12, PhotometricInterpretation=photometric, **elements)
    read = read_image(save(header, path))[0]
    np.testing.assert_array_equal(read[breast], pixels[breast])
    assert (read[~breast] == pixels[breast].min()).all()
    assert (segment_breast(read) == breast).mean() > 0.98
    settings = PreprocessingSettings(size=64)
    reference = preprocess(np.where(breast, pixels, pixels[breast].min()), np.zeros(breast.shape, np.uint8), settings)
    result = preprocess(read, np.zeros(breast.shape, np.uint8), settings)
    assert result.box == reference.box
    np.testing.assert_array_equal(result.image, reference.image)
    assert result.box.right < 160


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("offset", "intercept"), [(0, 0), (2**31, 0), (2**30, -(2**30)), (0, 10**9)])
def test_large_values_keep_their_contrast(path: Path, photometric: str, offset: int, intercept: int) -> None:
    stored = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH) % 4096
    header = dicom(stored + np.uint32(offset), BitsStored=32, HighBit=31, PhotometricInterpretation=photometric)
    if intercept:
        header.RescaleSlope, header.RescaleIntercept = 1, intercept
    pixels = read_image(save(header, path))[0].astype(np.float64)
    sign = 1 if photometric == "MONOCHROME2" else -1
    np.testing.assert_array_equal(pixels - pixels.min(), sign * (stored - np.float64(stored.max() if sign < 0 else 0)))


def test_padding_below_the_range_of_signed_values(path: Path) -> None:
    """63536 is -2000 in a signed image, also where the header stores it as unsigned."""
    stored = grey().astype(np.int16)
    stored[:10] = -2000
    header = dicom(stored)
    header.add_new("PixelPaddingValue", "US", 63536)
    read = read_image(save(header, path))[0]
    np.testing.assert_array_equal(read, np.maximum(stored, grey()[10:].min()))


def test_padding_above_bits_stored(path: Path) -> None:
    """Padding may be marked by bits that do not belong to the stored value."""
    words = grey()
    words[:10] = 0xF830
    read = read_image(save(dicom(words, BitsStored=12, PixelPaddingValue=0xF830), path))[0]
    assert (read[:10] == grey()[10:].min()).all()
    np.testing.assert_array_equal(read[10:], grey()[10:])


def test_padding_is_ignored_in_masks_and_where_no_pixel_has_it(path: Path) -> None:
    mask = np.where(grey() > 2000, 255, 0).astype(np.uint8)
    save(dicom(mask, PixelPaddingValue=0), path)
    np.testing.assert_array_equal(read_image(path, mask=True)[0], mask)
    save(dicom(grey(), PixelPaddingValue=60000), path)
    np.testing.assert_array_equal(read_image(path)[0], grey())


def test_an_image_of_padding_is_an_error(path: Path) -> None:
    save(dicom(np.full((HEIGHT, WIDTH), 7, np.uint16), PixelPaddingValue=7), path)
    with pytest.raises(ImageReadError, match="all pixels are padding"):
        read_image(path)


def modality_lut(values: NDArray[np.uint16], first: int, bits: int, vr: str) -> pydicom.Sequence:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values), first, bits])
    item.add_new("LUTData", vr, values.tobytes() if vr == "OW" else values.tolist())
    item.ModalityLUTType = "OD"
    return pydicom.Sequence([item])


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("first", [0, 100, -1024])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_modality_lut(path: Path, vr: str, first: int, photometric: str) -> None:
    lut = (np.arange(2000) ** 2 // 70).astype(np.uint16)
    stored = grey().astype(np.int16) - 1500 if first < 0 else grey()
    sequence = modality_lut(lut, first, 16, vr)
    header = dicom(stored, ModalityLUTSequence=sequence, PhotometricInterpretation=photometric)
    read = read_image(save(header, path))[0]
    reference = apply_modality_lut(stored, pydicom.dcmread(path)).astype(int)
    np.testing.assert_array_equal(read, 65535 - reference if photometric == "MONOCHROME1" else reference)


def test_an_invalid_modality_lut_is_an_error(path: Path) -> None:
    lut = np.arange(100, dtype=np.uint16)
    for sequence in (modality_lut(lut, 0, 30, "US"), modality_lut(lut[:0], 5, 16, "US")):
        save(dicom(grey(), ModalityLUTSequence=sequence), path)
        with pytest.raises(ImageReadError, match="Modality LUT is invalid"):
            read_image(path)


@pytest.mark.parametrize("plugin", ["pylibjpeg", "pillow", "gdcm"])
@pytest.mark.parametrize("codestream_signed", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_jpeg_2000_decoder_gives_the_same_values(
    path: Path, plugin: str, codestream_signed: bool, signed: bool, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_array = pytest.importorskip("openjpeg.utils").encode_array
    monkeypatch.setattr(dicom_decode, "PLUGINS", (plugin, *dicom_decode.PLUGINS))
    kind = "u1" if bits == 8 else "u2"
    pattern = grey(n_levels=2**bits).astype(kind)
    unused = 8 * pattern.dtype.itemsize - bits
    two_complement = (pattern << unused).view(kind.replace("u", "i")) >> unused
    stream = encode_array(
        two_complement if codestream_signed else pattern, bits_stored=bits, photometric_interpretation=2
    )
    header = dicom(np.zeros((HEIGHT, WIDTH), kind), syntax=JPEG2000Lossless, BitsStored=bits)
    header.PixelRepresentation = int(signed)
    header.PixelData = encapsulate([bytes(stream)])
    header["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(read_image(save(header, path))[0], two_complement if signed else pattern)


def gdcm_pixels(path: Path) -> NDArray[Any]:
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    kind = {8: np.uint8, 16: np.uint16}[reader.GetImage().GetPixelFormat().GetBitsAllocated()]
    content = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(content, kind).reshape(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "syntax",
    ["JPEGBaselineProcess1", "JPEGExtendedProcess2_4", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"],
)
def test_compressed_files_agree_with_gdcm(path: Path, syntax: str) -> None:
    ramp = np.add.outer(np.arange(HEIGHT) * 40, np.arange(WIDTH) * 20)
    pixels = (ramp // 16).astype(np.uint8) if "Baseline" in syntax else ramp.astype(np.uint16)
    save(dicom(pixels, BitsStored=8 if "Baseline" in syntax else 12), path)
    gdcm_compress(path, syntax)
    read = read_image(path)[0].astype(int)
    assert np.abs(read - gdcm_pixels(path)).max() <= ("Baseline" in syntax)
    assert np.abs(read - pixels).max() <= (2 if "Baseline" in syntax or "Extended" in syntax else 0)


def test_jpeg_extended_of_another_encoder(path: Path) -> None:
    """Values of a file of pydicom's, as decoded by libjpeg."""
    pytest.importorskip("gdcm")
    header = pydicom.dcmread(str(get_testdata_file("JPEG-lossy.dcm", download=False)))
    assert header.file_meta.TransferSyntaxUID == JPEGExtended12Bit
    values = decode(header).values
    assert (values[420, 140], values[230, 120]) == (244, 95)


def test_jpeg_extended_without_decoder_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gdcm")
    save(dicom(grey(), BitsStored=12), path)
    gdcm_compress(path, "JPEGExtendedProcess2_4")
    monkeypatch.setitem(sys.modules, "gdcm", None)
    with pytest.raises(ImageReadError, match=r"JPEG Extended with \d+ bits needs a decoder: pip install"):
        read_image(path)


def test_lossy_values_above_the_range_are_clipped() -> None:
    form = StoredFormat(16, 12, 11, signed=False)
    words = np.array([[0, 4095, 4100]], np.uint16)
    assert stored_values(words, 16, form, lossy=True).tolist() == [[0, 4095, 4095]]
    assert stored_values(words, 16, form).tolist() == [[0, 4095, 4]]


@pytest.mark.parametrize("syntax", ["JPEGBaselineProcess1", "JPEGExtendedProcess2_4", "JPEGLosslessProcess14_1"])
def test_c_libraries_do_not_print(path: Path, syntax: str, capfd: pytest.CaptureFixture[str]) -> None:
    if "Baseline" in syntax:
        save(dicom(grey(n_levels=256).astype(np.uint8)), path)
    else:
        save(dicom(grey(), BitsStored=12), path)
    gdcm_compress(path, syntax)
    capfd.readouterr()
    compressed = pydicom.dcmread(path)
    frame = get_frame(compressed.PixelData, 0, number_of_frames=1)
    rng = np.random.default_rng(0)
    outcomes: set[object] = set()
    for _ in range(30):
        damaged = bytearray(frame)
        start = damaged.index(b"\xff\xda") + 12  # the entropy-coded data
        for position in rng.integers(start, len(damaged) - 2, 4):
            damaged[position] = int(rng.integers(256))
        compressed.PixelData = encapsulate([bytes(damaged)])
        compressed.save_as(path)
        try:
            outcomes.add(read_image(path)[0].shape)
        except ImageReadError as error:
            outcomes.add(str(error))
    assert outcomes
    assert capfd.readouterr() == ("", "")
    os.write(2, b"visible again")
    assert capfd.readouterr().err == "visible again"


@pytest.mark.parametrize("syntax", ["JPEGBaselineProcess1", "JPEGExtendedProcess2_4", "JPEGLosslessProcess14_1"])
def test_damaged_headers_of_codestreams_do_not_end_the_process(path: Path, syntax: str) -> None:
    """GDCM throws C++ exceptions that Python cannot catch, so a subprocess reads the files."""
    if "Baseline" in syntax:
        save(dicom(grey(n_levels=256).astype(np.uint8)), path)
    else:
        save(dicom(grey(), BitsStored=12), path)
    gdcm_compress(path, syntax)
    compressed = pydicom.dcmread(path)
    frame = get_frame(compressed.PixelData, 0, number_of_frames=1)
    rng = np.random.default_rng(1)
    for index in range(60):
        damaged = bytearray(frame)
        for position in rng.integers(2, 120, rng.integers(1, 5)):
            damaged[position] = int(rng.integers(256))
        compressed.PixelData = encapsulate([bytes(damaged)])
        compressed.save_as(path.with_name(f"{index}.dcm"))
    completed = subprocess.run(
        [sys.executable, "-c", READ_ALL, path.parent], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0
    assert completed.stderr == ""
    assert int(completed.stdout) > 5
