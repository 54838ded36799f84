"""Hashes of the inputs of preprocessing, so that outdated results are never reused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from mammoseg.data.readers.mammogram import Mammogram

# Reasons of rejected cases are part of the fingerprint of a store. Those that were reworded since version 0.1 are
# hashed in the previous wording, so that existing stores keep their names: new pattern -> previous wording.
REWORDED_REASONS = {
    r"no image name such as (.*) in the image file path; use TCIA's table": (
        r"the image file path names no image such as \1; take TCIA's table"
    ),
    r"the paths of mask and crop are missing; use TCIA's table": (
        r"neither mask nor crop has a path; take TCIA's table"
    ),
    r"the DICOM file (\d+)_\*\.dcm is missing; copy it from the release, or remove the XML file": (
        r"a mass but no DICOM \1_*.dcm; copy it from the release, or remove the XML"
    ),
    r"INbreast\.csv has no row with File Name (\d+); use the table from the release": (
        r"a mass but no row with File Name \1 in INbreast.csv; take the release's table"
    ),
    r"INbreast\.csv has contradictory rows for (\d+); remove the wrong ones": (
        r"rows of INbreast.csv contradict each other on \1; keep the right one"
    ),
    r"rows of the image have different densities \((.*)\); fix the table": (
        r"its rows have several densities (\1); mend the table"
    ),
    r"density must be an ACR category 1 to 4, got (.*); fix the table": (
        r"density \1 is no ACR category 1-4; mend the table"
    ),
    r"density must be an ACR category 1 to 4 or blank, got (.*)": (
        r"density \1 is no ACR category 1-4; leave it blank if it is unknown"
    ),
    r"ACR in INbreast\.csv must be 1 to 4 or blank, got (.*)": (
        r"ACR \1 in INbreast.csv is no density 1-4; mend it or leave the cell blank"
    ),
    r"second file of case (\d+), the first is (.*); remove one": r"a second file of \1 beside \2; remove one",
    r"case (.*) is already defined in an earlier line": r"case \1 stands in an earlier line already",
    r"split must be train, val, test or blank, got (.*)": r"split \1 is none of train, val, test",
    r"masses must be a non-negative integer, got (.*)": r"masses \1 is no whole number",
}


def original_reason(reason: str) -> str:
    """Return the reason for rejecting a case, as worded by version 0.1; see `REWORDED_REASONS`."""
    for pattern, original in REWORDED_REASONS.items():
        if match := re.fullmatch(pattern, reason, re.DOTALL):
            return match.expand(original)
    return reason


def hash_json(value: object) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a JSON-serialisable value.

    Example:
        >>> hash_json([1, "a"])
        '4a72386a027702c1'
    """
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def cache_key(mammogram: Mammogram, root: Path) -> str:
    """Return a hash of all inputs of the preprocessing of one image.

    Args:
        mammogram: The image.
        root: Folder of the dataset; the hash does not depend on its path.

    Returns:
        Hash of the case, the view and the outlines, and of the name, size and modification time of each file.
    """
    files = [mammogram.image_file, *(file for group in mammogram.mask_candidates for file in group)]
    outlines = [outline.tolist() for outline in mammogram.outlines]
    signatures = [file_signature(file, root) for file in files]
    return hash_json([mammogram.case, mammogram.view, outlines, mammogram.masks_verified, signatures])


def file_signature(file: Path, root: Path) -> tuple[str, int, int]:
    """Return the values by which a change of a file is detected.

    Args:
        file: The file.
        root: Folder of the dataset.

    Returns:
        Path relative to `root`, size in bytes and modification time in ns; the last two are -1 if the file is missing.
    """
    try:
        status = file.stat()
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return relative_name(file, root), -1, -1
    return relative_name(file, root), status.st_size, status.st_mtime_ns


def relative_name(file: Path, root: Path) -> str:
    """Return the path relative to `root`, or else the file name; reports must not contain local paths."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
