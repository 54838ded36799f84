"""Inputs of `mammoseg.predict`: file discovery, output names and the plausibility check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.images.read import IMAGE_SUFFIXES, has_dicom_prefix, is_raster, read_image
from mammoseg.data.readers.file_tree import walk
from mammoseg.errors import ImageReadError, UserError
from mammoseg.runs.prediction_folder import JOURNAL_FILE

MIN_SIDE = 64  # pixels; thumbnails are smaller
MIN_GREY_LEVELS = 16  # masks and drawings have fewer
SAMPLES_PER_SIDE = 64  # pixels along the shorter side in which grey levels are counted


@dataclass(frozen=True)
class Input:
    """An image to predict.

    Attributes:
        path: The file.
        file: The same relative to the input folder, with forward slashes.
    """

    path: Path
    file: str

    @property
    def is_dicom(self) -> bool:
        """Whether the file is read as DICOM, not as a raster image."""
        return not is_raster(self.path)


def find_images(root: Path, exclude: Path) -> list[Input]:
    """Find the images to predict.

    A file is an image if it has a known suffix, or "DICM" at byte 128.

    Args:
        root: An image, or a folder to search at any depth.
        exclude: The output folder, which may lie inside `root` and is skipped, as is any other folder of predictions.

    Returns:
        The images in alphabetical order.

    Raises:
        UserError: If there is none, a folder cannot be listed, or `exclude` is `root`.
    """
    if root.is_file():
        return [Input(root, root.name)]
    if not root.is_dir():
        raise UserError(f"input={root}: no such file or folder; give a mammogram or a folder of mammograms")
    excluded = exclude.resolve()
    if excluded == root.resolve():
        raise UserError(f"output={exclude}: is the input folder itself; choose another, which may lie inside it")

    def is_output(folder: Path, names: Sequence[str]) -> bool:
        return JOURNAL_FILE in names or folder.resolve() == excluded

    files = (folder / name for folder, names in walk(root, skip_folder=is_output) for name in names)
    images = [Input(path, path.relative_to(root).as_posix()) for path in files if is_image(path)]
    if not images:
        raise UserError(
            f"input={root}: no image in it or below; looked for {' '.join(IMAGE_SUFFIXES)} and DICOM files of any name"
        )
    return sorted(images, key=lambda image: image.file)


def output_names(files: Sequence[str], existing: Mapping[str, str]) -> dict[str, str]:
    """Name the outputs: the relative path without a known suffix.

    The suffix is kept where two files would share a name, even if they differ in case only.

    Args:
        files: Relative paths of the inputs.
        existing: Names by file from earlier calls, which are kept and not reused, even if the file is gone.

    Returns:
        The name of each file.
    """
    short = {file: strip_image_suffix(file) for file in files}
    requests = Counter(name.casefold() for name in [*short.values(), *files])
    used = {name.casefold() for name in existing.values()}
    names = {}
    for file, name in short.items():
        preferred = [name] if requests[name.casefold()] == 1 or name == file else []
        candidates = chain(preferred, [file], (f"{file}-{number}" for number in count(2)))
        names[file] = existing.get(file) or next(each for each in candidates if each.casefold() not in used)
        used.add(names[file].casefold())
    return names


def is_image(path: Path) -> bool:
    """Whether the suffix or the first bytes are those of an image; a DICOMDIR has no pixels."""
    if path.name == "DICOMDIR":
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or has_dicom_prefix(path)


def strip_image_suffix(file: str) -> str:
    """Remove a known suffix only: DICOM files are often named by a UID, whose last component is not a suffix."""
    path = PurePosixPath(file)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else file


def read_input(image: Input) -> tuple[NDArray[Any], ImageMetadata]:
    """Read an image that can be a mammogram.

    Args:
        image: The input.

    Returns:
        Pixels (H, W), brighter is denser, and the metadata of the file.

    Raises:
        ImageReadError: With the reason if it cannot be read or is implausible.
    """
    try:
        str(image.path).encode()
    except UnicodeEncodeError:
        raise ImageReadError("its name is not UTF-8, so tables cannot refer to it; rename it") from None
    pixels, metadata = read_image(image.path)
    check_plausible(pixels)
    return pixels, metadata


def check_plausible(pixels: NDArray[Any]) -> None:
    """Check that an image can be a mammogram.

    Args:
        pixels: (H, W).

    Raises:
        ImageReadError: If it is too small, not finite, or has too few grey values.
    """
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise ImageReadError(
            f"only {width}x{height} pixels; a mammogram has at least {MIN_SIDE} each way, give the full image"
        )
    if not np.isfinite(pixels).all():
        raise ImageReadError("has pixels that are not a number; export it again")
    step = max(min(height, width) // SAMPLES_PER_SIDE, 1)
    n_levels = len(np.unique(pixels[::step, ::step]))
    if n_levels == 1 and pixels.min() == pixels.max():
        raise ImageReadError("all pixels have one grey value; export it again")
    if n_levels < MIN_GREY_LEVELS:
        raise ImageReadError(f"only {n_levels} grey values: a mask or a drawing, not a mammogram")
