"""Pictures of one prediction. Arrays in, PNG bytes out; quick, since there may be ten thousand."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from mammoseg.metrics.regions import Region
from mammoseg.reports.plotting import PREDICTION_COLOUR

Grey = NDArray[np.uint8]
FASTEST = 1  # zlib's level: a third larger than the best, in a fifth of the time
MOST_UNSURE = 0.5  # the largest standard deviation that numbers between 0 and 1 can have
VEIL = 0.75  # how much of the image the heat-map covers where the probability is 1


def png(picture: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    grey = np.where(picture, np.uint8(255), np.uint8(0)) if picture.dtype == bool else picture
    done, encoded = cv2.imencode(".png", np.asarray(grey, np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, FASTEST])
    assert done, "OpenCV writes 8-bit PNG"
    return encoded.tobytes()


def probability(prob: NDArray[np.float32]) -> Grey:
    """0..1 -> 0..255; above 127 exactly where the probability is above 0.5."""
    return np.ceil(prob * np.float32(255) - np.float32(0.5)).astype(np.uint8)


def uncertainty(deviation: NDArray[np.float32]) -> Grey:
    """A standard deviation of 0..0.5 -> 0..255."""
    return np.rint(np.clip(deviation / MOST_UNSURE, 0, 1) * 255).astype(np.uint8)


def overlay(grey: Grey, scale: float, mask: NDArray[np.bool_], masses: Sequence[Region]) -> Grey:
    """The image (h, w), `scale` times the size of the mask (H, W), with outlines and the masses' numbers: (h, w, 3)."""
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    colour = tuple(round(255 * part) for part in reversed(to_rgb(PREDICTION_COLOUR)))
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # 1/16 pixel, as OpenCV's drawing takes it; a mask's pixel i covers i..i+1, its centre is drawn at i + 1/2.
    drawn = [np.rint(((outline + 0.5) * scale - 0.5) * 16).astype(np.int32) for outline in outlines]
    cv2.polylines(picture, drawn, isClosed=True, color=colour, thickness=2, lineType=cv2.LINE_AA, shift=4)
    for number, mass in enumerate(masses, start=1):
        radius = (mass.area / np.pi) ** 0.5 * scale
        place = (round(mass.x * scale + 0.75 * radius) + 4, round(mass.y * scale - 0.75 * radius) - 4)
        corner = (min(place[0], grey.shape[1] - 14 * len(str(number))), max(place[1], 18))
        for thickness, ink in ((4, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(picture, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink, thickness, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def heatmap(grey: Grey, prob: NDArray[np.float32]) -> Grey:
    """The image (h, w) under the probability (H, W) in magma's colours, the more so the higher it is: (h, w, 3)."""
    reduced = np.asarray(cv2.resize(prob, grey.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    colours = cv2.applyColorMap(probability(reduced), cv2.COLORMAP_MAGMA)
    veil = (VEIL * np.clip(reduced, 0, 1))[..., None]
    return np.rint(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR) * (1 - veil) + colours * veil).astype(np.uint8)
