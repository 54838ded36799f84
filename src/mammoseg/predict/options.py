"""Options of `mammoseg.predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mammoseg import validate

SEGMENTATIONS = ("anonymous", "identified", "none")


@dataclass(frozen=True)
class PredictOptions:
    """Options of `mammoseg.predict`, as in conf/predict.yaml.

    Args:
        tta: Whether to average over mirrored images.
        threshold: Probability above which a pixel is mass; None for the checkpoint's.
        segmentation: "anonymous", "identified" or "none".
        accelerator: "auto", "cpu" or "gpu".
        batch_size: Images that the network processes at once.
        workers: Threads that read and write; None for one per CPU core, at most `pipeline.MAX_WORKERS`.
        trusted_modules: Modules whose classes a checkpoint may instantiate.
    """

    tta: bool
    threshold: float | None
    segmentation: str
    accelerator: str
    batch_size: int
    workers: int | None
    trusted_modules: Sequence[str] = ()

    def check(self) -> None:
        """Validate the options; `load_ensemble` validates the others.

        Raises:
            UserError: If one is invalid.
        """
        validate.one_of("segmentation", self.segmentation, SEGMENTATIONS)
        validate.boolean("tta", self.tta)
        validate.positive_int("batch_size", self.batch_size)
        validate.optional_positive_int("workers", self.workers)
        if self.threshold is not None:
            validate.probability("threshold", self.threshold)
