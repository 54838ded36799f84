"""Decoder for PGM images (portable grey map), the format of mini-MIAS."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.formats import check_size
from mammoseg.errors import ImageReadError

# Signature, width, height and maximum, separated by white space and comments.
GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
HEADER = re.compile(rb"(P[25])" + 3 * (GAP + rb"(\d{1,10})") + rb"(?:#[^\n\r]*)?\s")


def decode_pgm(content: bytes) -> NDArray[Any] | None:
    """Decode a binary (P5) or text (P2) PGM image.

    Args:
        content: Content of the file.

    Returns:
        (H, W) uint8, or uint16 if the maximum is above 255; None if the file is truncated or damaged.

    Raises:
        ImageReadError: If the size or the maximum is invalid, or there are several images.

    Example:
        >>> decode_pgm(b"P5 2 1 255 " + bytes([7, 9]))
        array([[7, 9]], dtype=uint8)
    """
    header = HEADER.match(content)
    if header is None:
        return None
    width, height, maximum = (int(group) for group in header.groups()[1:])
    check_size(height, width)
    if not 0 < maximum < 2**16:
        raise ImageReadError(f"the maximum of a PGM must be between 1 and 65535, got {maximum}; export the image again")
    n_pixels = height * width
    if header.group(1) == b"P2":
        return _decode_text(content[header.end() :], n_pixels, maximum, (height, width))
    stored = np.dtype(np.uint8 if maximum < 256 else ">u2")
    end = header.end() + n_pixels * stored.itemsize
    if len(content) < end:
        return None
    if content[end:].lstrip().startswith(b"P5"):
        raise ImageReadError("several images in one PGM; provide one mammogram per file")
    pixels = np.frombuffer(content, stored, n_pixels, header.end()).reshape(height, width)
    return pixels.astype(stored.newbyteorder("="))


def pgm_size(content: bytes) -> tuple[int, int] | None:
    """Return height and width in the header of a PGM image; None if there is none.

    Args:
        content: Start of the file.

    Example:
        >>> pgm_size(b"P5 2 1 255 ")
        (1, 2)
    """
    header = HEADER.match(content)
    return None if header is None else (int(header[3]), int(header[2]))


def _decode_text(text: bytes, n_pixels: int, maximum: int, shape: tuple[int, int]) -> NDArray[Any] | None:
    try:
        values = [int(word) for word in text.split(None, n_pixels)[:n_pixels]]
    except ValueError:
        return None
    if len(values) < n_pixels or not all(0 <= value <= maximum for value in values):
        return None
    return np.array(values, np.uint8 if maximum < 256 else np.uint16).reshape(shape)
