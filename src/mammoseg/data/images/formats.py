"""Image file formats: names, signatures, gzip compression and the limit on the number of pixels."""

from __future__ import annotations

import gzip
import stat
import struct
import zlib
from io import BytesIO
from pathlib import Path, PurePath
from typing import BinaryIO

from mammoseg.errors import ImageReadError

DICOM_SUFFIXES = (".dcm", ".dicom")
TIFF_SUFFIXES = (".tif", ".tiff")
JPEG_SUFFIXES = (".jpg", ".jpeg")
PGM_SUFFIXES = (".pgm",)
RASTER_SUFFIXES = (".png", *TIFF_SUFFIXES, *JPEG_SUFFIXES, *PGM_SUFFIXES)
IMAGE_SUFFIXES = (*RASTER_SUFFIXES, *DICOM_SUFFIXES)
# Formats of images that are not read. Prediction lists files with these suffixes as skipped instead of ignoring them.
UNSUPPORTED_SUFFIXES = (
    *(".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jxl", ".heic", ".avif", ".ppm", ".pbm", ".pnm", ".ljpeg"),
    *(".nii", ".mha", ".mhd", ".nrrd"),
)
GZIP_SUFFIX = ".gz"
SUPPORTED = f"{' '.join(IMAGE_SUFFIXES)}, each also compressed as {GZIP_SUFFIX}"

MAX_PIXELS = 200_000_000  # digitised films have up to about 40 million; a larger number indicates a damaged header
MAX_DECOMPRESSED_BYTES = 2 * MAX_PIXELS + 2**24  # 16-bit pixels and a header
DICOM_PREFIX_OFFSET = 128  # bytes of preamble before "DICM"
GZIP_SIGNATURE = b"\x1f\x8b"
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "tiff"),
    b"\xff\xd8\xff": "jpeg",
    **dict.fromkeys((b"P2", b"P5"), "pgm"),
}
TIFF_WIDTH, TIFF_LENGTH = 256, 257  # tags
TIFF_INTEGERS = {3: "H", 4: "I", 16: "Q"}  # field types and their struct formats


def image_suffix(path: PurePath) -> str:
    """Return the suffix in lower case, without that of gzip.

    Example:
        >>> image_suffix(Path("a.PNG")), image_suffix(Path("a.dcm.gz")), image_suffix(Path("IM1.gz"))
        ('.png', '.dcm', '')
    """
    return (path.with_suffix("") if path.suffix.lower() == GZIP_SUFFIX else path).suffix.lower()


def is_raster(path: Path) -> bool:
    """Return whether the file has the suffix of a PNG, TIFF, JPEG or PGM."""
    return image_suffix(path) in RASTER_SUFFIXES


def require_regular_file(path: Path) -> None:
    """Check that a path is a file; reading a named pipe or a device could block forever.

    Raises:
        ImageReadError: If it does not exist, or is a folder, named pipe, socket or device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # the name is too long or contains a null byte
        raise ImageReadError("no such file") from None
    if not stat.S_ISREG(mode):
        raise ImageReadError("not a regular file but a folder, named pipe, socket or device; provide an image file")


def has_dicom_prefix(path: Path) -> bool:
    """Return whether the file starts as a DICOM file; False if it is not a regular file or cannot be opened.

    That is "DICM" after a preamble of 128 bytes, or, without preamble, an element of group 0002 or 0008. The file may
    be compressed with gzip.
    """
    try:
        require_regular_file(path)
        with path.open("rb") as file:
            start = file.read(DICOM_PREFIX_OFFSET + 4)
        if start.startswith(GZIP_SIGNATURE):
            with gzip.open(path) as compressed:
                start = compressed.read(DICOM_PREFIX_OFFSET + 4)
    except (ImageReadError, OSError, EOFError, zlib.error):
        return False
    return start[DICOM_PREFIX_OFFSET:] == b"DICM" or _starts_with_element(start)


def _starts_with_element(start: bytes) -> bool:
    """Return whether the bytes are a little-endian element of group 0002 or 0008 with a plausible VR or length."""
    if len(start) < DICOM_PREFIX_OFFSET or start[:2] not in (b"\x02\0", b"\x08\0") or start[3] != 0:
        return False
    explicit = start[4:6] in (b"UL", b"UI", b"CS", b"OB", b"SH", b"DA")
    return explicit or (start[:2] == b"\x08\0" and 0 < int.from_bytes(start[4:8], "little") <= 64)


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file; the content of a gzip file is decompressed into memory.

    Raises:
        ImageReadError: If a gzip file is damaged or its content is too large.
        OSError: If the file cannot be opened.
    """
    file = path.open("rb")
    if file.read(2) != GZIP_SIGNATURE:
        file.seek(0)
        return file
    file.close()
    try:
        with gzip.open(path) as compressed:
            content = compressed.read(MAX_DECOMPRESSED_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ImageReadError("the gzip file is truncated or damaged; copy it again") from None
    if len(content) > MAX_DECOMPRESSED_BYTES:
        raise ImageReadError(
            f"the content of a gzip file must have at most {MAX_DECOMPRESSED_BYTES} bytes, got more; "
            "provide one mammogram per file"
        )
    return BytesIO(content)


def check_size(height: int, width: int) -> None:
    """Check the number of pixels before memory is allocated for them.

    Raises:
        ImageReadError: If there are no pixels or more than `MAX_PIXELS`.
    """
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise ImageReadError(
            f"an image must have between 1 and {MAX_PIXELS // 10**6} million pixels, got {width}x{height}; "
            "replace the file with the original"
        )


def signature_format(content: bytes) -> str | None:
    """Return "png", "tiff", "jpeg" or "pgm" by the first bytes of a file, else None.

    Example:
        >>> signature_format(b"P5 2 1 255 ab"), signature_format(b"GIF89a")
        ('pgm', None)
    """
    return next((name for signature, name in SIGNATURES.items() if content.startswith(signature)), None)


def png_size(content: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the header of a PNG, or None if it is truncated."""
    if len(content) < 24:
        return None
    width, height = struct.unpack(">II", content[16:24])
    return height, width


def tiff_size(content: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the first directory of a TIFF or BigTIFF, or None if it is damaged."""
    order, big = ("<" if content[:2] == b"II" else ">"), b"\x2b" in content[2:4]
    try:
        (start,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)
        (n_entries,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, start)
        first, step, value = (start + 8, 20, 12) if big else (start + 2, 12, 8)
        sizes = {}
        for entry in range(first, first + step * min(n_entries, 65535), step):
            tag, kind = struct.unpack_from(f"{order}HH", content, entry)
            if tag in (TIFF_WIDTH, TIFF_LENGTH) and kind in TIFF_INTEGERS:
                (sizes[tag],) = struct.unpack_from(f"{order}{TIFF_INTEGERS[kind]}", content, entry + value)
        return sizes[TIFF_LENGTH], sizes[TIFF_WIDTH]
    except (struct.error, KeyError, OverflowError):
        return None
