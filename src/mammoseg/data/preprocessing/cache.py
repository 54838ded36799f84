"""Parallel preprocessing with one cache file per image, so that an interrupted run resumes without recomputation."""

from __future__ import annotations

import json
import logging
import os
import time
import zipfile
from collections.abc import Generator
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg import processes
from mammoseg.data.images.mask_labels import check_fraction
from mammoseg.data.images.masks import MassMask, rasterise, read_masks
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.images.plausibility import MIN_TRAINING_LEVELS, check_grey_values
from mammoseg.data.images.read import read_image
from mammoseg.data.preprocessing.density_estimate import percent_density
from mammoseg.data.preprocessing.density_model import DensityModel
from mammoseg.data.preprocessing.fingerprints import hash_array, hash_pixels
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.preprocessing.preprocessing_worker import init_preprocessing_worker
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.data.readers.mass_location import location_masks
from mammoseg.data.store import PreparedStore
from mammoseg.errors import ImageReadError, UserError
from mammoseg.files import atomic_write
from mammoseg.terminal import Progress

log = logging.getLogger(__name__)

DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)  # raised for damaged cache files
METADATA = ("columns", "image_hash", "mask_hash")  # attributes of `PreprocessedSample` that are not arrays
MIN_IMAGES_PER_WORKER = 24  # below this, starting processes costs more than it saves


@dataclass(frozen=True)
class PreprocessedSample:
    """One preprocessed image, with the attributes named after the arrays of `PreparedStore`.

    Attributes:
        images: (size, size) float32 image.
        masks: (size, size) uint8 mask in {0, 1}.
        previews: (PREVIEW_SIDE, PREVIEW_SIDE) uint8, the downsampled uncropped image.
        columns: Columns of cases.csv that are computed from the pixels.
        image_hash: Hash of the image that does not depend on the format of its file, its integer type or its masks.
        mask_hash: Hash of the mask that does not depend on the format of its files.
    """

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    previews: NDArray[np.uint8]
    columns: dict[str, Any]
    image_hash: str
    mask_hash: str


