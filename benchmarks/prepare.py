"""Preprocessing of DICOM images (decode, crop, resize), compared with decoding and resizing the same files.

python benchmarks/prepare.py [--films 8] [--height 5000]

The baseline reads image, masks and crops with pydicom and resizes each with OpenCV. The files are synthetic films in
the layout of CBIS-DDSM, uncompressed and RLE-compressed. Also measures the peak memory of a preprocessing process.
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
from mammoseg.data.preprocessing.density_model import default_density_model
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.cbis_ddsm import read
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.phantom.cbis_ddsm import write_cbis_ddsm
from memory import peak_memory

SIZE = 256
SETTINGS = PreprocessingSettings(size=SIZE)
N_COMPRESSED = 3  # pydicom takes ten seconds to compress a film, and one to decompress it
ROUNDS = {"uncompressed": 5, "RLE": 2}


def decode_and_resize(mammogram: Mammogram) -> None:
    """Read and resize all files of a mammogram: the baseline."""
    for file in files_of(mammogram):
        cv2.resize(pydicom.dcmread(file).pixel_array, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def preprocess(mammogram: Mammogram) -> None:
    """Preprocess a mammogram as `mammoseg.prepare` does."""
    preprocess_mammogram(mammogram, SETTINGS, default_density_model())


def seconds_per_image(function: Callable[[Mammogram], None], mammograms: list[Mammogram]) -> float:
    """Return the mean run time of `function` in seconds."""
    started = time.perf_counter()
    for mammogram in mammograms:
        function(mammogram)
    return (time.perf_counter() - started) / len(mammograms)


def files_of(mammogram: Mammogram) -> list[Path]:
    """Return the image file and all candidates for its masks."""
    return [mammogram.image_file, *(file for group in mammogram.mask_candidates for file in group)]


def compress(mammograms: list[Mammogram]) -> None:
    """Compress the files of the mammograms with RLE, in place."""
    for file in {file for mammogram in mammograms for file in files_of(mammogram)}:
        dicom = pydicom.dcmread(file)
        dicom.compress(RLELossless, encoding_plugin="pydicom")
        dicom.save_as(file)


def memory_before_and_after(mammograms: list[Mammogram]) -> tuple[float, float]:
    """Return the peak memory of this process in MiB before and after preprocessing all mammograms."""
    before = peak_memory()
    seconds_per_image(preprocess, mammograms)
    return before, peak_memory()


def compare_times(mammograms: list[Mammogram], rounds: int) -> tuple[float, float]:
    """Return the minimum times per image in seconds of `decode_and_resize` and `preprocess`."""
    functions = (decode_and_resize, preprocess)
    for function in functions:
        seconds_per_image(function, mammograms)  # fill the page cache and load libraries
    times = [[seconds_per_image(function, mammograms) for function in functions] for _ in range(rounds)]
    baseline, preprocessing = np.min(times, axis=0).tolist()
    return baseline, preprocessing


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=8, help="number of images, at least 8")
    parser.add_argument("--height", type=int, default=5000, help="height of an image in pixels")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print("| files | decode + resize | decode + crop + resize | ratio |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "films"
        write_cbis_ddsm(root, cases=args.films, height=args.height, layout="tcia")
        mammograms = read(root, RejectedCases())
        n_images = len(mammograms)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            before, after = pool.submit(memory_before_and_after, mammograms).result()
        for compression, rounds in ROUNDS.items():
            if compression == "RLE":
                mammograms = mammograms[:N_COMPRESSED]
                compress(mammograms)
            baseline, preprocessing = compare_times(mammograms, rounds)
            height, width = pydicom.dcmread(mammograms[0].image_file).pixel_array.shape
            print(
                f"| {compression}, {width}x{height}, 16 bits | {1000 * baseline:.0f} ms "
                f"| {1000 * preprocessing:.0f} ms | {preprocessing / baseline:.2f} |"
            )
    film_size = height * width * 2 / 2**20
    print(
        f"\nPeak memory of a preprocessing process: {before:.0f} MiB after importing the libraries, {after:.0f} MiB "
        f"after preprocessing {n_images} images. One of these images has {film_size:.0f} MiB."
    )


if __name__ == "__main__":
    main()
