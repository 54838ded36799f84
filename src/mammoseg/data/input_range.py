"""Range of the images on which a network was trained, and warnings about images outside of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.store import Case
from mammoseg.errors import UserError

# A range is that between these percentiles of the training images, extended by a factor, so that only images that are
# clearly different are reported.
PERCENTILES = (0.5, 99.5)
TOLERANCE = 1.1
ACQUISITIONS = {"film": "a digitised film", "digital": "an image of a digital detector"}
Interval = tuple[float, float]


@dataclass(frozen=True)
class InputRange:
    """Range of the training images of a network.

    Attributes:
        breast_fraction: Percentiles of the breast area as a fraction of the image.
        height: Percentiles of the height of the full-size images in pixels.
        width: The same for the width.
        spacing_mm: Percentiles of the pixel spacing in mm; None if it is unknown.
        acquisitions: Types of the images as in `ImageMetadata`, film and digital; empty if unknown.

    Example:
        >>> trained = InputRange((0.2, 0.5), (3000, 4000), (2500, 3000))
        >>> trained.warning((256, 256), 0.4, ImageMetadata())
        'height 256 pixels, in training 3000 to 4000; width 256 pixels, in training 2500 to 3000'
    """

    breast_fraction: Interval
    height: Interval
    width: Interval
    spacing_mm: Interval | None = None
    acquisitions: tuple[str, ...] = ()

    @classmethod
    def of_cases(cls, cases: Sequence[Case], acquisitions: Iterable[str] = ()) -> InputRange:
        """Measure the range of images.

        Args:
            cases: Rows of the store of at least one image.
            acquisitions: Types of the images of datasets that do not state them in the header.
        """
        known = {*acquisitions, *(case.acquisition for case in cases)} - {""}
        return cls(**_intervals(cases, percentiles), acquisitions=tuple(sorted(known)))

    @classmethod
    def from_plain(cls, value: Any, source: object) -> InputRange:
        """Read a range from a config.

        Args:
            value: Output of `to_plain`, or any other plain value.
            source: Its file, for error messages.

        Raises:
            UserError: If it is not a valid range.
        """
        try:
            intervals: dict[str, Any] = {
                name: None if value[name] is None else _interval(value[name]) for name in INTERVALS
            }
            acquisitions = tuple(value["acquisitions"])
            if None in (intervals[name] for name in REQUIRED_INTERVALS) or not {*acquisitions} <= ACQUISITIONS.keys():
                raise ValueError
            if len({*acquisitions}) < len(acquisitions):
                raise ValueError
            return cls(**intervals, acquisitions=acquisitions)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise UserError(
                f"{source}: its input_range must contain acquisitions, a list of {' and '.join(ACQUISITIONS)} without "
                f"repetitions, and the intervals {', '.join(INTERVALS)}; export the model again"
            ) from error

    def to_plain(self) -> dict[str, Any]:
        """Return the range as plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def union(cls, ranges: Sequence[InputRange]) -> InputRange | None:
        """Return the range of the training images of several networks; None if `ranges` is empty."""
        if not ranges:
            return None
        known = {name for trained in ranges for name in trained.acquisitions}
        return cls(**_intervals(ranges, _hull), acquisitions=tuple(sorted(known)))

    def warning(self, shape: tuple[int, ...], breast_fraction: float, metadata: ImageMetadata) -> str:
        """Describe in what an image is unlike the training images; empty if it is like them.

        Args:
            shape: (H, W) of the full-size image.
            breast_fraction: Breast area as a fraction of the image.
            metadata: Metadata of the image.
        """
        spacing = metadata.spacing.mean if metadata.spacing else None
        reasons = [
            _outside("breast fraction", breast_fraction, self.breast_fraction, ".2f"),
            _outside("height", shape[0], self.height, ".0f", " pixels"),
            _outside("width", shape[1], self.width, ".0f", " pixels"),
            _outside("pixel spacing", spacing, self.spacing_mm, ".3f", " mm"),
        ]
        if metadata.acquisition and self.acquisitions and metadata.acquisition not in self.acquisitions:
            (trained,) = self.acquisitions
            reasons.append(f"{ACQUISITIONS[metadata.acquisition]}, in training {ACQUISITIONS[trained]}")
        return "; ".join(filter(None, reasons))


INTERVALS = ("breast_fraction", "height", "width", "spacing_mm")
REQUIRED_INTERVALS = INTERVALS[:-1]


def percentiles(values: Sequence[float]) -> Interval:
    """Return the percentiles `PERCENTILES` of some values, rounded to four decimals."""
    low, high = np.percentile(values, PERCENTILES).round(4).tolist()
    return low, high


def _intervals(items: Sequence[Any], summarise: Callable[[list[Any]], Interval]) -> dict[str, Any]:
    """Summarise the known values of each attribute in `INTERVALS`; None if none of the items has a value."""
    values = {name: [getattr(item, name) for item in items] for name in INTERVALS}
    known = {name: [value for value in listed if value is not None] for name, listed in values.items()}
    return {name: summarise(listed) if listed else None for name, listed in known.items()}


def _interval(value: Any) -> Interval:
    if isinstance(value, str):  # its characters could be digits
        raise TypeError(f"{value} is not an interval")
    low, high = map(float, value)
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"{low} to {high} is not an interval")
    return low, high


def _hull(intervals: Sequence[Interval]) -> Interval:
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _outside(name: str, value: float | None, interval: Interval | None, digits: str, unit: str = "") -> str:
    """Describe a value outside an interval; empty if it is inside, or one of them is unknown."""
    if value is None or interval is None or interval[0] / TOLERANCE <= value <= interval[1] * TOLERANCE:
        return ""
    return f"{name} {value:{digits}}{unit}, in training {interval[0]:{digits}} to {interval[1]:{digits}}"
