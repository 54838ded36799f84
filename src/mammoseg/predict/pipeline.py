"""From a folder of mammograms to a folder of predictions: reads, predicts in batches, puts back, writes."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg import validate
from mammoseg.data.images.dicom import suppress_header_text
from mammoseg.data.images.metadata import ImageMetadata, spacing_columns
from mammoseg.data.images.thumbnail import thumbnail
from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.data.preprocessing.preprocess import Pixels
from mammoseg.data.readers.mammogram import RejectedCases
from mammoseg.ensemble import Ensemble, Maps, load_ensemble
from mammoseg.errors import ImageReadError, UserError
from mammoseg.metrics.regions import Region, connected_regions
from mammoseg.predict import inputs, pictures
from mammoseg.predict.inputs import Input
from mammoseg.predict.output_folder import Folder, Row
from mammoseg.runs import checkpoint
from mammoseg.runs.prediction_folder import SKIPPED_FILE, image_file
from mammoseg.terminal import Progress

log = logging.getLogger(__name__)

SEGMENTATIONS = ("anonymous", "identified", "none")
MOST_WORKERS = 4  # each may hold half a GiB for the largest films


@dataclass(frozen=True)
class Options:
    """`tta`, `threshold`, `accelerator`, `trusted_modules`: as `load_ensemble` takes them. `segmentation`: anonymous,
    identified or none. `batch_size` and `workers` are a matter of speed and memory."""

    tta: bool
    threshold: float | None
    segmentation: str
    accelerator: str
    batch_size: int
    workers: int | None
    trusted_modules: Sequence[str] = ()

    def check(self) -> None:
        """Raises UserError for a value that is not allowed."""
        validate.one_of("segmentation", self.segmentation, SEGMENTATIONS)
        validate.boolean("tta", self.tta)
        validate.positive_int("batch_size", self.batch_size)
        validate.optional_positive_int("workers", self.workers)
        if self.threshold is not None:
            validate.probability("threshold", self.threshold)


@dataclass(frozen=True)
class Read:
    """An image that was read: pixels (H, W), what it says of itself, and the network's input (size, size)."""

    image: Input
    pixels: NDArray
    metadata: ImageMetadata
    prepared: Pixels
    geometry: InversePreprocessing


@dataclass(frozen=True)
class Written:
    image: Input
    name: str
    files: list[str]
    rows: list[Row]
    note: str


def predict(checkpoints: Sequence[Path], given: Path, output: Path, options: Options) -> None:
    """Predict the image or all images below `given` into `output`, but for those that are there already.

    Raises UserError where there is none, where none can be predicted, and where `output` holds something else.
    """
    options.check()
    if not checkpoints:
        raise UserError("ckpt_path=[]: give at least one checkpoint")
    images = inputs.find_images(given, output)
    if options.segmentation != "none" and any(image.is_dicom for image in images):
        from mammoseg.predict import dicom_seg

        dicom_seg.available()
    ensemble = load_ensemble(
        checkpoints,
        tta=options.tta,
        threshold=options.threshold,
        accelerator=options.accelerator,
        trusted_modules=options.trusted_modules or (),
    )
    folder = Folder(output, made_of(checkpoints, given, ensemble, options))
    with folder.at_work():
        missing = [image for image in images if not folder.is_done(image)]
        if before := len(images) - len(missing):
            log.info("going on: %d of %d images were predicted before", before, len(images))
        if missing:
            Predictor(ensemble, folder, options).run(missing)
        tell(images, folder)


def made_of(checkpoints: Sequence[Path], given: Path, ensemble: Ensemble, options: Options) -> dict[str, Any]:
    """Everything that decides what the predictions are, without a path of the user's machine."""
    return {
        "checkpoints": [checkpoint.file_digest(path) for path in checkpoints],
        "preparation": asdict(ensemble.settings),
        "threshold": ensemble.threshold,
        "tta": ensemble.tta,
        "segmentation": options.segmentation,
        "input": hashlib.sha256(os.fsencode(given.resolve())).hexdigest()[:16],
    }


