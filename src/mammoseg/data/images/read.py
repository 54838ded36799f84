"""Image files of any supported format -> arrays. Knows formats by their suffix; decodes DICOM through `dicom.py`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.metadata import Facts
from mammoseg.errors import UnreadableImage

DICOM_SUFFIXES = (".dcm", ".dicom", "")
PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
JPEG_END, JPEG_TAIL = b"\xff\xd9", 1024  # what a whole JPEG ends with, and how much may stand behind it
PHOTOMETRIC = 262  # TIFF's tag; 0 means that white is zero
STRIDE = 4  # every 4th pixel each way tells a mask from a picture

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_ERROR
)  # what is wrong with a file stands in our table of bad cases


def read_pixels(path: Path) -> NDArray:
    """(H, W) grey values, brighter is denser. Raises UnreadableImage with the reason."""
    if not exists(path):
        raise UnreadableImage("no such file")
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return read_picture(path)
    if suffix in DICOM_SUFFIXES:
        from mammoseg.data.images.dicom import read_pixels as read_dicom  # pydicom only where a DICOM is read

        return read_dicom(path)
    supported = " ".join(suffix for suffix in (*PICTURE_SUFFIXES, *DICOM_SUFFIXES) if suffix)
    raise UnreadableImage(f"format {suffix} is not supported; convert it to one of {supported}")


def read_facts(path: Path) -> Facts:
    """What the file says of its image beside the pixels; only DICOM says anything. Raises UnreadableImage."""
    if path.suffix.lower() not in DICOM_SUFFIXES:
        return Facts()
    from mammoseg.data.images.dicom import read_facts as read_dicom_facts

    return read_dicom_facts(path)


def exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_picture(path: Path) -> NDArray:
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableImage(f"cannot be read ({error.strerror}); check it or copy it again") from None
    if path.suffix.lower() in (".jpg", ".jpeg") and JPEG_END not in encoded[-JPEG_TAIL:].tobytes():
        raise UnreadableImage("the JPEG is cut off; copy it again")  # OpenCV would fill in grey
    try:
        picture = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    except cv2.error:  # a header that claims more pixels than can be
        picture = None
    if picture is None:
        raise UnreadableImage("the picture is empty, truncated or of another format; copy it again")
    if picture.ndim == 3:
        colours = picture[..., :3]
        if not (colours == colours[..., :1]).all():
            raise UnreadableImage("a colour picture; a mammogram is grey")
        picture = np.ascontiguousarray(colours[..., 0])
    if picture.dtype == np.uint16 and white_is_zero(encoded):
        picture = np.iinfo(np.uint16).max - picture  # OpenCV does so itself for 8 bits only
    return picture


def white_is_zero(encoded: NDArray[np.uint8]) -> bool:
    """Whether this is a TIFF whose PhotometricInterpretation says that its lowest value is white, as films' may be."""
    file = encoded.data
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(file[:4]))
    if order is None:
        return False
    try:
        (start,) = struct.unpack_from(f"{order}I", file, 4)
        (entries,) = struct.unpack_from(f"{order}H", file, start)
        tags = (struct.unpack_from(f"{order}HHIH", file, start + 2 + 12 * number) for number in range(entries))
        return any(tag == PHOTOMETRIC and value == 0 for tag, _, _, value in tags)
    except struct.error:  # a directory beyond the end: OpenCV has found its own way through it
        return False


def read_masks(
    groups: Sequence[Sequence[Path]], shape: tuple[int, int], trusted: bool = True
) -> tuple[NDArray[np.uint8], bool]:
    """One (H, W) mask in {0, 1} of the given shape that joins the masses, and whether one had another size.

    `groups`: for each mass the files among which its mask is. Untrusted ones are looked at: the mask is the
    largest picture of two values, and it is stretched onto the image where its size differs.
    Raises UnreadableImage with the reason.
    """
    joined, differed = np.zeros(shape, np.uint8), False
    for number, files in enumerate(groups, start=1):
        grey = read_trusted(files[0]) if trusted else find_mask(files)
        if grey.shape != shape:
            if trusted:
                raise UnreadableImage(
                    f"the mask is {grey.shape[1]}x{grey.shape[0]} pixels, its image {shape[1]}x{shape[0]}; "
                    "export both at one size"
                )
            differed = True
        mask = binary(grey)
        if differed and mask.shape != shape:
            mask = np.asarray(cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
        if not trusted and not mask.any():
            which = f"mask {number} of {len(groups)}" if len(groups) > 1 else "the mask"
            raise UnreadableImage(f"{which} is empty; copy it again, or remove the case")
        joined = mask if number == 1 else joined | mask
    return joined, differed


def read_trusted(path: Path) -> NDArray:
    try:
        return read_pixels(path)
    except UnreadableImage as error:
        raise UnreadableImage(f"its mask {path.name}: {error}") from None


def find_mask(files: Sequence[Path]) -> NDArray:
    """The largest of the pictures that is a mask; the others are crops of the image."""
    masks, reasons = [], []
    for file in files:
        try:
            grey = read_pixels(file)
        except UnreadableImage as error:
            reasons.append(f"{file.name}: {error}")
            continue
        if has_two_levels(grey):
            masks.append(grey)
    if masks:
        return max(masks, key=lambda grey: grey.size)
    if reasons:
        raise UnreadableImage(f"no readable mask ({'; '.join(reasons)})")
    raise UnreadableImage(f"no mask among its {len(files)} file(s), only crops; download the ROI mask series")


def has_two_levels(grey: NDArray) -> bool:
    """Whether nearly all pixels lie at either end of the range: JPEG blurs a mask's edges, no more."""
    sample = grey[::STRIDE, ::STRIDE] if min(grey.shape) > 32 * STRIDE else grey
    low, high = float(sample.min()), float(sample.max())
    near = 0.12 * (high - low)
    return bool(((sample <= low + near) | (sample >= high - near)).mean() > 0.97)


def binary(grey: NDArray) -> NDArray[np.uint8]:
    """Mass is what is brighter than half the maximum: of 0 and 1, of 0 and 255, and of edges that JPEG blurred."""
    if grey.dtype != np.uint8:
        return (grey > grey.max(initial=0) / 2).astype(np.uint8)
    return np.asarray(cv2.threshold(grey, int(grey.max(initial=0)) // 2, 1, cv2.THRESH_BINARY)[1], np.uint8)
