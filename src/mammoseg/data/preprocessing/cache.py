"""Mammograms prepared by several processes. Each finished one is a file at once, so that nothing is done twice:
after Ctrl-C, kill -9, a full disk or a bad case, the next call goes on where this one ended."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import threading
import time
import zipfile
from collections.abc import Generator
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg import processes
from mammoseg.data.images.read import read_masks, read_pixels
from mammoseg.data.preprocessing.density_estimate import percent_density
from mammoseg.data.preprocessing.preprocess import Mask, clean, rasterise
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.data.store import Store
from mammoseg.errors import UnreadableImage, UserError
from mammoseg.files import atomic_write, remove_stale
from mammoseg.terminal import Progress

log = logging.getLogger(__name__)

VERSION = 3  # of the preparation: raise it when the same settings give other arrays
FEW = 24  # below this many images, starting processes costs more than it saves


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a prepared image looks like; see `clean.clean`."""

    size: int
    crop: bool
    aspect: str
    normalise: str
    flip: str

    @property
    def digest(self) -> str:
        return digest([VERSION, asdict(self)])


@dataclass(frozen=True)
class Prepared:
    """One row of each of the store's arrays, and what was measured."""

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    previews: NDArray[np.uint8]
    facts: dict[str, Any]


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def key_of(mammogram: Mammogram, root: Path) -> str:
    """Changes with every input of one prepared image: its files, by size and time of change, and its outlines."""
    files = [mammogram.image_file, *(file for group in mammogram.mask_files for file in group)]
    outlines = [outline.tolist() for outline in mammogram.outlines]
    return digest([mammogram.case, mammogram.view, outlines, mammogram.trusted_masks, [stamp(f, root) for f in files]])


def stamp(file: Path, root: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except (OSError, ValueError):  # not there, or no name that a file can have
        return relative(file, root), -1, -1
    return relative(file, root), status.st_size, status.st_mtime_ns


def relative(file: Path, root: Path) -> str:
    """Without the user's folders: these names reach reports."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name


class Workshop:
    """Prepared images in `folder`, one file each, named by their key.

    `make` fills in what is missing; `take` reads one back. Only one process works in a folder at a time.
    """

    def __init__(self, folder: Path, settings: Settings, workers: int | None) -> None:
        self.folder = folder
        self.settings = settings
        self.workers = workers or os.cpu_count() or 1

    def alone(self) -> AbstractContextManager[None]:
        """Wait until no other process works here."""
        return processes.exclusive_lock(
            self.folder / "lock", "waiting for another process that preprocesses the same images"
        )

    def make(self, mammograms: dict[str, Mammogram], name: str) -> dict[str, str]:
        """Prepare those keys that are not there yet; returns key -> reason for what cannot be prepared."""
        remove_stale(self.folder)
        missing = {key: each for key, each in mammograms.items() if not self.file(key).is_file()}
        if before := len(mammograms) - len(missing):
            log.info("%s: going on; %d of %d images were prepared before", name, before, len(mammograms))
        reasons: dict[str, str] = {}
        started = time.monotonic()
        # Closed here, so that Ctrl-C ends the processes wherever it strikes.
        with Progress(f"preparing {name}", len(missing)) as progress, closing(self.work(missing)) as results:
            for done, reason in results:
                if reason is not None:
                    reasons[done] = reason
                progress.advance()
        seconds = time.monotonic() - started
        if missing:
            log.info(
                "%s: %d images in %.1f s, %.1f images/s", name, len(missing), seconds, len(missing) / max(seconds, 1e-9)
            )
        return reasons

    def work(self, mammograms: dict[str, Mammogram]) -> Generator[tuple[str, str | None]]:
        """(key, reason or None) as they are finished."""
        one = partial(prepare_file, folder=self.folder, settings=self.settings)
        workers = min(self.workers, max(len(mammograms) // FEW, 1))
        if workers == 1:
            yield from (one(item) for item in mammograms.items())
            return
        pool = processes.spawn_pool(workers, begin_worker)
        futures: list[Future[tuple[str, str | None]]] = []
        try:
            futures += [pool.submit(one, item) for item in mammograms.items()]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that prepares images was killed, most likely for lack of memory; set dataset.workers=1 "
                "and start again: what is prepared is kept"
            ) from error
        finally:
            # One by one: shutdown's own cancelling is lost where the pool is collected before its thread looks.
            for future in futures:
                future.cancel()
            pool.shutdown(wait=False)

    def file(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def take(self, key: str, mammogram: Mammogram) -> Prepared:
        """Read one back; a file that a power failure left broken is made again."""
        try:
            return read(self.file(key))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self.file(key).unlink(missing_ok=True)
            reason = prepare_file((key, mammogram), self.folder, self.settings)[1]
            if reason is not None:
                raise UserError(f"{mammogram.image_file}: {reason}") from None
            return read(self.file(key))


def prepare_file(item: tuple[str, Mammogram], folder: Path, settings: Settings) -> tuple[str, str | None]:
    """Preprocess one image into its cache file; returns its key, and the reason if it cannot be read."""
    key, mammogram = item
    try:
        prepared = prepare(mammogram, settings)
    except (UnreadableImage, ValueError) as error:
        return key, str(error)
    with atomic_write(folder / f"{key}.npz", "wb") as file:
        facts = np.frombuffer(json.dumps(prepared.facts).encode(), np.uint8)
        np.savez(file, facts=facts, **{name: getattr(prepared, name) for name in Store.ARRAYS})
    return key, None


def prepare(mammogram: Mammogram, settings: Settings) -> Prepared:
    """Raises UnreadableImage or ValueError with the reason."""
    pixels = read_pixels(mammogram.image_file)
    height, width = pixels.shape
    mask, rescaled = true_mask(mammogram, (height, width))
    cleaned = clean(pixels, mask, **asdict(settings))
    facts = {
        **asdict(cleaned.box),
        "height": height,
        "width": width,
        "mass_area": int(np.count_nonzero(mask)),
        "mass_pixels": int(cleaned.mask.sum()),
        "breast_share": round(cleaned.breast_share, 4),
        "percent_density": round(percent_density(cleaned.image, cleaned.breast, mammogram.view), 4),
        "whole": int(cleaned.whole),
        "flipped": int(cleaned.flipped),
        "rescaled": int(rescaled),
    }
    return Prepared(cleaned.image, cleaned.mask, cleaned.preview, facts)


def true_mask(mammogram: Mammogram, shape: tuple[int, int]) -> tuple[Mask, bool]:
    """All masses of an image of `shape` (H, W), in {0, 1}, and whether a mask had another size and was stretched.

    Raises UnreadableImage or ValueError with the reason.
    """
    if mammogram.mask_files:
        return read_masks(mammogram.mask_files, shape, mammogram.trusted_masks)
    return rasterise(mammogram.outlines, *shape), False


def read(file: Path) -> Prepared:
    with file.open("rb") as lines, np.load(lines) as arrays:
        facts = json.loads(arrays["facts"].tobytes())
        return Prepared(**{name: arrays[name] for name in Store.ARRAYS}, facts=facts)


def begin_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in workers only"
    wait([parent.sentinel])
    os._exit(1)
