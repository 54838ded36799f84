"""Range of the images on which a network was trained, and warnings about images outside of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.preprocessing.box import Box
from mammoseg.data.preprocessing.breast import background_brightness
from mammoseg.data.preprocessing.preprocess import PreprocessedImage
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.store import Case
from mammoseg.errors import UserError

# A range is that between these percentiles of the training images, extended by a factor, so that only images that are
# clearly different are reported.
PERCENTILES = (0.5, 99.5)
TOLERANCE = 1.1
# Below half of the size of the network's input, most pixels of the input are interpolated.
MIN_BOX_SIDE = 0.5
# The segmentation of the breast requires a dark background. Of the films of CBIS-DDSM, the highest value is 0.05.
MAX_BACKGROUND = 0.1
ACQUISITIONS = {"film": "a digitised film", "digital": "an image of a digital detector"}
SOURCES = {"film": "digitised films", "digital": "digital detectors"}
Interval = tuple[float, float]


@dataclass(frozen=True)
class ImageMeasures:
    """Values of an image that are compared with those of the training images.

    They are almost the same for an image in its original resolution and for a downsampled copy that is padded to a
    square, except for the side of the crop box, and for the pixel spacing.

    Attributes:
        box_side: Longer side of the crop box, the part of the image that is resized to the network's input, in pixels.
        square_fraction: Breast area as a fraction of the image padded to a square; None if the preprocessing does not
            segment the breast.
        box_fraction: Breast area as a fraction of the crop box; None if the image is not cropped to the breast.
        spacing_mm: Pixel spacing in mm; None if it is unknown.
        background: Brightness of the background, see `background_brightness`; None if it is unknown.
    """

    box_side: float
    square_fraction: float | None
    box_fraction: float | None
    spacing_mm: float | None
    background: float | None = None

    @classmethod
    def of_case(cls, case: Case, settings: PreprocessingSettings) -> ImageMeasures:
        """Return the values of an image of a prepared store; `settings` are those of its preprocessing."""
        box = Box(case.top, case.bottom, case.left, case.right)
        is_cropped = settings.crop == "breast" and not case.crop_skipped
        shape = (case.height, case.width)
        return cls._measure(shape, box, case.breast_fraction, settings, is_cropped, case.spacing_mm)

    @classmethod
    def of_preprocessed(
        cls,
        preprocessed: PreprocessedImage,
        shape: tuple[int, ...],
        settings: PreprocessingSettings,
        metadata: ImageMetadata,
    ) -> ImageMeasures:
        """Return the values of an image that was preprocessed without a mask.

        Args:
            preprocessed: The preprocessed image.
            shape: (H, W) of the full-size image.
            settings: Settings of the preprocessing.
            metadata: Metadata of the image.
        """
        spacing = metadata.spacing.mean if metadata.spacing else None
        fraction, is_cropped = preprocessed.breast_fraction, settings.crop == "breast"
        measures = cls._measure(shape, preprocessed.box, fraction, settings, is_cropped, spacing)
        if measures.square_fraction is None:
            return measures
        return replace(measures, background=background_brightness(preprocessed.grey, preprocessed.segmentation))

    @classmethod
    def _measure(
        cls,
        shape: tuple[int, ...],
        box: Box,
        breast_fraction: float,
        settings: PreprocessingSettings,
        is_cropped: bool,
        spacing_mm: float | None,
    ) -> ImageMeasures:
        area = breast_fraction * shape[0] * shape[1]
        is_segmented = settings.crop != "none" or settings.flip != "none"
        return cls(
            box_side=max(box.height, box.width),
            square_fraction=area / max(shape) ** 2 if is_segmented else None,
            box_fraction=area / (box.height * box.width) if is_cropped else None,
            spacing_mm=spacing_mm,
        )


@dataclass(frozen=True)
class InputRange:
    """Range of the training images of a network.

    Attributes:
        box_side: Percentiles of `ImageMeasures.box_side`; there is no upper limit.
        square_fraction: Percentiles of `ImageMeasures.square_fraction`, or None; there is no upper limit, since the
            fraction is larger in images that are stretched to a square or cut at the breast.
        box_fraction: Percentiles of `ImageMeasures.box_fraction`, or None.
        spacing_mm: Percentiles of the pixel spacing in mm; None if it is unknown.
        acquisitions: Types of the images as in `ImageMetadata`, film and digital; empty if unknown.

    Example:
        >>> trained = InputRange(box_side=(160, 256), square_fraction=(0.1, 0.5), box_fraction=(0.55, 0.8))
        >>> trained.warning(ImageMeasures(60, 0.3, 0.7, None), ImageMetadata(), size=256)
        'longer side of the crop box 60 pixels, expected at least 128 pixels'
    """

    box_side: Interval
    square_fraction: Interval | None = None
    box_fraction: Interval | None = None
    spacing_mm: Interval | None = None
    acquisitions: tuple[str, ...] = ()

    @classmethod
    def of_cases(
        cls, cases: Sequence[Case], settings: PreprocessingSettings, acquisitions: Iterable[str] = ()
    ) -> InputRange:
        """Measure the range of images.

        Args:
            cases: Rows of the store of at least one image.
            settings: Settings of the preprocessing of the store.
            acquisitions: Types of the images of datasets that do not state them in the header.
        """
        known = {*acquisitions, *(case.acquisition for case in cases)} - {""}
        measures = [ImageMeasures.of_case(case, settings) for case in cases]
        return cls(**_intervals(measures, percentiles), acquisitions=tuple(sorted(known)))

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
            intervals: dict[str, Any] = {name: _interval(value[name]) for name in INTERVALS}
            acquisitions = tuple(value["acquisitions"])
            repeated = len({*acquisitions}) < len(acquisitions)
            if intervals["box_side"] is None or repeated or not {*acquisitions} <= ACQUISITIONS.keys():
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

    def min_box_side(self, size: int) -> float:
        """Return the smallest longer side of a crop box without a warning, in pixels.

        Args:
            size: Side of the network's input in pixels.
        """
        return min(MIN_BOX_SIDE * size, self.box_side[0])

    def warning(self, measures: ImageMeasures, metadata: ImageMetadata, size: int) -> str:
        """Describe in what an image is unlike the training images; empty if it is like them.

        Args:
            measures: Values of the image.
            metadata: Metadata of the image.
            size: Side of the network's input in pixels.
        """
        min_side = self.min_box_side(size)
        lowest = None if self.square_fraction is None else (self.square_fraction[0], math.inf)
        reasons = [
            f"longer side of the crop box {measures.box_side:.0f} pixels, expected at least {min_side:.0f} pixels"
            if measures.box_side < min_side
            else "",
            _outside("breast fraction of the padded image", measures.square_fraction, lowest, ".2f"),
            _outside("breast fraction of the crop box", measures.box_fraction, self.box_fraction, ".2f"),
            f"background brightness {measures.background:.2f} of the grey range, expected at most {MAX_BACKGROUND:.2f}"
            if measures.background is not None and measures.background > MAX_BACKGROUND
            else "",
            _outside("pixel spacing", measures.spacing_mm, self.spacing_mm, ".3f", " mm"),
        ]
        if metadata.acquisition and self.acquisitions and metadata.acquisition not in self.acquisitions:
            (trained,) = self.acquisitions
            reasons.append(f"{ACQUISITIONS[metadata.acquisition]}, in training {ACQUISITIONS[trained]}")
        return "; ".join(filter(None, reasons))

    def describe(self, size: int) -> str:
        """Describe the range in a sentence and the conditions of a warning in another one, for the model card.

        Args:
            size: Side of the network's input in pixels.
        """
        rows = (
            ("longer side of the crop box", ".0f", " pixels", self.box_side),
            ("breast area", ".2f", " of the image padded to a square", self.square_fraction),
            ("breast area", ".2f", " of the crop box", self.box_fraction),
            ("pixel spacing", ".3f", " mm", self.spacing_mm),
        )
        stated = [
            f"{name} {interval[0]:{digits}} to {interval[1]:{digits}}{unit}"
            for name, digits, unit, interval in rows
            if interval is not None
        ]
        kinds = " and ".join(SOURCES[name] for name in self.acquisitions)
        return (
            f"Training images, percentiles {PERCENTILES[0]} to {PERCENTILES[1]}: {', '.join(stated)}; acquisition: "
            f"{kinds or 'unknown'}. mammoseg.predict warns about images that are unlike them. Images of a higher "
            f"resolution have no warning; the longer side of the crop box should be at least "
            f"{self.min_box_side(size):.0f} pixels."
        )


INTERVALS = ("box_side", "square_fraction", "box_fraction", "spacing_mm")


def percentiles(values: Sequence[float]) -> Interval:
    """Return the percentiles `PERCENTILES` of some values, rounded to four decimals."""
    low, high = np.percentile(values, PERCENTILES).round(4).tolist()
    return low, high


def _intervals(items: Sequence[Any], summarise: Callable[[list[Any]], Interval]) -> dict[str, Any]:
    """Summarise the known values of each attribute in `INTERVALS`; None if none of the items has a value."""
    values = {name: [getattr(item, name) for item in items] for name in INTERVALS}
    known = {name: [value for value in listed if value is not None] for name, listed in values.items()}
    return {name: summarise(listed) if listed else None for name, listed in known.items()}


def _interval(value: Any) -> Interval | None:
    if value is None:
        return None
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
    limits = (
        f"at least {interval[0]:{digits}}"
        if interval[1] == math.inf
        else " to ".join(f"{limit:{digits}}" for limit in interval)
    )
    return f"{name} {value:{digits}}{unit}, in training {limits}"
