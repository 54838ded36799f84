"""Hashes of the inputs of preprocessing, so that outdated results are never reused."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.data.readers.mass_location import format_locations
from mammoseg.files import atomic_write_text

# A file may be changed again within the resolution of its time stamps, so the hash of a file that was changed less than
# this long before it was hashed is not stored.
TIMESTAMP_RESOLUTION_NS = 2_000_000_000
HASHED_ROWS = 512
Identity = list[int]  # size, modification and change time in ns, inode


def hash_json(value: object) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a JSON-serialisable value.

    Example:
        >>> hash_json([1, "a"])
        '4a72386a027702c1'
    """
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def hash_array(array: NDArray[Any], shape: tuple[int, ...] | None = None) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a shape, by default the array's, and its values."""
    digest = hashlib.sha256(repr(shape or array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def hash_pixels(pixels: NDArray[Any]) -> str:
    """Return a hash of an image that is equal for copies in other file formats and integer types.

    Copies of 8-bit images in 16 bits, multiplied by 257 or shifted, are equal, too. Of larger images, only about
    `HASHED_ROWS` rows are hashed, which suffices to recognise a copy and takes a fraction of the time.

    Args:
        pixels: (H, W) of any real dtype.

    Example:
        >>> image = np.array([[1, 200]], np.uint8)
        >>> hash_pixels(image) == hash_pixels(image.astype(np.uint16) * 257) == hash_pixels(image.astype(np.float32))
        True
    """
    shape, pixels = pixels.shape, pixels[:: max(len(pixels) // HASHED_ROWS, 1)]
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f" and -(2**31) <= low <= high < 2**31 and bool((pixels == np.rint(pixels)).all()):
        pixels = pixels.astype(np.int32)
    if pixels.dtype.kind in "iu" and low >= 0 and high > np.iinfo(np.uint8).max:
        bits = int(np.bitwise_or.reduce(pixels, axis=None))
        divisor = 257 if not (pixels % 257).any() else 256 if bits % 256 == 0 else 16 if bits % 16 == 0 else 1
        pixels = pixels // pixels.dtype.type(divisor)
    if pixels.dtype.kind in "iu":
        pixels = pixels.astype(np.min_scalar_type(pixels.max()) if low >= 0 else np.int64)
    return hash_array(pixels, shape)


def hash_file(file: Path) -> str:
    """Return the SHA-256 of the content of a file; empty if it is missing, not a regular file or not readable."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return ""
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return ""


class FileHashes:
    """Content hashes of the files of a dataset.

    A change of content is detected even if size and modification time are the same, as after unpacking an archive.
    Hashes are stored in an index, so that each start of a training does not read the entire dataset. A stored hash is
    used only if the file's change time, which programs cannot set, is that of the hashed file.

    Args:
        index: JSON file of the stored hashes. If it cannot be read or written, all files are hashed.
        root: Folder of the dataset.
    """

    def __init__(self, index: Path, root: Path) -> None:
        self.index = index
        self.root = root
        self.stored: dict[str, tuple[Identity, str]] = {}
        try:
            content = json.loads(index.read_text(encoding="utf-8"))
            self.stored = {name: (list(identity), str(digest)) for name, (identity, digest) in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.stored = {}

    def digests(self, files: Iterable[Path]) -> dict[Path, str]:
        """Return the content hash of each file, empty for a missing one; only new and changed files are read."""
        unique = list(dict.fromkeys(files))
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashing releases the GIL
            hashed = list(pool.map(self._hash, unique))
        current = {
            relative_name(file, self.root): (identity, digest)
            for file, (identity, digest, is_stable) in zip(unique, hashed, strict=True)
            if digest and is_stable
        }
        if current != self.stored:
            self._write(current)
        return {file: digest for file, (_, digest, _) in zip(unique, hashed, strict=True)}

    def _hash(self, file: Path) -> tuple[Identity, str, bool]:
        """Return identity and hash of a file, and whether the hash may be stored."""
        identity = file_identity(file)
        if identity is None:
            return [], "", False
        stored_identity, stored_digest = self.stored.get(relative_name(file, self.root), (None, ""))
        if identity == stored_identity:
            return identity, stored_digest, True
        is_old = time.time_ns() - max(identity[1:3]) > TIMESTAMP_RESOLUTION_NS
        return identity, hash_file(file), is_old

    def _write(self, hashes: Mapping[str, tuple[Identity, str]]) -> None:
        try:
            atomic_write_text(self.index, json.dumps(hashes) + "\n")
        except OSError:  # a read-only folder, or a full disk: the files are hashed again at the next start
            return


def file_identity(file: Path) -> Identity | None:
    """Return size, modification and change time, and inode of a file; None if it is missing."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def input_files(mammogram: Mammogram) -> list[Path]:
    """Return the files that the preprocessing of an image reads."""
    return [mammogram.image_file, *(file for files in mammogram.mask_candidates for file in files)]


def cache_key(mammogram: Mammogram, root: Path, digests: Mapping[Path, str]) -> str:
    """Return a hash of all inputs of the preprocessing of one image.

    Args:
        mammogram: The image.
        root: Folder of the dataset; the hash does not depend on its path.
        digests: Content hash of each of its `input_files`.

    Returns:
        Hash of case, view, number of masses, outlines, locations, and of name and content of the files.
    """
    files = [(relative_name(file, root), digests.get(file, "")) for file in input_files(mammogram)]
    outlines = [outline.tolist() for outline in mammogram.outlines]
    content = [mammogram.case, mammogram.view, mammogram.masses > 0, outlines, mammogram.masks_verified, files]
    locations = format_locations(mammogram.locations)
    return hash_json([*content, locations] if locations else content)  # other hashes are those of earlier versions


def relative_name(file: Path, root: Path) -> str:
    """Return the path relative to `root`, or else the file name; reports must not contain local paths."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
