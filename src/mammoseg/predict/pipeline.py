"""Prediction pipeline: read, preprocess, predict in batches, map back to the original size, write."""

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

from mammoseg.candidates import select_masses
from mammoseg.data.images.dicom import suppress_header_text
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.data.preprocessing.preprocess import FloatImage
from mammoseg.ensemble import Ensemble, Maps, load_ensemble
from mammoseg.errors import ImageReadError, UserError
from mammoseg.predict import coco, inputs, prediction_images
from mammoseg.predict.exams import label_studies, read_exams
from mammoseg.predict.exposures import read_exposures, skipped_exposures
from mammoseg.predict.findings import Findings
from mammoseg.predict.inputs import Input
from mammoseg.predict.options import PredictOptions
from mammoseg.predict.output_folder import PredictionFolder, log_summary
from mammoseg.predict.prediction_table import TableRow, table_rows
from mammoseg.reports.table import format_count
from mammoseg.runs import checkpoint
from mammoseg.runs.prediction_folder import image_file
from mammoseg.terminal import Progress

log = logging.getLogger(__name__)

MAX_WORKERS = 4  # each needs up to 0.5 GiB for the largest digitised films


@dataclass(frozen=True)
class LoadedImage:
    """An image that was read and preprocessed.

    Attributes:
        source: The input.
        pixels: (H, W) at the original resolution.
        metadata: Metadata of the image.
        network_input: (size, size) float32, the preprocessed image.
        breast: (size, size), the segmented breast; True everywhere if the image is not cropped to it.
        inverse: Maps predictions back to the original resolution.
        warning: In what the image is unlike the training images, or empty.
    """

    source: Input
    pixels: NDArray[Any]
    metadata: ImageMetadata
    network_input: FloatImage
    breast: NDArray[np.bool_]
    inverse: InversePreprocessing
    warning: str


@dataclass(frozen=True)
class WrittenPrediction:
    """An image whose output files were written.

    Attributes:
        source: The input.
        name: Output name of the image.
        files: Output files, relative to the output folder.
        rows: Rows of the image in predictions.csv.
        note: Reason for skipped.csv if an output could not be written, else empty.
    """

    source: Input
    name: str
    files: list[str]
    rows: list[TableRow]
    note: str


def predict(checkpoints: Sequence[Path], input_path: Path, output: Path, options: PredictOptions) -> None:
    """Predict the images that `output` does not contain yet.

    Args:
        checkpoints: Checkpoints or exported networks; several form an ensemble.
        input_path: An image, or a folder that is searched recursively.
        output: Folder of the predictions.
        options: See `PredictOptions`.

    Raises:
        UserError: If an argument is invalid, no image can be predicted, or `output` contains other predictions.
    """
    options.check()
    if not checkpoints:
        raise UserError("ckpt_path must name at least one checkpoint, got []")
    images = inputs.find_images(input_path, output)
    stated_exams = None if options.exams is None else read_exams(options.exams, [image.file for image in images])
    ensemble = load_ensemble(
        checkpoints,
        tta=options.tta,
        threshold=options.threshold,
        accelerator=options.accelerator,
        trusted_modules=options.trusted_modules or (),
    )
    exposures = read_exposures(images)
    skipped = skipped_exposures(exposures, options.for_processing)
    made_of = provenance(checkpoints, input_path, ensemble, options)
    folder = PredictionFolder(output, made_of, label_studies(exposures) if stated_exams is None else stated_exams)
    with folder.session():
        for image in (image for image in images if image.file in skipped):
            folder.record_skipped(image, skipped[image.file])
        selected = [image for image in images if image.file not in skipped]
        remaining = [image for image in selected if not folder.is_complete(image)]
        if n_complete := len(selected) - len(remaining):
            log.info("resuming: %d of %s already predicted", n_complete, format_count(len(images), "image"))
        if remaining:
            PredictionPipeline(ensemble, folder, options).run(remaining)
        log_summary(images, folder)


def provenance(
    checkpoints: Sequence[Path], input_path: Path, ensemble: Ensemble, options: PredictOptions
) -> dict[str, Any]:
    """Return all values that affect the predictions.

    Args:
        checkpoints: Checkpoints or exported networks.
        input_path: The input, whose path is hashed for privacy.
        ensemble: The networks.
        options: See `PredictOptions`.

    Returns:
        JSON-serialisable values, stored in predictions.json.
    """
    return {
        "checkpoints": [checkpoint.file_digest(path) for path in checkpoints],
        "preparation": asdict(ensemble.settings),  # the key in predictions.json since version 0.1
        "threshold": ensemble.threshold,
        "tta": ensemble.tta,
        **options.provenance(),
        # absent for models without this range, so that predictions of earlier versions can be resumed
        **({} if ensemble.input_range is None else {"input_range": ensemble.input_range.to_plain()}),
        "input": hashlib.sha256(os.fsencode(input_path.resolve())).hexdigest()[:16],
    }


