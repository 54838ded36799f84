"""Features of a mammogram for the estimate of breast density: grey values, texture and their distribution.

The breast is cropped to its bounding box, turned so that its centroid is on the left, and resized to a fixed side, and
its grey values are scaled to a fixed range. The features therefore do not depend on the side of the breast or on the
offset and the scale of the grey values; like the networks, they do depend on the shape of the grey-level curve.

Source:
    Percentiles and dense fractions above the grey value of fat: Byng et al., Phys. Med. Biol. 39, 1994; Karssemeijer,
    Phys. Med. Biol. 43, 1998. Local binary patterns: Ojala et al., IEEE TPAMI 24, 2002. Co-occurrence matrices:
    Haralick et al., IEEE Trans. SMC 3, 1973. Both are computed by scikit-image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.breast import BoolMask
from mammoseg.data.preprocessing.density_estimate import OBLIQUE, fat_by_ring, pectoral_triangle, skin_distance

WORKING_SIDE = 128  # pixels of the longer side of the breast; the texture of finer scales differs between scanners
GREY_PERCENTILES = (0.5, 99.5)  # of the grey values of the breast, scaled to 0 and 1
SKIN_MARGIN = 5  # pixels; the interior of the breast is farther from the skin
MIN_PIXELS = 50  # of a region; smaller regions are replaced by the breast
RING_WIDTH, MAX_RING = (
    4 / 3,
    24,
)  # pixels, and index of the innermost ring; the grey value of fat is constant in it
PERCENTILES = tuple(range(5, 100, 10))
DENSE_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # above fat
GRID = (8, 5)  # rows and columns of coarse maps
LBP_RADII = {1: 8, 2: 8, 4: 12, 8: 12}  # radius in pixels -> number of neighbours
DOG_SIGMAS = (1, 1.5, 2, 3, 4, 6, 8, 12)  # pixels
DOG_RATIO = 1.6  # of the two Gaussians, which approximates the Laplacian of Gaussian
GLCM_DISTANCES = (1, 2, 4, 8, 16)  # pixels
GLCM_LEVELS = 16
GLCM_PROPERTIES = ("contrast", "homogeneity", "energy", "correlation")
LAYER_WIDTH, LAYERS = 8 / 3, 10  # pixels, and number of layers below the skin

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Breast:
    """A breast at the working resolution, with its centroid on the left.

    Attributes:
        grey: (H, W) grey values, scaled to [0, 1].
        above_fat: (H, W) grey values minus those of fat at the same distance from the skin.
        mask: (H, W) breast.
        tissue: (H, W) breast without the pectoral muscle.
        interior: (H, W) tissue farther than `SKIN_MARGIN` from the skin.
        depth: (H, W) distance to the skin in pixels.
        oblique: Whether the view is an oblique one.
    """

    grey: Floats
    above_fat: Floats
    mask: BoolMask
    tissue: BoolMask
    interior: BoolMask
    depth: Floats
    oblique: bool


def density_features(image: NDArray[Any], breast: BoolMask, view: str) -> dict[str, float]:
    """Compute the features of an image.

    Args:
        image: (H, W), with any normalisation; bright is dense.
        breast: (H, W) breast mask; all pixels if it is empty.
        view: View position, such as CC or MLO; the pectoral muscle is excluded in oblique views.

    Returns:
        Finite values by name, always in the same order.

    Example:
        >>> image = np.random.default_rng(0).random((200, 100))
        >>> features = density_features(image, np.ones(image.shape, bool), "CC")
        >>> len(features), round(features["interior grey 55 %"], 1)
        (244, 0.5)
    """
    region = standardise(image, breast, view)
    named = {
        **shape_features(region),
        **grey_features(region),
        **map_features(region),
        **layer_features(region),
        **local_binary_patterns(region),
        **difference_of_gaussians(region),
        **co_occurrence(region),
    }
    return {name: float(value) for name, value in named.items()}


def standardise(image: NDArray[Any], breast: BoolMask, view: str) -> Breast:
    """Crop, turn, resize and scale a breast; see `density_features` for the arguments."""
    breast = breast if breast.any() else np.ones(breast.shape, bool)
    rows, columns = np.flatnonzero(breast.any(axis=1)), np.flatnonzero(breast.any(axis=0))
    crop = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    grey, mask = image[crop].astype(np.float32), breast[crop].astype(np.float32)
    # The centroid must be on the left.
    if (mask.sum(axis=0) * (np.arange(mask.shape[1]) + 0.5)).sum() > mask.sum() * mask.shape[1] / 2:
        grey, mask = np.ascontiguousarray(grey[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    grey, mask = resize_longer_side(grey), resize_longer_side(mask)
    inside = mask >= min(0.5, float(mask.max()))
    low, high = np.percentile(grey[inside], GREY_PERCENTILES)
    grey = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    oblique = view.upper() in OBLIQUE
    tissue = large_enough(inside & ~pectoral_triangle(inside), inside) if oblique else inside
    depth = skin_distance(inside)
    ring = np.minimum(depth / RING_WIDTH, MAX_RING).astype(np.int64)
    above_fat = grey - fat_by_ring(grey, ring, tissue)[ring]
    return Breast(grey, above_fat, inside, tissue, large_enough(tissue & (depth > SKIN_MARGIN), tissue), depth, oblique)


def resize_longer_side(array: Floats) -> Floats:
    """Resize an array (H, W) to `WORKING_SIDE` pixels on the longer side."""
    scale = WORKING_SIDE / max(array.shape)
    shape = (max(round(array.shape[1] * scale), 1), max(round(array.shape[0] * scale), 1))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(array, shape, interpolation=interpolation), np.float32)


def large_enough(region: BoolMask, fallback: BoolMask) -> BoolMask:
    """Return `region` if it has `MIN_PIXELS` or more, and `fallback` otherwise."""
    return region if np.count_nonzero(region) >= MIN_PIXELS else fallback


def shape_features(breast: Breast) -> dict[str, float]:
    """Fraction of the bounding box that is breast, its width, the size of the breast, and the view."""
    return {
        "breast fraction": breast.mask.mean(),
        "width": breast.mask.shape[1] / WORKING_SIDE,
        "size": np.sqrt(breast.mask.sum()) / WORKING_SIDE,
        "oblique view": float(breast.oblique),
    }


def grey_features(breast: Breast) -> dict[str, float]:
    """Percentiles and moments of the grey values of the interior, and dense fractions at several thresholds."""
    grey, above_fat = breast.grey[breast.interior], breast.above_fat[breast.interior]
    deviation = grey.std()
    z = (grey - grey.mean()) / max(float(deviation), 1e-3)
    return {
        **name_values("interior grey {} %", PERCENTILES, np.percentile(grey, PERCENTILES)),
        **name_values("above fat {} %", PERCENTILES, np.percentile(above_fat, PERCENTILES)),
        **{f"fraction above fat + {threshold}": (above_fat > threshold).mean() for threshold in DENSE_THRESHOLDS},
        "mean": grey.mean(),
        "standard deviation": deviation,
        "skewness": (z * z * z).mean(),
        "kurtosis": (z * z * z * z).mean(),
    }


def map_features(breast: Breast) -> dict[str, float]:
    """Means over a coarse grid: of the grey values of the breast, and of those of the tissue above fat."""
    names = [f"{row} {column}" for row in range(GRID[0]) for column in range(GRID[1])]
    grey = masked_mean(breast.grey, breast.mask)
    above_fat = masked_mean(breast.above_fat, breast.tissue)
    return {**name_values("map of grey {}", names, grey), **name_values("map above fat {}", names, above_fat)}


def masked_mean(values: Floats, mask: BoolMask) -> Floats:
    """Return the mean of the pixels of a mask in each cell of `GRID`, raveled; it tends to 0 in cells with few."""
    weight = mask.astype(np.float32)
    total, count = (
        np.asarray(cv2.resize(array, GRID[::-1], interpolation=cv2.INTER_AREA)) for array in (values * weight, weight)
    )
    return np.asarray((total / np.maximum(count, 0.05)).ravel(), np.float32)


def layer_features(breast: Breast) -> dict[str, float]:
    """Mean and standard deviation of the grey values in layers of equal distance to the skin."""
    features: dict[str, float] = {}
    for layer in range(LAYERS):
        inner = breast.depth < (layer + 1) * LAYER_WIDTH
        values = breast.grey[large_enough(breast.tissue & (breast.depth >= layer * LAYER_WIDTH) & inner, breast.tissue)]
        features |= {f"layer {layer} mean": values.mean(), f"layer {layer} standard deviation": values.std()}
    return features


def local_binary_patterns(breast: Breast) -> dict[str, float]:
    """Frequencies of uniform local binary patterns of the interior at several radii."""
    from skimage.feature import local_binary_pattern  # lazy: importing it takes long

    image = np.asarray(breast.grey * 255, np.uint8)
    features: dict[str, float] = {}
    for radius, points in LBP_RADII.items():
        smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), radius / 2)) if radius > 1 else image
        codes = np.asarray(local_binary_pattern(smooth, points, radius, "uniform"))  # type: ignore[no-untyped-call]
        inside = codes[breast.interior].astype(np.int64)
        frequency = np.bincount(inside, minlength=points + 2) / len(inside)
        features |= name_values(f"pattern {{}} of radius {radius}", range(points + 2), frequency)
    return features


def difference_of_gaussians(breast: Breast) -> dict[str, float]:
    """Amplitudes and moments of the band-passed interior at several scales."""
    deviation = max(float(breast.grey[breast.interior].std()), 1e-3)
    features: dict[str, float] = {}
    for sigma in DOG_SIGMAS:
        band = masked_blur(breast, sigma) - masked_blur(breast, DOG_RATIO * sigma)
        values = band[breast.interior]
        amplitude = float(values.std())
        z = values / max(amplitude, 1e-4)
        features |= {
            f"band {sigma} log amplitude": np.log(amplitude + 1e-4),
            f"band {sigma} log mean": np.log(np.abs(values).mean() + 1e-4),
            f"band {sigma} skewness": (z * z * z).mean(),
            f"band {sigma} root kurtosis": np.sqrt((z * z * z * z).mean()),
            f"band {sigma} relative amplitude": amplitude / deviation,
        }
    return features


def masked_blur(breast: Breast, sigma: float) -> Floats:
    """Blur the grey values (H, W) with a Gaussian that is normalised over the breast."""
    weight = breast.mask.astype(np.float32)
    total, count = (
        np.asarray(cv2.GaussianBlur(array, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))
        for array in (breast.grey * weight, weight)
    )
    return np.asarray(total / np.maximum(count, 1e-3), np.float32)


def co_occurrence(breast: Breast) -> dict[str, float]:
    """Properties of the co-occurrence matrices of the interior, averaged over both axes, at several distances."""
    from skimage.feature import graycomatrix, graycoprops  # lazy: importing it takes long

    levels = 1 + np.minimum(breast.grey * GLCM_LEVELS, GLCM_LEVELS - 1).astype(np.uint8)
    levels = np.where(breast.interior, levels, 0).astype(np.uint8)  # 0 is dropped below
    features: dict[str, float] = {}
    for distance in GLCM_DISTANCES:
        counts = graycomatrix(levels, [distance], [0, np.pi / 2], GLCM_LEVELS + 1, symmetric=True)  # type: ignore[no-untyped-call]
        counts = counts[1:, 1:]
        matrix = counts / np.maximum(counts.sum(axis=(0, 1)), 1)
        for name in GLCM_PROPERTIES:
            features[f"{name} at {distance}"] = graycoprops(matrix, name).mean()  # type: ignore[no-untyped-call]
    return features


def name_values(template: str, names: Any, values: NDArray[Any]) -> dict[str, float]:
    """Return the values by the template's text with each name."""
    return {template.format(name): value for name, value in zip(names, values, strict=True)}
