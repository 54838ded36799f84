"""Anybody's mammograms, file by file: which files there are, what they are called in the output, and their pixels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images import read as pixels
from mammoseg.data.images.metadata import Facts
from mammoseg.errors import UnreadableImage, UserError
from mammoseg.runs.prediction_folder import JOURNAL_FILE

SUFFIXES = (*pixels.PICTURE_SUFFIXES, *(suffix for suffix in pixels.DICOM_SUFFIXES if suffix))
LEAST_SIDE = 64  # pixels; thumbnails are smaller
LEAST_LEVELS = 16  # grey values; masks and drawings have fewer
SAMPLED = 64  # pixels along the shorter side that are looked at for them


@dataclass(frozen=True)
class Input:
    """`file`: relative to the folder that was given, with forward slashes."""

    path: Path
    file: str

    @property
    def is_dicom(self) -> bool:
        return self.path.suffix.lower() not in pixels.PICTURE_SUFFIXES


def find(given: Path, output: Path) -> list[Input]:
    """The file `given`, or the images in this folder and all below, in alphabetical order.

    An image has a known suffix, or "DICM" at byte 128; `output` is not looked into.
    Raises UserError if there is none.
    """
    if given.is_file():
        return [Input(given, given.name)]
    if not given.is_dir():
        raise UserError(f"input={given}: no such file or folder; give a mammogram or a folder of mammograms")
    if output.resolve() == given.resolve():
        raise UserError(f"output={output}: is the input folder itself; choose another, which may lie inside it")
    found = [Input(path, path.relative_to(given).as_posix()) for path in walk(given, output) if is_image(path)]
    if not found:
        raise UserError(
            f"input={given}: no image in it or below; looked for {' '.join(SUFFIXES)} and DICOM files of any name"
        )
    return sorted(found, key=lambda image: image.file)


def names(files: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """What the output calls each file: its relative path without a known suffix.

    The suffix stays where two files would share a name, even in other letters' case. `given`: names of earlier calls
    by file, which stay, also those of files that are gone.
    """
    short = {file: unsuffixed(file) for file in files}
    wanted = Counter(name.casefold() for name in [*short.values(), *files])
    used = {name.casefold() for name in given.values()}
    named = {}
    for file, name in short.items():
        unshared = [name] if wanted[name.casefold()] == 1 or name == file else []
        candidates = chain(unshared, [file], (f"{file}-{number}" for number in count(2)))
        named[file] = given.get(file) or next(one for one in candidates if one.casefold() not in used)
        used.add(named[file].casefold())
    return named


def walk(top: Path, without: Path) -> Iterator[Path]:
    """Every file below `top`; linked folders too, but none twice, and neither `without` nor other predictions."""
    seen = {without.resolve()}
    for folder, folders, files in os.walk(top, followlinks=True):
        real = Path(folder).resolve()
        if real in seen or JOURNAL_FILE in files:  # `without`, a loop of links, or what an earlier call predicted
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(folder, file) for file in files)


def is_image(path: Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR":  # the latter lists files and has no pixels
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def unsuffixed(file: str) -> str:
    """Only a known suffix goes: DICOM files are often named by a UID, whose last part is none."""
    path = PurePosixPath(file)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else file


def read(image: Input) -> tuple[NDArray, Facts]:
    """(H, W) grey values, brighter is denser, and what the file says of them.

    Raises UnreadableImage with the reason for what cannot be read or cannot be a mammogram.
    """
    try:
        str(image.path).encode()
    except UnicodeEncodeError:  # OpenCV crashes on it, and no table can name it
        raise UnreadableImage("its name is not UTF-8; rename it") from None
    if image.is_dicom:
        from mammoseg.data.images.dicom import read as read_dicom  # pydicom only where a DICOM is read

        grey, facts = read_dicom(image.path)
    else:
        if image.path.suffix.lower() in (".tif", ".tiff") and (pages := cv2.imcount(str(image.path))) > 1:
            raise UnreadableImage(f"{pages} pages; give one mammogram per file")
        grey, facts = pixels.read_pixels(image.path), Facts()
    check(grey)
    return grey, facts


def check(grey: NDArray) -> None:
    """Raises UnreadableImage for what no network could say anything sensible about."""
    height, width = grey.shape
    if min(height, width) < LEAST_SIDE:
        raise UnreadableImage(
            f"only {width}x{height} pixels; a mammogram has at least {LEAST_SIDE} each way, give the full image"
        )
    if not np.isfinite(grey).all():
        raise UnreadableImage("has pixels that are not a number; export it again")
    step = max(min(height, width) // SAMPLED, 1)
    levels = len(np.unique(grey[::step, ::step]))
    if levels == 1 and grey.min() == grey.max():
        raise UnreadableImage("a picture of one grey value; a mammogram shows something")
    if levels < LEAST_LEVELS:
        raise UnreadableImage(f"only {levels} grey values: a mask or a drawing, not a mammogram")