class PredictionPipeline:
    """Reads, predicts and writes images, with the three stages in parallel.

    Args:
        ensemble: The networks.
        folder: Output folder, whose session must be open.
        options: See `PredictOptions`.
    """

    def __init__(self, ensemble: Ensemble, folder: PredictionFolder, options: PredictOptions) -> None:
        self.ensemble = ensemble
        self.folder = folder
        self.options = options

    def run(self, images: Sequence[Input]) -> None:
        """Predict images: while the network processes a batch, the next one is read and the previous one is written."""
        names, batch_size = self.folder.assign_names(images), self.options.batch_size
        batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        with Progress("predicting", len(images)) as progress, self._thread_pool() as pool:
            loading = [pool.submit(self.load, image) for image in batches[0]]
            writing: list[Future[WrittenPrediction]] = []
            for batch, next_batch in zip(batches, [*batches[1:], []], strict=True):
                loaded = self._collect_loaded(zip(batch, loading, strict=True))
                loading = [pool.submit(self.load, image) for image in next_batch]
                maps = self._predict_batch(loaded)
                self._collect_written(writing)
                writing = [
                    pool.submit(self.write, image, names[image.source.file], mean, std)
                    for image, (mean, std) in zip(loaded, maps, strict=True)
                ]
                progress.advance(len(batch))
            self._collect_written(writing)

    @contextmanager
    def _thread_pool(self) -> Iterator[ThreadPoolExecutor]:
        """Create the thread pool. Threads suffice, since decoders and encoders release the GIL."""
        pool = ThreadPoolExecutor(self.options.workers or min(os.cpu_count() or 1, MAX_WORKERS))
        with suppress_header_text():
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)

    def load(self, image: Input) -> LoadedImage:
        """Read and preprocess an image.

        Raises:
            ImageReadError: If the image cannot be read or is not plausible.
        """
        pixels, metadata = inputs.read_input(image)
        preprocessed = self.ensemble.prepare(pixels)
        inverse = InversePreprocessing.from_preprocessed(preprocessed, pixels.shape, self.ensemble.settings.aspect)
        warning = self.ensemble.warning(pixels.shape, preprocessed, metadata)
        return LoadedImage(image, pixels, metadata, preprocessed.image, preprocessed.breast, inverse, warning)

    def _predict_batch(self, loaded: Sequence[LoadedImage]) -> list[tuple[Maps, Maps]]:
        if not loaded:
            return []
        mean, std = self.ensemble(np.stack([image.network_input for image in loaded]))
        return list(zip(mean, std, strict=True))

    def _collect_loaded(self, loading: Iterable[tuple[Input, Future[LoadedImage]]]) -> list[LoadedImage]:
        loaded = []
        for image, future in loading:
            try:
                loaded.append(future.result())
            except ImageReadError as error:
                self.folder.record_skipped(image, str(error))
        return loaded

    def _collect_written(self, writing: Iterable[Future[WrittenPrediction]]) -> None:
        for future in writing:
            written = future.result()
            self.folder.record(written.source, written.name, written.files, written.rows, written.note)

    def write(self, loaded: LoadedImage, name: str, mean: Maps, std: Maps) -> WrittenPrediction:
        """Write all output files of one image.

        Args:
            loaded: The image.
            name: Output name of the image.
            mean: (size, size) mean probability over the members of the ensemble.
            std: (size, size) standard deviation of the probability over the members.

        Returns:
            The arguments of `PredictionFolder.record`.
        """
        findings = self._findings(loaded, mean, std)
        contents = prediction_images.encode_images(
            name, loaded.pixels, findings, with_float=self.options.float_probabilities
        )
        contents[image_file("contours", name)] = coco.encode_image(loaded.source.file, findings)
        note = ""
        if loaded.source.is_dicom and self.options.segmentation != "none":
            try:
                contents.update(self._dicom_objects(loaded, name, findings))
            except ImageReadError as error:
                objects = "DICOM Segmentation" + " and Structured Report" * self.options.structured_report
                note = f"predicted, but without a {objects}: {error}"
        for file, content in contents.items():
            self.folder.write_file(file, content)
        rows = table_rows(loaded.source, name, findings.prob, loaded.metadata, findings.masses, loaded.warning)
        return WrittenPrediction(loaded.source, name, [*contents], rows, note)

    def _findings(self, loaded: LoadedImage, mean: Maps, std: Maps) -> Findings:
        """Map the predicted maps to the original resolution and select the masses."""
        outside = ~loaded.inverse.region_to_original(loaded.breast)
        prob = loaded.inverse.to_original(mean)
        prob[outside] = 0
        std_original = loaded.inverse.to_original(std) if self.ensemble.members > 1 else None
        if std_original is not None:
            std_original[outside] = 0
        above = prob > np.float32(self.ensemble.threshold)
        min_pixels = self.options.min_area.in_pixels(prob.shape, loaded.metadata.spacing)
        mask, masses = select_masses(above, prob, std_original, min_pixels, self.options.maximum)
        return Findings(prob, std_original, mask, masses)

    def _dicom_objects(self, loaded: LoadedImage, name: str, findings: Findings) -> dict[str, bytes]:
        """Encode the Segmentation and the Structured Report, by path relative to the output folder."""
        from mammoseg.predict import dicom_seg, dicom_sr  # import highdicom only if there are DICOM inputs
        from mammoseg.predict.dicom_source import SourceImage

        serial = self.folder.provenance["checkpoints"][0][:16]
        identified = self.options.segmentation == "identified"
        source = SourceImage(loaded.source.path, findings.mask.shape, loaded.metadata.spacing, identified)
        segmentation = dicom_seg.encode_segmentation(source, findings.mask, serial=serial)
        contents = {image_file("segmentations", name): segmentation}
        if self.options.structured_report:
            report = dicom_sr.encode_report(source, findings, side=loaded.metadata.side, serial=serial)
            contents[image_file("reports", name)] = report
        return contents
