"""Images of one prediction: masks, probabilities, uncertainty, overlays and heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from mammoseg.data.images.thumbnail import thumbnail
from mammoseg.metrics.regions import Region
from mammoseg.predict.findings import Findings
from mammoseg.reports.plotting import HEATMAP_OPACITY, PREDICTION_COLOUR
from mammoseg.runs.prediction_folder import image_file

UInt8Image = NDArray[np.uint8]
PNG_COMPRESSION = 1  # files are a third larger than at level 9 and take a fifth of the time to write
MAX_STD = 0.5  # the largest standard deviation of values between 0 and 1
# Deflate without a predictor: few programs read OpenCV's default for floating-point numbers.
TIFF_DEFLATE, NO_PREDICTOR = 8, 1
SUBPIXEL_BITS = 4  # OpenCV draws with coordinates in units of 1/16 pixel


def encode_png(image: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """Encode an image as PNG.

    Args:
        image: (H, W) or (H, W, 3) in BGR; booleans are converted to 0 and 255.

    Returns:
        Content of the PNG file.

    Example:
        >>> encode_png(np.zeros((2, 2), bool))[1:4]
        b'PNG'
    """
    pixels = np.where(image, np.uint8(255), np.uint8(0)) if image.dtype == bool else image
    ok, encoded = cv2.imencode(".png", np.asarray(pixels, np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])
    assert ok, "OpenCV writes 8-bit PNG"
    return encoded.tobytes()


def encode_images(name: str, pixels: NDArray[Any], findings: Findings, *, with_float: bool) -> dict[str, bytes]:
    """Encode all images of a prediction.

    Args:
        name: Output name of the image.
        pixels: (H, W) pixels of the image.
        findings: The prediction.
        with_float: Whether to include the probabilities as a floating-point image.

    Returns:
        Content of each file, by path relative to the output folder.
    """
    downsampled, scale = thumbnail(pixels)
    contents = {
        image_file("masks", name): encode_png(findings.mask),
        image_file("probabilities", name): encode_png(probability_image(findings.prob)),
        image_file("overlays", name): encode_png(overlay(downsampled, scale, findings.mask, findings.masses)),
        image_file("heatmaps", name): encode_png(heatmap_overlay(downsampled, findings.prob)),
    }
    if findings.std is not None:
        contents[image_file("uncertainty", name)] = encode_png(uncertainty_image(findings.std))
    if with_float:
        contents[image_file("probabilities_float", name)] = encode_float_tiff(findings.prob)
    return contents


def encode_float_tiff(values: NDArray[np.float32]) -> bytes:
    """Encode values (H, W) as a TIFF image of 32-bit floating-point numbers, without loss.

    Example:
        >>> encode_float_tiff(np.zeros((2, 2), np.float32))[:2]
        b'II'
    """
    options = [cv2.IMWRITE_TIFF_COMPRESSION, TIFF_DEFLATE, cv2.IMWRITE_TIFF_PREDICTOR, NO_PREDICTOR]
    ok, encoded = cv2.imencode(".tif", values, options)
    assert ok, "OpenCV writes TIFF of 32-bit floating-point numbers"
    return encoded.tobytes()


def probability_image(prob: NDArray[np.float32]) -> UInt8Image:
    """Convert probabilities in [0, 1] to 0..255; a value is above 127 if and only if the probability is above 0.5.

    Example:
        >>> probability_image(np.array([0, 0.5, 0.501, 1], np.float32)).tolist()
        [0, 127, 128, 255]
    """
    return np.asarray(np.ceil(prob * np.float32(255) - np.float32(0.5)), np.uint8)


def uncertainty_image(std: NDArray[np.float32]) -> UInt8Image:
    """Convert standard deviations in [0, 0.5] to 0..255.

    Example:
        >>> uncertainty_image(np.array([0, 0.25, 0.5], np.float32)).tolist()
        [0, 128, 255]
    """
    return np.asarray(np.rint(np.clip(std / MAX_STD, 0, 1) * 255), np.uint8)


def overlay(grey: UInt8Image, scale: float, mask: NDArray[np.bool_], masses: Sequence[Region]) -> UInt8Image:
    """Draw the contours of the masses and their indices on the image.

    Args:
        grey: (h, w), the downsampled image.
        scale: h / H.
        mask: (H, W) predicted mask.
        masses: Connected regions of the mask; indices start at 1.

    Returns:
        (h, w, 3) in BGR.
    """
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    colour = tuple(round(255 * channel) for channel in reversed(to_rgb(PREDICTION_COLOUR)))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # Pixel i of the mask covers [i, i + 1], so its centre is at i + 1/2.
    scaled = [np.rint(((contour + 0.5) * scale - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32) for contour in contours]
    cv2.polylines(image, scaled, isClosed=True, color=colour, thickness=2, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    for index, mass in enumerate(masses, start=1):
        radius = (mass.area / np.pi) ** 0.5 * scale
        x, y = round(mass.x * scale + 0.75 * radius) + 4, round(mass.y * scale - 0.75 * radius) - 4
        origin = (min(x, grey.shape[1] - 14 * len(str(index))), max(y, 18))
        for thickness, text_colour in ((4, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(image, str(index), origin, cv2.FONT_HERSHEY_SIMPLEX, 0.6, text_colour, thickness, cv2.LINE_AA)
    return np.asarray(image, np.uint8)


def heatmap_overlay(grey: UInt8Image, prob: NDArray[np.float32]) -> UInt8Image:
    """Blend the image with the probabilities in the colour map magma; opacity is proportional to the probability.

    Args:
        grey: (h, w), the downsampled image.
        prob: (H, W) probabilities.

    Returns:
        (h, w, 3) in BGR.
    """
    resized = np.asarray(cv2.resize(prob, grey.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    colours = cv2.applyColorMap(probability_image(resized), cv2.COLORMAP_MAGMA)
    opacity = (HEATMAP_OPACITY * np.clip(resized, 0, 1))[..., None]
    blended = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR) * (1 - opacity) + colours * opacity
    return np.asarray(np.rint(blended), np.uint8)
