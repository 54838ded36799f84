"""Decode + crop + resize against the bare decoding and one resize of the same files, in one run.

python benchmarks/prepare.py [--films 6] [--height 5000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.uid import RLELossless

from mammoseg.data.preprocessing.cache import preprocess_mammogram
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.cbis_ddsm import read
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.phantom.cbis_ddsm import write_cbis_ddsm

SIZE = 256
SETTINGS = PreprocessingSettings(size=SIZE)


def bare(mammogram: Mammogram) -> None:
    """What anybody would write: pydicom and OpenCV, for the image, its masks and the crops that lie with them."""
    for file in files_of(mammogram):
        cv2.resize(pydicom.dcmread(file).pixel_array, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def ours(mammogram: Mammogram) -> None:
    preprocess_mammogram(mammogram, SETTINGS)


def seconds(work: Callable[[Mammogram], None], mammograms: list[Mammogram]) -> float:
    started = time.perf_counter()
    for mammogram in mammograms:
        work(mammogram)
    return (time.perf_counter() - started) / len(mammograms)


def files_of(mammogram: Mammogram) -> list[Path]:
    return [mammogram.image_file, *(file for group in mammogram.mask_candidates for file in group)]


def compress(mammograms: list[Mammogram]) -> None:
    for file in {file for mammogram in mammograms for file in files_of(mammogram)}:
        dicom = pydicom.dcmread(file)
        dicom.compress(RLELossless, encoding_plugin="pydicom")
        dicom.save_as(file)


def peak_memory(mammograms: list[Mammogram]) -> tuple[float, float]:
    """MiB at most, before and after preparing all of them."""

    def most() -> float:  # not getrusage, which remembers the parent's from before the start of this program
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    before = most()
    seconds(ours, mammograms)
    return before, most()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--films", type=int, default=8, help="images, at least 8")
    arguments.add_argument("--height", type=int, default=5000, help="of an image, in pixels")
    options = arguments.parse_args()
    cv2.setNumThreads(1)
    print("| files | bare decode + resize | decode + crop + resize | ratio |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "films"
        write_cbis_ddsm(root, cases=options.films, height=options.height, layout="tcia")
        mammograms = read(root, RejectedCases())
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            before, after = pool.submit(peak_memory, mammograms).result()
            number = len(mammograms)
        for kind, rounds in (("uncompressed", 5), ("RLE", 2)):
            if kind == "RLE":
                mammograms = mammograms[:3]  # pydicom packs a film in ten seconds, and unpacks it in one
                compress(mammograms)
            for work in (bare, ours):
                seconds(work, mammograms)  # files into the page cache, libraries into memory
            times = [(seconds(bare, mammograms), seconds(ours, mammograms)) for _ in range(rounds)]
            plain, all_of_it = np.min(times, axis=0)
            height, width = pydicom.dcmread(mammograms[0].image_file).pixel_array.shape
            print(
                f"| {kind}, {width}x{height}, 16 bits | {1000 * plain:.0f} ms | {1000 * all_of_it:.0f} ms "
                f"| {all_of_it / plain:.2f} |"
            )
    film = height * width * 2 / 2**20
    print(
        f"\nMemory of a process that prepares: {before:.0f} MiB for the libraries, at most {after:.0f} MiB with "
        f"all {number} images after each other; one such film has {film:.0f} MiB."
    )


if __name__ == "__main__":
    main()
