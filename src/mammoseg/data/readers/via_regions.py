"""Regions drawn with the VGG Image Annotator (VIA), the annotation format of CDD-CESM."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.readers.osirix import is_mark

ELLIPSE_POINTS = 128  # of the polygon that replaces an ellipse; its area is smaller by 0.04 %
KINDS = ("polygon", "polyline", "ellipse", "circle", "point")


def parse_region(text: str) -> tuple[str, NDArray[np.float64] | None]:
    """Parse the cell `region_shape_attributes`.

    Args:
        text: JSON of one region; `{}` if the image has none.

    Returns:
        Kind of the region, empty for `{}`, and its outline (N, 2) of (x, y) in pixels. Polylines are closed. The
        outline is None for a point, and for a line without an area.

    Raises:
        ValueError: If the cell is invalid; the message is the reason.

    Example:
        >>> kind, outline = parse_region('{"name": "circle", "cx": 10, "cy": 20, "r": 5}')
        >>> kind, outline.min(axis=0).tolist(), outline.max(axis=0).round(6).tolist()
        ('circle', [5.0, 15.0], [15.0, 25.0])
    """
    try:
        region: dict[str, Any] = json.loads(text)
        if not region or region["name"] == "point":
            return region.get("name", ""), None
        outline = region_outline(region)
        if outline is None or outline.ndim != 2 or not np.isfinite(outline).all():
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise ValueError(
            f"region_shape_attributes must be the JSON of a {', '.join(KINDS[:-1])} or {KINDS[-1]}, got {text[:80]}"
        ) from None
    return region["name"], None if is_mark([(x, y) for x, y in outline.tolist()]) else outline


def region_outline(region: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Return the outline (N, 2) of a region; None if its kind is unknown.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: If its attributes are invalid.
    """
    if region["name"] in ("polygon", "polyline"):
        return np.array([region["all_points_x"], region["all_points_y"]], np.float64).T
    if region["name"] == "circle":
        x, y, radius = (float(region[name]) for name in ("cx", "cy", "r"))
        return ellipse(x, y, radius, radius)
    if region["name"] == "ellipse":
        x, y, radius_x, radius_y = (float(region[name]) for name in ("cx", "cy", "rx", "ry"))
        return ellipse(x, y, radius_x, radius_y, float(region.get("theta", 0)))
    return None


def ellipse(x: float, y: float, radius_x: float, radius_y: float, theta: float = 0.0) -> NDArray[np.float64]:
    """Return an ellipse as a polygon (ELLIPSE_POINTS, 2).

    Args:
        x: Column of the centre.
        y: Row of the centre.
        radius_x: Radius along the first axis.
        radius_y: Radius along the second axis.
        theta: Angle of the first axis to the rows in radians, clockwise on the screen.

    Raises:
        ValueError: If a value is not finite.
    """
    if not np.isfinite([x, y, radius_x, radius_y, theta]).all():
        raise ValueError
    angles = np.arange(ELLIPSE_POINTS) * (2 * math.pi / ELLIPSE_POINTS)
    first, second = radius_x * np.cos(angles), radius_y * np.sin(angles)
    cos, sin = math.cos(theta), math.sin(theta)
    return np.stack([x + first * cos - second * sin, y + first * sin + second * cos], axis=1)
