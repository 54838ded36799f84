"""Options of `mammoseg.predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoseg import validate
from mammoseg.candidates import DEFAULT_MIN_AREA_MM2, MaximumNumber, MinimumArea
from mammoseg.errors import UserError
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
        max_masses: Maximum number of reported masses of an image; None for all.
        max_masses_by: Which masses are kept: those of the largest "area" or the highest "score".
        float_probabilities: Whether to write the probabilities as floating-point TIFF images as well.
        structured_report: Whether to write DICOM Structured Reports, with the patient attributes of `segmentation`.
        exams: Table of the examinations, see `exams.read_exams`; None for the studies of DICOM images.
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
    max_masses: int | None = None
    max_masses_by: str = "area"
    float_probabilities: bool = False
    structured_report: bool = False
    exams: Path | None = None

    @property
    def min_area(self) -> MinimumArea:
        """Minimum area of a reported mass."""
        return MinimumArea(self.min_area_mm2, self.min_area_pixels)

    @property
    def maximum(self) -> MaximumNumber:
        """Maximum number of reported masses of an image."""
        return MaximumNumber(self.max_masses, self.max_masses_by)

    def provenance(self) -> dict[str, Any]:
        """Return the options that affect the files of an image, in the format of predictions.json.

        Options of later versions than 0.1 are absent if they are not used, so that folders of earlier versions can be
        resumed.
        """
        return {
            "min_area_mm2": self.min_area_mm2,
            "min_area_pixels": self.min_area_pixels,
            "segmentation": self.segmentation,
            **({} if self.max_masses is None else {"max_masses": self.max_masses, "max_masses_by": self.max_masses_by}),
            **({"float_probabilities": True} if self.float_probabilities else {}),
            **({"structured_report": True} if self.structured_report else {}),
        }

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
        self.min_area.check()
        self.maximum.check()
        validate.boolean("float_probabilities", self.float_probabilities)
        validate.boolean("structured_report", self.structured_report)
        if self.structured_report and self.segmentation == "none":
            raise UserError("segmentation must be anonymous or identified with structured_report=true, got none")
        if self.threshold is not None:
            validate.probability("threshold", self.threshold)
