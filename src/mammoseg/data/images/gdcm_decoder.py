"""GDCM: decoding of JPEG Extended, and suppression of the output of its C libraries."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.codestream import Codestream
from mammoseg.errors import ImageReadError

CODECS_INSTALL_HINT = "pip install '.[codecs]'"
CONVERT = "convert the file to uncompressed DICOM"

_stderr_lock = threading.Lock()
_stderr_state = {"users": 0, "saved": -1}


def decode_extended_jpeg(frame: bytes, stream: Codestream) -> NDArray[Any]:
    """Decode JPEG Extended of more than 8 bits, which pydicom does not request from GDCM.

    Args:
        frame: The codestream.
        stream: Its properties.

    Returns:
        (H, W) uint16.

    Raises:
        ImageReadError: If GDCM is not installed or cannot decode the codestream.
    """
    try:
        import gdcm
    except ImportError:
        raise ImageReadError(f"JPEG Extended with {stream.bits} bits needs a decoder: {CODECS_INSTALL_HINT}") from None
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.width, stream.height, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, stream.bits, stream.bits - 1, 0))
    with suppress_stderr():
        buffer = image.GetBuffer()
    content = buffer.encode("utf-8", "surrogateescape") if isinstance(buffer, str) else b""
    if len(content) != 2 * stream.height * stream.width:
        raise ImageReadError(f"JPEG Extended with {stream.bits} bits could not be decoded; {CONVERT}, or copy it again")
    return np.frombuffer(content, np.uint16).reshape(stream.height, stream.width)


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discard the output of C libraries to file descriptor 2 during the block.

    The descriptor belongs to the process: it is restored when the last of several threads leaves the block.
    """
    with _stderr_lock:
        if _stderr_state["users"] == 0:
            _stderr_state["saved"] = _redirect_stderr()
        _stderr_state["users"] += 1
    try:
        yield
    finally:
        with _stderr_lock:
            _stderr_state["users"] -= 1
            if _stderr_state["users"] == 0 and _stderr_state["saved"] >= 0:
                os.dup2(_stderr_state["saved"], 2)
                os.close(_stderr_state["saved"])


def _redirect_stderr() -> int:
    """Redirect file descriptor 2 to the null device; return a copy of it, or -1 if it is closed."""
    try:
        saved = os.dup(2)
    except OSError:
        return -1
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    return saved
