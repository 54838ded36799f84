"""Annotations of TOMPEI-CMMD: a JSON file per breast with outlines of lesions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.readers.mammogram import RejectedCases
from mammoseg.data.readers.osirix import is_mark

MASS = "mass"
Breast = tuple[str, str]  # patient and side
Outlines = tuple[NDArray[np.float64], ...]


def read_annotations(files: Mapping[Breast, Path], rejected: RejectedCases) -> dict[Breast, Outlines]:
    """Read the outlines of the masses of each annotated breast; empty for a breast with other lesions only.

    Args:
        files: Annotation by breast.
        rejected: Receives invalid annotations.
    """
    annotations = {}
    for breast in sorted(files):
        try:
            annotations[breast] = parse_annotation(files[breast].read_bytes())
        except OSError as error:
            rejected.add(files[breast].name, f"cannot be read: {error.strerror}")
        except ValueError as error:
            rejected.add(files[breast].name, error)
    return annotations


def parse_annotation(content: bytes) -> Outlines:
    """Parse the outlines of the masses in an annotation.

    Args:
        content: JSON, a list of lesions.

    Returns:
        Polygons (N, 2) of (x, y) in pixels of the full-size image.

    Raises:
        ValueError: If it is invalid; the message is the reason.

    Example:
        >>> points = [{"x": 1, "y": 2}, {"x": 5, "y": 2}, {"x": 5, "y": 6}]
        >>> (outline,) = parse_annotation(json.dumps([{"label": "mass ", "cgPoints": points}]).encode())
        >>> outline.tolist()
        [[1.0, 2.0], [5.0, 2.0], [5.0, 6.0]]
    """
    try:
        lesions = json.loads(content)
        if not isinstance(lesions, list):
            raise TypeError
        masses = [lesion["cgPoints"] for lesion in lesions if str(lesion["label"]).strip().lower() == MASS]
        outlines = [[(float(point["x"]), float(point["y"])) for point in points] for points in masses]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise ValueError("must be a JSON list of lesions with label and cgPoints; download it again") from None
    for index, points in enumerate(outlines, start=1):
        if not all(math.isfinite(value) for point in points for value in point) or is_mark(points):
            raise ValueError(f"mass {index} must be outlined by 3 or more points that enclose an area; fix the file")
    return tuple(np.array(points, np.float64) for points in outlines)