class Predictor:
    """Predicts images into `folder`."""

    def __init__(self, ensemble: Ensemble, folder: Folder, options: Options) -> None:
        self.ensemble = ensemble
        self.folder = folder
        self.options = options

    def run(self, images: Sequence[Input]) -> None:
        """While the network is at one batch, the next one is read and the one before is written."""
        names, step = self.folder.names(images), self.options.batch_size
        batches = [images[start : start + step] for start in range(0, len(images), step)]
        with Progress("predicting", len(images)) as progress, self.pool() as pool:
            reading = [pool.submit(self.read, image) for image in batches[0]]
            writing: list[Future[Written]] = []
            for batch, following in zip(batches, [*batches[1:], []], strict=True):
                read = self.readable(zip(batch, reading, strict=True))
                reading = [pool.submit(self.read, image) for image in following]
                maps = zip(*self.ensemble(np.stack([each.prepared for each in read])), strict=True) if read else ()
                self.note(writing)
                writing = [
                    pool.submit(self.write, each, names[each.image.file], *both)
                    for each, both in zip(read, maps, strict=True)
                ]
                progress.advance(len(batch))
            self.note(writing)

    @contextmanager
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        """Threads, since images are large and what decodes and encodes them lets others work."""
        pool = ThreadPoolExecutor(self.options.workers or min(os.cpu_count() or 1, MOST_WORKERS))
        with suppress_header_text():
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)

    def read(self, image: Input) -> Read:
        pixels, metadata = inputs.read_input(image)
        cleaned = self.ensemble.prepare(pixels)
        geometry = InversePreprocessing.from_preprocessed(cleaned, pixels.shape, self.ensemble.settings.aspect)
        return Read(image, pixels, metadata, cleaned.image, geometry)

    def readable(self, reading: Iterable[tuple[Input, Future[Read]]]) -> list[Read]:
        read = []
        for image, future in reading:
            try:
                read.append(future.result())
            except ImageReadError as error:
                self.folder.skip(image, str(error))
        return read

    def note(self, writing: Iterable[Future[Written]]) -> None:
        for future in writing:
            written = future.result()
            self.folder.done(written.image, written.name, written.files, written.rows, written.note)

    def write(self, read: Read, name: str, prob_map: Maps, deviation_map: Maps) -> Written:
        """All files of one image, from its maps (size, size)."""
        prob = read.geometry.to_original(prob_map)
        deviation = read.geometry.to_original(deviation_map) if self.ensemble.members > 1 else None
        mask = prob > np.float32(self.ensemble.threshold)
        found = connected_regions(mask, prob, deviation)
        grey, scale = thumbnail(read.pixels)
        contents = {
            image_file("masks", name): pictures.png(mask),
            image_file("probabilities", name): pictures.png(pictures.probability(prob)),
            image_file("overlays", name): pictures.png(pictures.overlay(grey, scale, mask, found)),
            image_file("heatmaps", name): pictures.png(pictures.heatmap(grey, prob)),
        }
        if deviation is not None:
            contents[image_file("uncertainty", name)] = pictures.png(pictures.uncertainty(deviation))
        note = ""
        if read.image.is_dicom and self.options.segmentation != "none":
            try:
                contents[image_file("segmentations", name)] = self.segmentation(read, mask)
            except ImageReadError as error:
                note = f"predicted, but without a DICOM Segmentation: {error}"
        for file, content in contents.items():
            self.folder.put(file, content)
        return Written(read.image, name, [*contents], rows(read, name, found, float(prob.max())), note)

    def segmentation(self, read: Read, mask: NDArray[np.bool_]) -> bytes:
        from mammoseg.predict import dicom_seg  # pydicom only where a DICOM is read

        serial = self.folder.made_of["checkpoints"][0][:16]
        identified = self.options.segmentation == "identified"
        return dicom_seg.encode(read.image.path, mask, read.metadata.spacing, serial=serial, identified=identified)


def rows(read: Read, name: str, found: Sequence[Region], highest: float) -> list[Row]:
    """One for each mass, or one that says that there is none. Blank is what is not known."""
    spacing = read.metadata.spacing
    image: dict[str, Any] = {
        "file": read.image.file,
        "name": name,
        "view": read.metadata.view,
        "side": read.metadata.side,
        "width": read.geometry.width,
        "height": read.geometry.height,
        **spacing_columns(spacing),
        "highest_probability": f"{highest:.4f}",
        "masses": len(found),
    }
    return [
        {
            **image,
            "mass": number,
            "x": f"{mass.x:.1f}",
            "y": f"{mass.y:.1f}",
            "area_pixels": mass.area,
            "area_mm2": f"{mass.area * spacing.pixel_area:.2f}" if spacing else "",
            "probability": f"{mass.mean_prob:.4f}",
            "uncertainty": "" if np.isnan(mass.mean_std) else f"{mass.mean_std:.4f}",
        }
        for number, mass in enumerate(found, start=1)
    ] or [image]


def tell(images: Sequence[Input], folder: Folder) -> None:
    """What became of the images. Raises UserError if nothing."""
    predicted_files = {row["file"] for row in folder.rows}
    number = sum(image.file in predicted_files for image in images)
    rejected = RejectedCases(sorted({**folder.notes, **folder.skipped}.items()))
    if rejected.rows:
        log.info(
            "%d of %d files were skipped or not done in full:\n%s", len(rejected.rows), len(images), rejected.format()
        )
    if number == 0:
        raise UserError(f"none of the {len(images)} files could be predicted; {folder.root / SKIPPED_FILE} says why")
    found = sum("mass" in row for row in folder.rows)
    log.info("%d images predicted, %d masses found; written to %s", number, found, folder.root)
