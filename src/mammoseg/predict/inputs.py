"""Inputs of `mammoseg.predict`: file discovery, output names and the plausibility check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from mammoseg.data.images.formats import (
    GZIP_SUFFIX,
    IMAGE_SUFFIXES,
    SUPPORTED,
    UNSUPPORTED_SUFFIXES,
    has_dicom_prefix,
    image_suffix,
    is_raster,
)
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.images.plausibility import check_plausible
from mammoseg.data.images.read import read_image
from mammoseg.data.readers.file_tree import walk
from mammoseg.errors import ImageReadError, UserError
from mammoseg.runs.prediction_folder import JOURNAL_FILE


@dataclass(frozen=True)
class Input:
    """An image to predict.

    Attributes:
        path: Path of the file.
        file: Path relative to the input folder, with forward slashes.
    """

    path: Path
    file: str

    @property
    def is_dicom(self) -> bool:
        """Whether the file is read as DICOM."""
        return not is_raster(self.path) and self.is_supported

    @property
    def is_supported(self) -> bool:
        """Whether the suffix is not that of an unsupported image format."""
        return image_suffix(self.path) not in UNSUPPORTED_SUFFIXES


def find_images(root: Path, exclude: Path) -> list[Input]:
    """Find the images to predict.

    A file is an image if it has the suffix of an image format, or starts as a DICOM file. Images in unsupported formats
    are included, so that they are reported as skipped.

    Args:
        root: An image, or a folder to search recursively.
        exclude: The output folder, which may be inside `root`. It is skipped, as are other folders of predictions.

    Returns:
        The images, sorted by relative path.

    Raises:
        UserError: If there are no images, a folder cannot be listed, or `exclude` is `root`.
    """
    if root.is_file():
        return [Input(root, root.name)]
    if root.exists() and not root.is_dir():
        raise UserError("input must be an image or a folder, got a named pipe, socket or device")
    if not root.is_dir():
        raise UserError(f"input={root}: no such file or folder; set input to an image or a folder of images")
    excluded = exclude.resolve()
    if excluded == root.resolve():
        raise UserError(f"output must differ from the input folder, got {exclude}; a folder inside it is allowed")

    def is_output(folder: Path, names: Sequence[str]) -> bool:
        return JOURNAL_FILE in names or folder.resolve() == excluded

    files = (folder / name for folder, names in walk(root, skip_folder=is_output) for name in names)
    images = [Input(path, path.relative_to(root).as_posix()) for path in files if is_image(path)]
    if not any(image.is_supported for image in images):
        raise UserError(f"input={root}: no images found; supported are {SUPPORTED}, and DICOM files of any name")
    return sorted(images, key=lambda image: image.file)


def output_names(files: Sequence[str], existing: Mapping[str, str]) -> dict[str, str]:
    """Assign the base names of output files: the relative path of the input without its suffix.

    The suffix is not removed if two files would then have the same name, ignoring case.

    Args:
        files: Relative paths of the inputs.
        existing: Names assigned by previous calls, by file. A file keeps its name, and the name is never assigned to
            another file, even if the file no longer exists.

    Returns:
        The name of each file.

    Example:
        >>> output_names(["a.png", "b.png", "b.dcm"], existing={})
        {'a.png': 'a', 'b.png': 'b.png', 'b.dcm': 'b.dcm'}
    """
    without_suffix = {file: strip_image_suffix(file) for file in files}
    occurrences = Counter(name.casefold() for name in [*without_suffix.values(), *files])
    used = {name.casefold() for name in existing.values()}
    names = {}
    for file, name in without_suffix.items():
        preferred = [name] if occurrences[name.casefold()] == 1 or name == file else []
        candidates = chain(preferred, [file], (f"{file}-{n}" for n in count(2)))
        names[file] = existing.get(file) or next(
            candidate for candidate in candidates if candidate.casefold() not in used
        )
        used.add(names[file].casefold())
    return names


def is_image(path: Path) -> bool:
    """Return whether a file has the suffix of an image or starts as a DICOM file; a DICOMDIR contains no pixels."""
    if path.name == "DICOMDIR":
        return False
    return image_suffix(path) in (*IMAGE_SUFFIXES, *UNSUPPORTED_SUFFIXES) or has_dicom_prefix(path)


def strip_image_suffix(file: str) -> str:
    """Remove the suffix of an image format, and that of gzip; the last component of a UID is not a suffix.

    Example:
        >>> strip_image_suffix("a/b.PNG"), strip_image_suffix("a.dcm.gz"), strip_image_suffix("1.2.840.1")
        ('a/b', 'a', '1.2.840.1')
    """
    path = PurePosixPath(file)
    if image_suffix(path) not in IMAGE_SUFFIXES:
        return file
    return str((path.with_suffix("") if path.suffix.lower() == GZIP_SUFFIX else path).with_suffix(""))


def read_input(image: Input) -> tuple[NDArray[Any], ImageMetadata]:
    """Read an image and check that it may be a mammogram.

    Args:
        image: The input.

    Returns:
        Pixels (H, W), where brighter is denser, and the metadata of the image.

    Raises:
        ImageReadError: If the image cannot be read or is not plausible; see `check_plausible`.
    """
    try:
        str(image.path).encode()
    except UnicodeEncodeError:
        raise ImageReadError("the file name is not valid UTF-8; rename the file") from None
    pixels, metadata = read_image(image.path)
    check_plausible(pixels)
    return pixels, metadata
