"""Image files of any supported format -> arrays. Knows formats by their suffix; decodes DICOM through `dicom.py`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UnreadableImage

DICOM_SUFFIXES = (".dcm", ".dicom", "")
PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")


def read_pixels(path: Path) -> NDArray:
    """(H, W) grey values, brighter is denser. Raises UnreadableImage with the reason."""
    if not path.is_file():
        raise UnreadableImage("no such file")
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return read_picture(path)
    if suffix in DICOM_SUFFIXES:
        from mammoseg.data.dicom import read_pixels as read_dicom  # pydicom only where a DICOM is read

        return read_dicom(path)
    supported = " ".join(suffix for suffix in (*PICTURE_SUFFIXES, *DICOM_SUFFIXES) if suffix)
    raise UnreadableImage(f"format {suffix} is not supported; convert it to one of {supported}")


def read_picture(path: Path) -> NDArray:
    encoded = np.fromfile(path, np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if picture is None:
        raise UnreadableImage("the picture is empty, truncated or of another format; copy it again")
    if picture.ndim == 3:
        colours = picture[..., :3]
        if not (colours == colours[..., :1]).all():
            raise UnreadableImage("a colour picture; a mammogram is grey")
        picture = np.ascontiguousarray(colours[..., 0])
    return picture


def read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) in {0, 1} of the given shape. Raises UnreadableImage, also for another size.

    A file of two values (0 and 1, or 0 and 255) is mass where it is not 0. One with more, as JPEG leaves
    behind at edges, is mass above half its maximum.
    """
    grey = read_pixels(path)
    if grey.shape != shape:
        raise UnreadableImage(
            f"the mask is {grey.shape[1]}x{grey.shape[0]} pixels, its image {shape[1]}x{shape[0]}; "
            "export both at one size"
        )
    top = grey.max(initial=0)
    two_valued = bool(((grey == 0) | (grey == top)).all())
    return (grey > (0 if two_valued else top / 2)).astype(np.uint8)
