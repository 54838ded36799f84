"""Property test: every encoding of an image is read as the same image, or rejected with one sentence.

`make test` checks every fifth encoding, and `make fuzz` all of them (ALL_ENCODINGS=1).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, get_frame
from pydicom.filereader import dcmread
from pydicom.pixels import get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from helpers.gdcm_files import gdcm_compress
from helpers.inbreast_files import dicom, save
from mammoseg.data.images.dicom import read_image
from mammoseg.errors import ImageReadError

SHAPE = (36, 32)  # OpenJPEG needs 32 pixels per side
RESCALES = ((1.0, 0.0), (-0.5, 7.0))
STEP = 1 if os.environ.get("ALL_ENCODINGS") else 5  # has no common factor with the numbers of choices


@dataclass(frozen=True)
class Encoding:
    """How the stored values of an image are encoded."""

    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str
    slope: float
    intercept: float
    padding: str  # "none", "value" or "range"
    other_bits: bool  # whether the bits outside the value are set, as by an overlay

    @property
    def shift(self) -> int:
        return self.high_bit + 1 - self.stored

    @property
    def limits(self) -> tuple[int, int]:
        if self.signed:
            return -(2 ** (self.stored - 1)), 2 ** (self.stored - 1) - 1
        return 0, 2**self.stored - 1


def encodings(allocated: int) -> Iterator[Encoding]:
    return itertools.islice(all_encodings(allocated), 0, None, STEP)


def all_encodings(allocated: int) -> Iterator[Encoding]:
    for stored in {8: (6, 8), 16: (8, 10, 12, 16), 32: (12, 24, 32)}[allocated]:
        for high_bit in sorted({stored - 1, allocated - 1}):
            for signed, photometric, (slope, intercept), padding, other_bits in itertools.product(
                (False, True), ("MONOCHROME1", "MONOCHROME2"), RESCALES, ("none", "value", "range"), (False, True)
            ):
                if padding != "none" and stored > 16:
                    continue  # Pixel Padding Value has 16 bits
                if other_bits and stored == allocated:
                    continue
                yield Encoding(allocated, stored, high_bit, signed, photometric, slope, intercept, padding, other_bits)


def stored_values(form: Encoding) -> NDArray[np.int64]:
    low, high = form.limits
    values = np.random.default_rng(form.stored).integers(low + 4, high - 3, SHAPE, dtype=np.int64)
    values[0, :2] = low + 4, high - 4
    if form.padding != "none":
        values[5:9] = high
        values[8, 3] = high - 1 if form.padding == "range" else high
    return values


def words(values: NDArray[np.int64], form: Encoding) -> NDArray[Any]:
    pattern = (values & (2**form.stored - 1)) << form.shift
    if form.other_bits:
        pattern |= ~((2**form.stored - 1) << form.shift) & (2**form.allocated - 1)
    return np.asarray(pattern.astype(f"u{form.allocated // 8}"))


def expected_image(values: NDArray[np.int64], form: Encoding) -> NDArray[Any]:
    """Grey values by the definitions of the standard, in double precision."""
    low, high = (limit * form.slope + form.intercept for limit in form.limits)
    image = values * form.slope + form.intercept
    if form.photometric == "MONOCHROME1":
        image = max(low, high) - image
    if form.padding != "none":
        padding = values >= form.limits[1] - (form.padding == "range")
        image[padding] = image[~padding].min()
    return image


def write(path: Path, form: Encoding, pixels: bytes, syntax: UID) -> Path:
    header = dicom(np.zeros(SHAPE, f"u{form.allocated // 8}"), syntax=syntax)
    header.BitsStored, header.PixelRepresentation = form.stored, int(form.signed)
    header.HighBit = form.high_bit
    header.PhotometricInterpretation = form.photometric
    if (form.slope, form.intercept) != (1.0, 0.0):
        header.RescaleSlope, header.RescaleIntercept = form.slope, form.intercept
    if form.padding != "none":
        header.add_new("PixelPaddingValue", "SS" if form.signed else "US", form.limits[1])
    if form.padding == "range":
        header.add_new("PixelPaddingRangeLimit", "SS" if form.signed else "US", form.limits[1] - 1)
    header.PixelData = encapsulate([pixels]) if syntax.is_encapsulated else pixels
    header["PixelData"].VR = "OB" if form.allocated == 8 or syntax.is_encapsulated else "OW"
    header["PixelData"].is_undefined_length = syntax.is_encapsulated
    return save(header, path)


def assert_reads(path: Path, values: NDArray[np.int64], form: Encoding) -> None:
    expected = expected_image(values, form)
    pixels = read_image(path)[0]
    if np.abs(expected).max() > 2**24:  # not exact in float32: only differences of grey values are kept
        expected = expected - expected.min()
    scale = float(np.abs(expected).max())
    exact = (form.slope, form.intercept) == (1.0, 0.0) and form.stored <= 16
    np.testing.assert_allclose(pixels, expected, rtol=0, atol=0 if exact else 4e-7 * scale, err_msg=str(form))


@pytest.mark.parametrize("allocated", [8, 16, 32])
def test_uncompressed(tmp_path: Path, allocated: int) -> None:
    for form in encodings(allocated):
        values = stored_values(form)
        content = words(values, form)
        assert_reads(write(tmp_path / "a.dcm", form, content.tobytes(), ExplicitVRLittleEndian), values, form)
        if allocated > 8:
            swapped = content.astype(content.dtype.newbyteorder(">")).tobytes()
            assert_reads(write(tmp_path / "a.dcm", form, swapped, ExplicitVRBigEndian), values, form)


def pydicom_encode(syntax: UID, content: NDArray[Any], bits: int) -> bytes:
    frame: bytes = get_encoder(syntax).encode(
        content.tobytes(),
        rows=SHAPE[0],
        columns=SHAPE[1],
        bits_allocated=8 * content.dtype.itemsize,
        bits_stored=bits,
        pixel_representation=0,
        samples_per_pixel=1,
        number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
    )
    return frame


def gdcm_encode(path: Path, content: NDArray[Any], bits: int, syntax: str) -> bytes:
    source = path.with_name("source.dcm")
    save(dicom(content, BitsStored=bits), source)
    gdcm_compress(source, syntax)
    return bytes(get_frame(dcmread(source).PixelData, 0, number_of_frames=1))


def rle_encode(content: NDArray[Any]) -> bytes:
    """RLE with literal runs only, one per row: a segment for each byte of the words, the most significant first."""
    planes = content.astype(content.dtype.newbyteorder(">")).view("u1").reshape(*SHAPE, -1)
    segments = [
        b"".join(bytes([SHAPE[1] - 1]) + row.tobytes() for row in planes[..., index])
        for index in range(planes.shape[2])
    ]
    offsets = [64 + index * len(segments[0]) for index in range(len(segments))]
    header = np.zeros(16, "<u4")
    header[: len(offsets) + 1] = [len(segments), *offsets]
    return header.tobytes() + b"".join(segments)


@pytest.mark.parametrize("allocated", [8, 16, 32])
def test_rle(tmp_path: Path, allocated: int) -> None:
    for form in encodings(allocated):
        values = stored_values(form)
        frame = rle_encode(words(values, form))
        assert_reads(write(tmp_path / "a.dcm", form, frame, RLELossless), values, form)


def codestreams(
    form: Encoding, values: NDArray[np.int64], encode: Callable[[NDArray[Any], int], bytes]
) -> Iterator[bytes]:
    """Codestreams of all bits of the words, and of the stored bits only, as most writers encode them."""
    content = words(values, form)
    yield encode(content, form.allocated)
    if form.shift == 0 and not form.other_bits and form.stored < form.allocated:
        container = "u1" if form.stored <= 8 else "u2" if form.stored <= 16 else "u4"
        yield encode(content.astype(container), form.stored)


@pytest.mark.parametrize("allocated", [8, 16, 32])
def test_jpeg_2000(tmp_path: Path, allocated: int) -> None:
    """The codestream may have the signedness of the header or not."""
    encode_array = pytest.importorskip("openjpeg.utils").encode_array

    def unsigned(content: NDArray[Any], bits: int) -> bytes:
        return bytes(encode_array(content, bits_stored=bits, photometric_interpretation=2, codec_format=0))

    def signed(content: NDArray[Any], bits: int) -> bytes:
        unused = 8 * content.dtype.itemsize - bits
        extended = (content << unused).view(f"i{content.dtype.itemsize}") >> unused
        return unsigned(extended, bits)

    checked = 0
    for form, encode in itertools.product(encodings(allocated), (unsigned, signed)):
        values = stored_values(form)
        if allocated < 32:
            frames = [*codestreams(form, values, encode)]
        elif form.shift == 0 and not form.other_bits and form.stored <= 24:  # OpenJPEG encodes up to 24 bits
            frames = [encode(words(values, form), form.stored)]
        else:
            continue
        for frame in frames:
            assert_reads(write(tmp_path / "a.dcm", form, frame, JPEG2000Lossless), values, form)
            checked += 1
    assert checked


@pytest.mark.parametrize("allocated", [8, 16])
def test_jpeg_ls(tmp_path: Path, allocated: int) -> None:
    pytest.importorskip("jpeg_ls")
    for form in encodings(allocated):
        values = stored_values(form)
        for frame in codestreams(form, values, lambda content, bits: pydicom_encode(JPEGLSLossless, content, bits)):
            assert_reads(write(tmp_path / "a.dcm", form, frame, JPEGLSLossless), values, form)


@pytest.mark.parametrize("allocated", [8, 16])
def test_lossless_jpeg(tmp_path: Path, allocated: int) -> None:
    path = tmp_path / "a.dcm"
    for form in encodings(allocated):
        values = stored_values(form)
        for frame in codestreams(
            form, values, lambda content, bits: gdcm_encode(path, content, bits, "JPEGLosslessProcess14_1")
        ):
            assert_reads(write(path, form, frame, JPEGLosslessSV1), values, form)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"BitsAllocated": 12}, "Bits Allocated must be 1, 8, 16 or 32, got 12"),
        ({"BitsStored": 17}, r"Bits Stored must be between 1 and Bits Allocated \(16\), got 17"),
        ({"PixelRepresentation": 7}, "Pixel Representation must be 0 or 1, got 7"),
        ({"BitsStored": 12, "HighBit": 10}, "High Bit must be between 11 and 15, got 10"),
        ({"BitsStored": 12, "HighBit": 16}, "High Bit must be between 11 and 15, got 16"),
    ],
)
def test_a_contradictory_header_is_an_error(tmp_path: Path, elements: dict[str, int], expected: str) -> None:
    header = dicom(np.zeros(SHAPE, np.uint16))
    for name, value in elements.items():
        setattr(header, name, value)
    with pytest.raises(ImageReadError, match=expected):
        read_image(save(header, tmp_path / "a.dcm"))


def test_a_codestream_that_contradicts_the_header_is_an_error(tmp_path: Path) -> None:
    encode_array = pytest.importorskip("openjpeg.utils").encode_array
    content = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)
    frame = bytes(encode_array(content, bits_stored=14, photometric_interpretation=2, codec_format=0))
    form = Encoding(16, 12, 15, False, "MONOCHROME2", 1, 0, "none", False)
    with pytest.raises(ImageReadError, match=r"12 bits \(Bits Stored\) or more than 15 \(High Bit\), got 14"):
        read_image(write(tmp_path / "a.dcm", form, frame, JPEG2000Lossless))
    form = Encoding(8, 8, 7, False, "MONOCHROME2", 1, 0, "none", False)
    with pytest.raises(ImageReadError, match="at most 8 bits, got 14"):
        read_image(write(tmp_path / "a.dcm", form, frame, JPEG2000Lossless))
    header = dicom(np.zeros((SHAPE[0] + 1, SHAPE[1]), np.uint16), syntax=JPEG2000Lossless)
    header.PixelData = encapsulate([frame])
    header["PixelData"].is_undefined_length = True
    with pytest.raises(ImageReadError, match="size stated in the header"):
        read_image(save(header, tmp_path / "a.dcm"))
