"""FOR PROCESSING images of `mammoseg.predict`: detector values, which most units store in addition to the mammogram."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from mammoseg.data.images.dicom_content import Exposure
from mammoseg.data.images.formats import require_regular_file
from mammoseg.errors import ImageReadError
from mammoseg.predict.inputs import Input
from mammoseg.reports.table import format_count

log = logging.getLogger(__name__)

FOR_PROCESSING_MODES = ("auto", "include", "skip")
PROCESSING, PRESENTATION = "FOR PROCESSING", "FOR PRESENTATION"


def read_exposures(images: Sequence[Input]) -> dict[str, Exposure]:
    """Read the exposures of the DICOM images, by file. Files whose header cannot be read are left out."""
    return {image.file: exposure for image in images if (exposure := read_exposure(image)) is not None}


def skipped_exposures(exposures: Mapping[str, Exposure], mode: str) -> dict[str, str]:
    """Determine which FOR PROCESSING images are not predicted.

    Args:
        exposures: Exposures of the inputs by file.
        mode: "auto" skips images of which the input contains the FOR PRESENTATION image, "skip" skips all, and
            "include" none.

    Returns:
        The reason of each image to skip, by file.
    """
    if mode == "include":
        return {}
    unprocessed = {file: exposure for file, exposure in exposures.items() if exposure.intent == PROCESSING}
    if mode == "skip":
        return dict.fromkeys(unprocessed, f"a {PROCESSING} image; for_processing=include predicts it")
    processed = [exposure for exposure in exposures.values() if exposure.intent == PRESENTATION]
    skipped = duplicates(unprocessed, processed)
    if n_predicted := len(unprocessed) - len(skipped):
        log.warning(
            "predicting %s (detector values) without a FOR PRESENTATION image of the view; the "
            "result may be unreliable unless the network was trained on such images",
            format_count(n_predicted, f"{PROCESSING} image"),
        )
    return dict.fromkeys(
        skipped,
        f"a {PROCESSING} image whose {PRESENTATION} image is also in the input; for_processing=include predicts both",
    )


def duplicates(unprocessed: Mapping[str, Exposure], processed: Sequence[Exposure]) -> list[str]:
    """Return the FOR PROCESSING images of which there is a FOR PRESENTATION image.

    The FOR PRESENTATION image refers to its source; otherwise both belong to the same study, side and view.

    Args:
        unprocessed: FOR PROCESSING images by file.
        processed: FOR PRESENTATION images.

    Returns:
        The files.
    """
    instances = {exposure.instance for exposure in unprocessed.values()}
    sources = {uid for exposure in processed for uid in exposure.sources}
    views = {exposure.view for exposure in processed if exposure.view and not exposure.sources & instances}
    return [file for file, exposure in unprocessed.items() if exposure.instance in sources or exposure.view in views]


def read_exposure(image: Input) -> Exposure | None:
    """Return the exposure of a DICOM image; None for other formats and unreadable files."""
    if not image.is_dicom:
        return None
    from mammoseg.data.images import dicom  # lazy: importing pydicom is slow

    try:
        require_regular_file(image.path)
        return dicom.read_exposure(image.path)
    except ImageReadError:
        return None
