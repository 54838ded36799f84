"""Headers of JPEG, JPEG-LS and JPEG 2000 codestreams, which state what the decoder will return."""

from __future__ import annotations

import struct
from dataclasses import dataclass

START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers of JPEG; 0xF7 is JPEG-LS
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers without parameters
END_OF_HEADERS = (0xD9, 0xDA)  # end of the image, start of the entropy-coded data
J2K_START = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream and its SIZ marker segment


@dataclass(frozen=True)
class Codestream:
    """Properties of a compressed image.

    Attributes:
        bits: Number of bits of each pixel.
        signed: Whether the values are signed; only JPEG 2000 can store signed values.
        height: Number of rows.
        width: Number of columns.
    """

    bits: int
    signed: bool
    height: int
    width: int


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
            if position + 9 > len(content):
                return None
            bits, height, width = struct.unpack_from(">BHH", content, position + 4)
            return Codestream(bits, False, height, width)
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None


def parse_jpeg2000(content: bytes) -> Codestream | None:
    """Return the properties of a JPEG 2000 codestream, in a JP2 file or not; None if it has no header."""
    start = content.find(J2K_START, 0, 4096)
    if start < 0 or start + 43 > len(content):
        return None
    x_end, y_end, x_start, y_start = struct.unpack_from(">IIII", content, start + 8)
    depth = content[start + 42]
    return Codestream((depth & 0x7F) + 1, depth > 0x7F, y_end - y_start, x_end - x_start)
