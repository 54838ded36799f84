"""Headers of JPEG, JPEG-LS and JPEG 2000 codestreams, which describe the values that a decoder returns."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers of JPEG; 0xF7 is JPEG-LS
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers without parameters
END_OF_HEADERS = (0xD9, 0xDA)  # end of the image, start of the entropy-coded data
HUFFMAN_TABLES, QUANTISATION_TABLES, START_OF_SCAN = 0xC4, 0xDB, 0xDA
MAX_SYMBOLS = 256  # of a Huffman table
RESTART_INTERVAL, APPLICATION, COMMENT = 0xDD, range(0xE0, 0xF0), 0xFE
# Markers that may not follow the start of the scan of a greyscale image: all but stuffed bytes, restarts and the end.
INVALID_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xd9\xff]")
END_OF_IMAGE = b"\xff\xd9"
SAMPLING_FACTORS = {16 * across + down for across in range(1, 5) for down in range(1, 5)}
J2K_START = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream and its SIZ marker segment


@dataclass(frozen=True)
class Codestream:
    """Properties of a compressed image.

    Attributes:
        bits: Number of bits of each pixel.
        signed: Whether the values are signed; only JPEG 2000 can store signed values.
        height: Number of rows.
        width: Number of columns.
        components: Number of values of each pixel, 1 for a greyscale image.
    """

    bits: int
    signed: bool
    height: int
    width: int
    components: int


def parse_jpeg(content: bytes) -> Codestream | None:
    """Return the properties of a JPEG or JPEG-LS codestream, or None if it has no frame header."""
    position = 2
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker in END_OF_HEADERS:
            return None
        if marker == 0xFF or marker in WITHOUT_LENGTH:  # fill bytes may precede a marker
            position += 1 if marker == 0xFF else 2
            continue
        if marker in START_OF_FRAME:
            if position + 10 > len(content):
                return None
            bits, height, width, components = struct.unpack_from(">BHHB", content, position + 4)
            return Codestream(bits, False, height, width, components)
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None


def is_intact_jpeg(content: bytes) -> bool:
    """Return whether the marker segments of a greyscale JPEG with one scan are consistent.

    GDCM terminates the process for some inconsistent segments, so they are checked before it is called.
    """
    position, frames = 2, 0
    while position + 4 <= len(content):
        if content[position : position + 2] == b"\xff\xff":  # fill bytes may precede a marker
            position += 1
            continue
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], "big")
        segment = content[position + 4 : position + 2 + length]
        if content[position] != 0xFF or length < 2 or len(segment) != length - 2:
            return False
        if marker == START_OF_SCAN:
            scan, end, _ = content[position + 2 + length :].partition(END_OF_IMAGE)
            return frames == 1 and _is_valid_scan(segment) and end != b"" and INVALID_IN_SCAN.search(scan) is None
        if marker == HUFFMAN_TABLES:
            valid = _are_huffman_tables(segment)
        elif marker in START_OF_FRAME:
            frames += 1
            valid = len(segment) == 9 and segment[5] == 1 and segment[7] in SAMPLING_FACTORS and segment[8] < 4
        else:
            valid = marker in (QUANTISATION_TABLES, RESTART_INTERVAL, COMMENT) or marker in APPLICATION
        if not valid:
            return False
        position += 2 + length
    return False


def _is_valid_scan(segment: bytes) -> bool:
    """Return whether the scan has one component, valid tables, and the parameters of sequential or lossless coding.

    Some writers store 0 instead of 63 as the end of the spectrum of sequential coding.
    """
    if len(segment) != 6 or segment[0] != 1 or segment[2] & 0xCC:
        return False
    start, end, approximation = segment[3:]
    return start <= 7 and end in (0, 63) and approximation < 16


def _are_huffman_tables(segment: bytes) -> bool:
    position = 0
    while position < len(segment):
        counts = segment[position + 1 : position + 17]
        codes = 0
        for bits, count in enumerate(counts, start=1):
            codes += count << (16 - bits)
        if segment[position] & 0xEC or len(counts) < 16 or sum(counts) > MAX_SYMBOLS or codes > 2**16:
            return False
        position += 17 + sum(counts)
    return position == len(segment)


def parse_jpeg2000(content: bytes) -> Codestream | None:
    """Return the properties of a JPEG 2000 codestream, in a JP2 file or not; None if it has no header."""
    start = content.find(J2K_START, 0, 4096)
    if start < 0 or start + 43 > len(content):
        return None
    x_end, y_end, x_start, y_start = struct.unpack_from(">IIII", content, start + 8)
    components, depth = struct.unpack_from(">HB", content, start + 40)
    return Codestream((depth & 0x7F) + 1, depth > 0x7F, y_end - y_start, x_end - x_start, components)
