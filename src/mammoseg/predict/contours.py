"""Bounding boxes and contours of predicted masses as polygons along the edges of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammoseg.metrics.regions import Region, label_regions

Polygon = NDArray[np.int64]  # (N, 2): x, y


@dataclass(frozen=True)
class Outline:
    """Bounding box and contour of a mass, in coordinates with the top left corner of the top left pixel at (0, 0).

    Attributes:
        box: (left, top, width, height) in pixels.
        polygon: Vertices (x, y) of the contour, shape (N, 2); the first is not repeated. It follows the edges of the
            pixels, so that its area is the number of pixels. Holes are connected to the outer contour by cuts of width
            0, so that a single polygon describes the mass.
    """

    box: tuple[int, int, int, int]
    polygon: Polygon


def outline_masses(mask: NDArray[np.bool_], masses: Sequence[Region]) -> list[Outline]:
    """Return the outlines of the masses of one image.

    Args:
        mask: (H, W) mask of all masses.
        masses: Its connected regions.

    Returns:
        One outline per mass, in the same order.

    Example:
        >>> from mammoseg.metrics.regions import connected_regions
        >>> mask = np.pad(np.ones((2, 3), bool), 1)
        >>> (outline,) = outline_masses(mask, connected_regions(mask, mask.astype(np.float32)))
        >>> outline.box, sorted(outline.polygon.tolist())
        ((1, 1, 3, 2), [[1, 1], [1, 3], [4, 1], [4, 3]])
    """
    image = label_regions(mask)
    outlines = []
    for mass in masses:
        left, top, width, height = image.boxes[mass.label - 1].tolist()
        polygon = trace_region(image.labels[image.window(mass.label)] == mass.label)
        outlines.append(Outline((left, top, width, height), polygon + np.array([left, top])))
    return outlines


def trace_region(region: NDArray[np.bool_]) -> Polygon:
    """Return the contour of an 8-connected region as one polygon; see `Outline.polygon`.

    Args:
        region: (H, W), True inside the region.
    """
    from skimage.measure import find_contours  # lazy: importing scikit-image is slow

    padded = np.pad(region, 1).astype(np.float64)
    rings = [pixel_corners(contour) for contour in find_contours(padded, 0.5, fully_connected="high")]  # type: ignore[no-untyped-call]
    return remove_collinear(merge_rings(sorted(rings, key=lambda ring: int(ring[:, 0].min()))))


def pixel_corners(contour: NDArray[np.float64]) -> Polygon:
    """Convert a closed contour of marching squares to the corners of the pixels along it.

    Args:
        contour: (N + 1, 2) rows and columns, halfway between the centres of adjacent pixels, in an image padded by 1.

    Returns:
        (N, 2) x and y without padding. Each segment crosses one cell between the centres of four pixels; its centre is
        the corner that these pixels share.
    """
    return np.floor((contour[:-1] + contour[1:]) / 2).astype(np.int64)[:, ::-1]


def merge_rings(rings: Sequence[Polygon]) -> Polygon:
    """Merge the outer contour and the holes of a region by horizontal cuts.

    The leftmost corner of each hole is connected to the nearest corner left of it, which belongs to a ring with a
    smaller x, so that all rings are connected.

    Args:
        rings: All corners of pixels along the outer contour and along each hole, sorted by the smallest x.
    """
    outer, *holes = rings
    rings = [outer, *(np.roll(hole, -np.lexsort((hole[:, 1], hole[:, 0]))[0], axis=0) for hole in holes)]
    corners = np.concatenate(rings)
    ring_of = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    index_in_ring = np.concatenate([np.arange(len(ring)) for ring in rings])
    keys = corners[:, 1] * (corners[:, 0].max() + 1) + corners[:, 0]  # increase from left to right in each row
    order = np.argsort(keys, kind="stable")
    sorted_keys, starts = keys[order], np.cumsum([0, *(len(ring) for ring in rings)])
    cuts: list[list[tuple[int, Polygon]]] = [[] for _ in rings]
    for hole in range(len(rings) - 1, 0, -1):  # the cuts of a hole lead to holes with a larger x
        merged = insert_rings(rings[hole], cuts[hole])
        position = np.searchsorted(sorted_keys, keys[starts[hole]], side="right") - 1
        while ring_of[order[position]] >= hole:
            position -= 1
        nearest = order[position]
        cuts[ring_of[nearest]].append((int(index_in_ring[nearest]), merged))
    return insert_rings(outer, cuts[0])


def insert_rings(ring: Polygon, cuts: Sequence[tuple[int, Polygon]]) -> Polygon:
    """Insert closed rings into another one.

    Args:
        ring: Its corners.
        cuts: For each inserted ring, the index of the corner of `ring` after which it is inserted, and its corners.
    """
    parts, start = [], 0
    for index, inserted in sorted(cuts, key=lambda cut: cut[0]):
        parts += [ring[start : index + 1], inserted, inserted[:1]]
        start = index
    return np.concatenate([*parts, ring[start:]])


def remove_collinear(polygon: Polygon) -> Polygon:
    """Remove repeated vertices, and those within a straight edge; the ends of a cut remain."""
    polygon = polygon[(polygon != np.roll(polygon, 1, axis=0)).any(axis=1)]
    before, after = polygon - np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0) - polygon
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    straight = (cross == 0) & ((before * after).sum(axis=1) > 0)
    return np.asarray(polygon[~straight], np.int64)