class PreprocessingCache:
    """Folder of preprocessed images, one file per cache key, used by one process at a time.

    Args:
        folder: Cache folder.
        settings: Preprocessing settings.
        density_model: Estimates the density of each image.
        workers: Number of worker processes; None for one per CPU core.
    """

    def __init__(
        self, folder: Path, settings: PreprocessingSettings, density_model: DensityModel, workers: int | None
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.density_model = density_model
        self.workers = workers or os.cpu_count() or 1

    def lock(self) -> AbstractContextManager[None]:
        """Return a context manager that holds the exclusive lock of the folder.

        The lock file is next to the folder, since the folder is removed when the store is complete.
        """
        lock_file = self.folder.with_name(f".lock-{self.folder.name.lstrip('.')}")
        return processes.exclusive_lock(lock_file, "waiting for another process that is preprocessing the same images")

    def fill(self, mammograms: dict[str, Mammogram], dataset: str) -> dict[str, str]:
        """Preprocess the images that are not cached yet.

        Args:
            mammograms: Images by cache key.
            dataset: Name of the dataset, for log messages.

        Returns:
            The reason for each image that cannot be preprocessed, by cache key.

        Raises:
            UserError: If a worker process was killed.
        """
        missing = {key: mammogram for key, mammogram in mammograms.items() if not self._path(key).is_file()}
        if n_cached := len(mammograms) - len(missing):
            log.info("%s: resuming, %d of %d images are already preprocessed", dataset, n_cached, len(mammograms))
        reasons: dict[str, str] = {}
        start_time = time.monotonic()
        # `closing` terminates the workers on Ctrl-C.
        with Progress(f"preparing {dataset}", len(missing)) as progress, closing(self._run(missing)) as results:
            for key, reason in results:
                if reason is not None:
                    reasons[key] = reason
                progress.advance()
        seconds = max(time.monotonic() - start_time, 1e-9)
        if missing:
            rate = len(missing) / seconds
            log.info("%s: %d images in %.1f s, %.1f images/s", dataset, len(missing), seconds, rate)
        return reasons

    def _run(self, mammograms: dict[str, Mammogram]) -> Generator[tuple[str, str | None]]:
        """Yield (key, reason or None) in the order of completion."""
        task = partial(write_sample, folder=self.folder, settings=self.settings, density_model=self.density_model)
        workers = min(self.workers, max(len(mammograms) // MIN_IMAGES_PER_WORKER, 1))
        if workers == 1:
            yield from (task(item) for item in mammograms.items())
            return
        pool = processes.spawn_pool(workers, init_preprocessing_worker)
        futures: list[Future[tuple[str, str | None]]] = []
        try:
            futures += [pool.submit(task, item) for item in mammograms.items()]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a preprocessing worker was killed, most likely because memory ran out; rerun with dataset.workers=1 "
                "(images that are already preprocessed will be reused)"
            ) from error
        finally:
            # shutdown(cancel_futures=True) has no effect if the pool is collected before its thread runs.
            for future in futures:
                future.cancel()
            pool.shutdown()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def metadata(self, key: str, mammogram: Mammogram) -> dict[str, Any]:
        """Return the attributes `METADATA` of an image, without loading its arrays.

        Args:
            key: Cache key.
            mammogram: The image.

        Raises:
            UserError: If the file is damaged and the image cannot be preprocessed.
        """
        try:
            with self._path(key).open("rb") as content, np.load(content) as arrays:
                metadata: dict[str, Any] = json.loads(arrays["metadata"].tobytes())
            return {name: metadata[name] for name in METADATA}
        except DAMAGED:
            sample = self.load(key, mammogram)
            return {name: getattr(sample, name) for name in METADATA}

    def load(self, key: str, mammogram: Mammogram) -> PreprocessedSample:
        """Load one image; if its file is damaged, for instance by a power failure, preprocess it again.

        Args:
            key: Cache key.
            mammogram: The image.

        Returns:
            The preprocessed image.

        Raises:
            UserError: If the file is damaged and the image cannot be preprocessed.
        """
        try:
            return read_sample(self._path(key))
        except DAMAGED:
            self._path(key).unlink(missing_ok=True)
            reason = write_sample((key, mammogram), self.folder, self.settings, self.density_model)[1]
            if reason is not None:
                raise UserError(f"{mammogram.image_file}: {reason}") from None
            return read_sample(self._path(key))


def write_sample(
    item: tuple[str, Mammogram], folder: Path, settings: PreprocessingSettings, density_model: DensityModel
) -> tuple[str, str | None]:
    """Preprocess one image and write its cache file.

    Args:
        item: Cache key and image.
        folder: Cache folder.
        settings: Preprocessing settings.
        density_model: Estimates the density of the image.

    Returns:
        The cache key, and the reason why the image cannot be preprocessed, or None if it can.
    """
    key, mammogram = item
    try:
        sample = preprocess_mammogram(mammogram, settings, density_model)
    except (ImageReadError, ValueError) as error:
        return key, str(error)
    with atomic_write(folder / f"{key}.npz", "wb") as file:
        metadata = {name: getattr(sample, name) for name in METADATA}
        encoded = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
        np.savez(file, metadata=encoded, **{name: getattr(sample, name) for name in PreparedStore.ARRAYS})
    return key, None


def read_sample(file: Path) -> PreprocessedSample:
    """Read a cache file."""
    with file.open("rb") as content, np.load(content) as arrays:
        metadata = json.loads(arrays["metadata"].tobytes())
        return PreprocessedSample(**{name: arrays[name] for name in PreparedStore.ARRAYS}, **metadata)


def preprocess_mammogram(
    mammogram: Mammogram, settings: PreprocessingSettings, density_model: DensityModel
) -> PreprocessedSample:
    """Read and preprocess one image and its mask.

    Args:
        mammogram: The image.
        settings: Preprocessing settings.
        density_model: Estimates the density of the image.

    Returns:
        The preprocessed image.

    Raises:
        ImageReadError: If the image or a mask cannot be read or is not plausible.
        ValueError: If an outline lies outside the image, or the image has no masses according to the dataset's table.
    """
    pixels, metadata = read_image(mammogram.image_file)
    check_grey_values(pixels, MIN_TRAINING_LEVELS)
    truth = mass_mask(mammogram, pixels.shape)
    mask = truth.mask
    result = preprocess(pixels, mask, settings)
    columns = {
        **acquisition_columns(metadata),
        **asdict(result.box),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "mass_area": int(np.count_nonzero(mask)),
        "mass_pixels": int(result.mask.sum()),
        "breast_fraction": round(result.breast_fraction, 4),
        "percent_density": round(percent_density(result.image, result.breast, mammogram.view), 4),
        "crop_skipped": int(result.crop_skipped),
        "flipped": int(result.flipped),
        "mask_resized": int(truth.resized),
        "mask_labels": truth.n_labels,
        "mass_in_breast": round(result.mass_in_breast, 4),
        "image_density_score": density_model.score_of_image(result.grey, result.segmentation, mammogram.view),
    }
    hashes = hash_pixels(pixels), hash_array(np.packbits(mask))
    return PreprocessedSample(result.image, result.mask, result.preview, columns, *hashes)


def acquisition_columns(metadata: ImageMetadata) -> dict[str, Any]:
    """Return the columns of cases.csv that describe how an image was acquired."""
    spacing_mm = round(metadata.spacing.mean, 6) if metadata.spacing else None
    return {"spacing_mm": spacing_mm, "acquisition": metadata.acquisition}


def mass_mask(mammogram: Mammogram, shape: tuple[int, int]) -> MassMask:
    """Return the union of the masks of all masses in an image; empty if they are only marked by boxes or circles.

    Args:
        mammogram: The image.
        shape: (H, W) of its pixels.

    Raises:
        ImageReadError: If a mask file cannot be used, or the outlines enclose most of the image.
        ValueError: If an outline, a box or a circle lies outside the image, or the image has no masses according to the
            dataset's table.
    """
    location_masks(mammogram.locations, *shape)
    if mammogram.mask_candidates:
        truth = read_masks(mammogram.mask_candidates, shape, mammogram.masks_verified)
    else:
        truth = MassMask(rasterise(mammogram.outlines, *shape))
        check_fraction(np.count_nonzero(truth.mask) / truth.mask.size, n_labels=1)
    if mammogram.masses == 0 and truth.mask.any():
        raise ValueError(
            "an image with 0 masses must have an empty mask, got one with a mass; fix the table or the mask"
        )
    return truth
