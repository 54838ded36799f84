"""Reader of outlines in OsiriX XML property lists, the annotation format of INbreast."""

from __future__ import annotations

import math
import plistlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
from numpy.typing import NDArray

LESIONS = ("mass", "spiculated region", "calcification", "cluster", "asymmetry", "distortion")
# Misspellings in the annotations.
ALIASES = {
    "espiculated region": "spiculated region",
    "calcifications": "calcification",
    "assymetry": "asymmetry",
}
MIN_POINTS = 3  # of an outline; fewer points mark a position
COLLINEAR_TOLERANCE = 1e-3  # root of the sum of squared distances from a line, in pixels
POINT = re.compile(r"\s*\(([^,()]+),([^,()]+)\)\s*")


def canonical_lesion_name(name: object) -> str:
    """Return the canonical name of a lesion; empty for a missing name.

    Example:
        >>> canonical_lesion_name("Espiculated  Region ")
        'spiculated region'
    """
    spelling = " ".join(str(name or "").lower().split())
    return ALIASES.get(spelling, spelling)


def read_outlines(file: Path, lesions: set[str], ignored: Counter[str] | None = None) -> list[NDArray[np.float64]]:
    """Read the outlines of the lesions of some types.

    INbreast marks most calcifications by a single point. Marks without an area are ignored, also if they have several
    points on a line. A mass must have an outline, since an image with an unknown mass has no valid mask.

    Args:
        file: The property list.
        lesions: Canonical names of the types of lesions to read; other regions of interest are not validated.
        ignored: Counts the marks and regions with unknown names that were ignored, for the data report.

    Returns:
        Polygons (N, 2) of (x, y) in pixels of the full-size image, in the order of the file.

    Raises:
        ValueError: If the file or an outline is invalid; the message is the reason.
    """
    outlines = []
    for index, roi in enumerate(load_rois(file), start=1):
        lesion = canonical_lesion_name(roi.get("Name"))
        if lesion not in lesions:
            if ignored is not None and lesion not in LESIONS:
                ignored["region whose name is not that of a lesion"] += 1  # names may be free text
            continue
        points_px = roi.get("Point_px")
        points = [parse_point(text) for text in points_px] if isinstance(points_px, list) else []
        if lesion != "mass" and is_mark(points):
            if ignored is not None:
                ignored[f"{lesion} marked by a point, without an outline"] += 1
            continue
        outlines.append(make_outline(points, index))
    return outlines


def make_outline(points: Sequence[tuple[float, float] | None], index: int) -> NDArray[np.float64]:
    """Return the points of a region as a polygon (N, 2).

    Args:
        points: (x, y) in pixels; None for points that could not be parsed.
        index: Index of the region in its file, for error messages.

    Raises:
        ValueError: If there are fewer than `MIN_POINTS` points, one is invalid, or all are on a line; the message is
            the reason.
    """
    if len(points) < MIN_POINTS:
        raise ValueError(
            f"outline {index} has {len(points)} point{'s' * (len(points) != 1)}, a mass needs 3 or more; "
            "fix the XML or set dataset.on_error=skip"
        )
    if invalid := next((i for i, point in enumerate(points, start=1) if point is None), None):
        raise ValueError(
            f"outline {index}, point {invalid} is not two finite numbers (x, y); "
            "fix the XML or set dataset.on_error=skip"
        )
    if is_mark(points):
        raise ValueError(
            f"outline {index} must enclose an area, but its {len(points)} points are on a line; fix the XML or set "
            "dataset.on_error=skip"
        )
    return np.array(points, dtype=np.float64)


def is_mark(points: Sequence[tuple[float, float] | None]) -> bool:
    """Return whether a region is a mark without an area: it has fewer than `MIN_POINTS` points, or all are on a line.

    Args:
        points: (x, y) in pixels; a region with a None, a point that could not be parsed, is not a mark unless it has
            fewer than `MIN_POINTS` points.

    Example:
        >>> is_mark([(1.0, 1.0), (2.0, 3.0), (3.0, 5.0)])
        True
    """
    if len(points) < MIN_POINTS:
        return True
    if None in points:
        return False
    coordinates = np.array(points, dtype=np.float64)
    return bool(np.linalg.matrix_rank(coordinates - coordinates[0], tol=COLLINEAR_TOLERANCE) < 2)


def load_rois(file: Path) -> list[dict[str, Any]]:
    """Load all regions of interest of a property list.

    Args:
        file: The property list.

    Returns:
        The properties of each region of interest.

    Raises:
        ValueError: If the file cannot be read or has a different structure; the message is the reason.
    """
    try:
        # plistlib rejects entity declarations, which prevents exponential entity expansion.
        content = plistlib.loads(file.read_bytes(), fmt=plistlib.FMT_XML)
    except ExpatError as error:
        raise ValueError(f"broken XML: {error}; copy it again from the release") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except Exception:  # plistlib raises many exception types when it converts single values
        raise ValueError("broken XML: no property list; copy it again from the release") from None
    try:
        return [dict(roi.items()) for image in content["Images"] for roi in image["ROIs"]]
    except (AttributeError, LookupError, TypeError):
        raise ValueError("broken XML: no Images with ROIs in it; copy it again from the release") from None


def parse_point(text: object) -> tuple[float, float] | None:
    """Parse a point; None if it is not two finite numbers.

    Example:
        >>> parse_point("(12.5, 3)")
        (12.5, 3.0)
    """
    match = POINT.fullmatch(text) if isinstance(text, str) else None
    try:
        point = (float(match[1]), float(match[2])) if match else None
    except ValueError:
        return None
    return point if point and all(map(math.isfinite, point)) else None
