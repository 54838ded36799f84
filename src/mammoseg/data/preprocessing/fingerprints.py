"""Hashes that change with the inputs of preprocessing, so that nothing outdated is reused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mammoseg.data.readers.mammogram import Mammogram


def hash_json(value: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def cache_key(mammogram: Mammogram, root: Path) -> str:
    """Cache key of one image: hash of its polygons and of the size and modification time of each of its files."""
    files = [mammogram.image_file, *(file for group in mammogram.mask_candidates for file in group)]
    outlines = [outline.tolist() for outline in mammogram.outlines]
    signatures = [file_signature(file, root) for file in files]
    return hash_json([mammogram.case, mammogram.view, outlines, mammogram.masks_verified, signatures])


def file_signature(file: Path, root: Path) -> tuple[str, int, int]:
    """Relative name, size in bytes and modification time in ns; -1 for the latter two if there is no such file."""
    try:
        status = file.stat()
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return relative_name(file, root), -1, -1
    return relative_name(file, root), status.st_size, status.st_mtime_ns


def relative_name(file: Path, root: Path) -> str:
    """The name without the user's folders, which must not reach reports."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
