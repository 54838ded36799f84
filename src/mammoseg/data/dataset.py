"""A dataset: where it lies, who reads it, how it is prepared. `conf/dataset/*.yaml` fills one in."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mammoseg.data.clean import Cleaned, clean, rasterise
from mammoseg.data.mammogram import DENSITIES, BadCases, Mammogram, Reader
from mammoseg.data.pixels import read_mask, read_pixels
from mammoseg.data.store import Case, Store, appears_whole, write_cases
from mammoseg.errors import UnreadableImage, UserError

log = logging.getLogger(__name__)

VERSION = 1  # of the preparation: raise it when the same settings give other arrays
FEW = 24  # below this many images, starting processes costs more than it saves


@dataclass(frozen=True)
class Dataset:
    """Mammograms of one kind, and how they become the network's input.

    `name`: what tables call it. `root`: its folder. `reader`: (root, bad) -> images.
    `size`: side of the prepared images in pixels, a multiple of 16. `crop`, `aspect`, `normalise`: see
    `clean.clean`. `missing_density`: "error", "drop", or the ACR category 1-4 to assume.
    `on_bad`: "error" or "skip" for cases that cannot be read. `store`: where prepared arrays are kept.
    `workers`: processes that prepare; None takes one per core.
    `source`: called with `root` if that does not exist, to fill it (synthetic data).
    Raises UserError for settings outside these.
    """

    name: str
    root: str
    reader: Reader
    size: int = 256
    crop: bool = True
    aspect: str = "stretch"
    normalise: str = "minmax"
    missing_density: str | int = "error"
    on_bad: str = "error"
    store: str = "data/prepared"
    workers: int | None = None
    source: Callable[[Path], object] | None = None

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 16:
            raise UserError(f"dataset.size={self.size}, but the networks need a multiple of 16")
        if self.on_bad not in ("error", "skip"):
            raise UserError(f"dataset.on_bad={self.on_bad}, but the choices are error and skip")
        if self.missing_density not in ("error", "drop", *DENSITIES):
            raise UserError(
                f"dataset.missing_density={self.missing_density}, but the choices are error, drop and 1 to 4"
            )

    def prepared(self) -> Store:
        """The store of this dataset with these settings, prepared now if it is not there yet.

        Raises UserError if there is no dataset at `root`, or for bad cases under on_bad=error.
        """
        root = Path(self.root).expanduser()
        if self.source is not None and not root.is_dir():
            self.source(root)
        bad = BadCases()
        mammograms = self.with_density(self.reader(root, bad), bad)
        folder = Path(self.store).expanduser() / f"{self.name}-{self.fingerprint(root, mammograms, bad)}"
        if not folder.is_dir():
            self.prepare(root, mammograms, bad, folder)
        store = Store.open(folder)
        for file, reason in store.skipped:
            log.warning("%s left out: %s", file, reason)
        return store

    def with_density(self, mammograms: Sequence[Mammogram], bad: BadCases) -> list[Mammogram]:
        known = []
        for mammogram in mammograms:
            if mammogram.density is not None:
                known.append(mammogram)
            elif isinstance(self.missing_density, int):
                known.append(replace(mammogram, density=self.missing_density))
            elif self.missing_density == "drop":
                log.warning("%s left out: no ACR density", mammogram.case)
            else:
                bad.add(mammogram.case, "no ACR density; set dataset.missing_density=drop, or =1 to =4")
        return known

    def fingerprint(self, root: Path, mammograms: Sequence[Mammogram], bad: BadCases) -> str:
        """Changes with every setting that changes the arrays, and with every input file."""
        settings = [VERSION, self.size, self.crop, self.aspect, self.normalise, self.on_bad, bad.rows]
        inputs = [
            [
                *(m.case, m.patient, m.density, m.side, m.view, m.split, m.masses),
                [outline.tolist() for outline in m.outlines],
                [stamp(file, root) for file in (m.image_file, m.mask_file) if file is not None],
            ]
            for m in mammograms
        ]
        return hashlib.sha256(json.dumps([settings, inputs]).encode()).hexdigest()[:16]

    def prepare(self, root: Path, mammograms: Sequence[Mammogram], bad: BadCases, folder: Path) -> None:
        with appears_whole(folder) as scratch:
            cases: list[Case] = []
            shape = (len(mammograms), self.size, self.size)
            images = np.lib.format.open_memmap(scratch / "images.npy", "w+", np.float32, shape)
            masks = np.lib.format.open_memmap(scratch / "masks.npy", "w+", np.uint8, shape)
            for mammogram, done in zip(mammograms, self.work(mammograms), strict=True):
                if isinstance(done, str):
                    bad.add(relative(mammogram.image_file, root), done)
                    continue
                images[len(cases)], masks[len(cases)] = done[0].image, done[0].mask
                cases.append(row(mammogram, *done))
            self.judge(bad, cases, root)
            images.flush()
            masks.flush()
            del images, masks
            for name in ("images.npy", "masks.npy"):
                shorten(scratch / name, len(cases))
            write_cases(scratch / "cases.csv", cases)
            (scratch / "about.json").write_text(json.dumps(self.about(bad), indent=1))

    def work(self, mammograms: Sequence[Mammogram]) -> Iterator[tuple[Cleaned, tuple[int, int]] | str]:
        """Each image prepared, or why it cannot be, in order."""
        from rich.progress import track

        one = partial(prepare_one, size=self.size, crop=self.crop, aspect=self.aspect, normalise=self.normalise)
        workers = min(self.workers or os.cpu_count() or 1, max(len(mammograms) // FEW, 1))
        watched = partial(track, description=f"preparing {self.name}", total=len(mammograms), transient=True)
        if workers == 1:
            yield from watched(map(one, mammograms))
            return
        # Spawned, not forked: torch and OpenCV threads do not survive a fork.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), one_thread) as pool:
            try:
                yield from watched(pool.map(one, mammograms, chunksize=4))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def judge(self, bad: BadCases, cases: list[Case], root: Path) -> None:
        if bad.rows and self.on_bad == "error":
            raise UserError(
                f"{len(bad.rows)} cases below {root} cannot be used; mend them, or set dataset.on_bad=skip "
                f"to go on without them:\n{bad.table()}"
            )
        if not cases:
            raise UserError(f"{root}: no usable image with a mass is left\n{bad.table()}".rstrip())
        if cut := [case.case for case in cases if case.whole]:
            log.warning("%d images kept whole, since the crop would have cut a mass: %s", len(cut), cut)

    def about(self, bad: BadCases) -> dict[str, Any]:
        return {
            "dataset": self.name,
            "version": VERSION,
            "size": self.size,
            "crop": self.crop,
            "aspect": self.aspect,
            "normalise": self.normalise,
            "skipped": bad.rows,
        }


def prepare_one(
    mammogram: Mammogram, *, size: int, crop: bool, aspect: str, normalise: str
) -> tuple[Cleaned, tuple[int, int]] | str:
    """The prepared image and its original (height, width), or why there is none."""
    try:
        pixels = read_pixels(mammogram.image_file)
        height, width = pixels.shape
        if mammogram.mask_file is not None:
            mask = read_mask(mammogram.mask_file, (height, width))
        else:
            mask = rasterise(mammogram.outlines, height, width)
    except (UnreadableImage, ValueError) as error:
        return str(error)
    return clean(pixels, mask, size=size, crop=crop, aspect=aspect, normalise=normalise), (height, width)


def row(mammogram: Mammogram, cleaned: Cleaned, shape: tuple[int, int]) -> Case:
    assert mammogram.density is not None, "with_density leaves none out"
    return Case(
        case=mammogram.case,
        patient=mammogram.patient,
        density=mammogram.density,
        side=mammogram.side,
        view=mammogram.view,
        split=mammogram.split,
        masses=mammogram.masses,
        mass_pixels=int(cleaned.mask.sum()),
        height=shape[0],
        width=shape[1],
        top=cleaned.box.top,
        bottom=cleaned.box.bottom,
        left=cleaned.box.left,
        right=cleaned.box.right,
        whole=int(cleaned.whole),
    )


def stamp(file: Path, root: Path) -> tuple[str, int, int]:
    status = file.stat() if file.is_file() else None
    return relative(file, root), *((status.st_size, status.st_mtime_ns) if status else (-1, -1))


def relative(file: Path, root: Path) -> str:
    """Without the user's folders: these names reach reports."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name


def shorten(path: Path, rows: int) -> None:
    """Drop the rows that bad cases left unused at the end."""
    array = np.load(path, mmap_mode="r")
    if len(array) != rows:
        whole = path.with_suffix(".whole.npy")
        path.rename(whole)
        np.save(path, array[:rows])
        whole.unlink()


def one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
