"""Options of `mammoseg.predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mammoseg import validate
from mammoseg.predict.candidates import DEFAULT_MIN_AREA_MM2, MinimumArea
from mammoseg.predict.exposures import FOR_PROCESSING_MODES

SEGMENTATIONS = ("anonymous", "identified", "none")


@dataclass(frozen=True)
class PredictOptions:
    """Options of `mammoseg.predict`, as in conf/predict.yaml.

    Attributes:
        tta: Test-time augmentation: average the predictions for the image and its flips.
        threshold: Probability above which a pixel is mass; None uses the threshold of the checkpoints.
        min_area_mm2: Minimum area of a reported mass in mm2, where the pixel spacing is known.
        min_area_pixels: Minimum area in pixels where it is unknown; None for `candidates.DEFAULT_MIN_FRACTION` of the
            image.
        segmentation: DICOM Segmentations without patient attributes ("anonymous"), with them ("identified") or none at
            all ("none").
        accelerator: "auto", "cpu" or "gpu".
        batch_size: Number of images per forward pass.
        workers: Number of threads for reading and writing; None for one per CPU core, at most `pipeline.MAX_WORKERS`.
        trusted_modules: Modules or classes that a checkpoint may instantiate, besides those that `conf/` names.
        for_processing: Which DICOM images with the Presentation Intent Type FOR PROCESSING are predicted: those without
            a FOR PRESENTATION image of the same view ("auto"), all ("include") or none ("skip").
    """

    tta: bool
    threshold: float | None
    segmentation: str
    accelerator: str
    batch_size: int
    workers: int | None
    trusted_modules: Sequence[str] = ()
    for_processing: str = "auto"
    min_area_mm2: float = DEFAULT_MIN_AREA_MM2
    min_area_pixels: int | None = None

    @property
    def min_area(self) -> MinimumArea:
        """Minimum area of a reported mass."""
        return MinimumArea(self.min_area_mm2, self.min_area_pixels)

    def check(self) -> None:
        """Validate the options except `accelerator` and `trusted_modules`, which `load_ensemble` validates.

        Raises:
            UserError: If an option is invalid.
        """
        validate.one_of("segmentation", self.segmentation, SEGMENTATIONS)
        validate.one_of("for_processing", self.for_processing, FOR_PROCESSING_MODES)
        validate.boolean("tta", self.tta)
        validate.positive_int("batch_size", self.batch_size)
        validate.optional_positive_int("workers", self.workers)
        validate.non_negative("min_area_mm2", self.min_area_mm2)
        validate.optional_positive_int("min_area_pixels", self.min_area_pixels, minimum=0)
        if self.threshold is not None:
            validate.probability("threshold", self.threshold)
