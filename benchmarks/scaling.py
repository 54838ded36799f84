"""Scaling of time and memory with the number of images, the image size and the batch size.

python benchmarks/scaling.py

Writes scaling.png next to this file. The exponent k of time ~ n^k is fitted to all sizes; the exponent of the last
step, between the two largest sizes, is less affected by constant costs. Prepared datasets of noise are written
directly, since generating 10,000 phantoms would take hours; preprocessing is measured on small PNG files.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure

import measure
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.data.dataset import build_dataset
from mammoseg.data.readers.image_folder import read
from mammoseg.data.split import Official
from mammoseg.data.store import PreparedStore
from mammoseg.losses import DensityASP
from mammoseg.runs import results
from mammoseg.runs.discovery import find_runs
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison
from memory import peak_memory
from step import Network, Options, Training
from store import write_store

IMAGES = (10, 100, 1000, 10_000)
IMAGES_TO_PREPROCESS = (10, 100, 1000)
SIDES = (256, 512, 1024)
BATCH_SIZES = (1, 2, 4, 8)
STORE_SIDE = 64
WIDTH = 4  # of AU-Net
N_METHODS = 3  # of the comparison
N_REPEATS = 5  # of functions that take less than a second
Measurement = tuple[float, float]  # seconds, MiB
Curve = dict[int, Measurement]  # by size
Task = Callable[[int, Path], object]  # (size, folder with the prepared datasets and runs)


def measure_curve(task: Task, warmup_size: int, sizes: Sequence[int], folder: Path) -> Curve:
    """Measure `task` for increasing sizes in a new process.

    Memory is the peak in addition to that of a call with `warmup_size`.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure_in_process, task, warmup_size, sizes, folder, torch.get_num_threads()).result()


def measure_in_process(task: Task, warmup_size: int, sizes: Sequence[int], folder: Path, n_threads: int) -> Curve:
    """Measure `task` as `measure_curve` does, in this process."""
    torch.set_num_threads(n_threads)
    task(warmup_size, folder)
    baseline = peak_memory()
    curve = {}
    for size in sizes:
        call = partial(task, size, folder)
        times = [measure.seconds(call)]
        if times[0] < 1:
            times += [measure.seconds(call) for _ in range(N_REPEATS - 1)]
        curve[size] = statistics.median(times), peak_memory() - baseline
    return curve


def open_store(n_images: int, folder: Path) -> None:
    """Open a prepared dataset."""
    PreparedStore.open(folder / f"store{n_images}")


def read_epoch(n_images: int, folder: Path) -> None:
    """Read all training batches of a prepared dataset."""
    store = PreparedStore.open(folder / f"store{n_images}")
    dataset = SimpleNamespace(open_store=lambda **_: store, on_device=False, with_negatives=False)
    module = MammogramDataModule(dataset, Official(), batch_size=4)  # type: ignore[arg-type]
    module.setup()
    assert sum(len(batch["image"]) for batch in module.train_dataloader()) == len(module.split.train)


def read_runs(n_images: int, folder: Path) -> None:
    """Read the results of all runs."""
    find_runs([folder / f"runs{n_images}"])


def compare_methods(n_images: int, folder: Path) -> None:
    """Compute the statistics of `mammoseg.compare`."""
    comparison = Comparison(
        align_runs(find_runs([folder / f"runs{n_images}"])), n_resamples=5000, confidence_level=0.95, seed=0
    )
    assert comparison.overall
    assert comparison.all_differences
    assert comparison.by_density


def preprocess(n_images: int, folder: Path) -> None:
    """Preprocess PNG files into a new store."""
    store = str(folder / f"prepared-{time.monotonic_ns()}")
    build_dataset("test", str(folder / f"pngs{n_images}"), read, size=STORE_SIDE, store=store, workers=1).open_store()


def criterion_by_side(side: int, _folder: Path, batch_size: int = 4) -> None:
    """Compute forward and backward pass of the criterion."""
    logits, mask, density = measure.batch(batch_size, side, measure.device())
    DensityASP(measure.THETA).to(logits.device)(logits.requires_grad_(), mask, density).sum().backward()


def criterion_by_batch_size(batch_size: int, folder: Path) -> None:
    """Compute forward and backward pass of the criterion at 256x256."""
    criterion_by_side(256, folder, batch_size)


def step_by_side(side: int, _folder: Path, batch_size: int = 1) -> None:
    """Build AU-Net and take a training step."""
    Training(Options(channels_last=True, fused=True), Network("au_net", WIDTH), batch_size, size=side).step()


def step_by_batch_size(batch_size: int, folder: Path) -> None:
    """Build AU-Net and take a training step at 256x256."""
    step_by_side(256, folder, batch_size)


def write_runs(folder: Path, n_images: int) -> None:
    """Write finished runs of N_METHODS methods with random results on `n_images` images, two per patient."""
    for method in range(N_METHODS):
        rng = np.random.default_rng(method)
        rows = []
        for image in range(n_images):
            tp, fp = (int(value) for value in rng.integers(1, 200, 2))
            counts = [tp, fp, 200 - tp, STORE_SIDE**2 - 200 - fp]  # the same mass size for all methods
            row: dict[str, object] = dict.fromkeys(results.REQUIRED_RESULT_COLUMNS, "")
            row |= {"method": f"m{method}", "dataset": "d", "seed": 0}
            row |= {"case": f"c{image}", "patient": f"p{image // 2}", "density": 1 + image % 4}
            rows.append(row | dict(zip(results.COUNTS, counts, strict=True)))
        run = folder / f"m{method}"
        run.mkdir(parents=True)
        results.write_results(run / "results.csv", rows)


def write_pngs(folder: Path, n_images: int) -> None:
    """Write a dataset folder with `n_images` PNG images of 100x150 pixels, two per patient."""
    folder.mkdir()
    y, x = np.mgrid[:150, :100]
    image = np.where((y - 75) ** 2 + x**2 < 70**2, 60 + y, 0).astype(np.uint8)
    mask = np.zeros_like(image)
    mask[60:80, 20:40] = 255
    with (folder / "cases.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(("case", "image", "mask", "patient", "density", "side"))
        for case in range(n_images):
            offset = np.where(y < 75, case % 30, case // 30).astype(np.uint8)  # copies of an image are rejected
            cv2.imwrite(str(folder / f"{case}.png"), image + offset * (image > 0))
            cv2.imwrite(str(folder / f"{case}-mask.png"), mask)
            table.writerow((f"c{case}", f"{case}.png", f"{case}-mask.png", f"p{case // 2}", case % 4 + 1, "LEFT"))


def exponents(curve: Curve, column: int) -> tuple[float, float]:
    """Return the slopes on a log-log scale: of the fit to all points, and between the last two."""
    sizes = np.log(list(curve))
    values = np.log([max(point[column], 1e-9) for point in curve.values()])
    return float(np.polyfit(sizes, values, 1)[0]), float((values[-1] - values[-2]) / (sizes[-1] - sizes[-2]))


def format_table(curves: Mapping[str, Curve], variable: str) -> str:
    """Format curves as a Markdown table, with one column per value of `variable`."""
    sizes = sorted({size for curve in curves.values() for size in curve})
    lines = [
        f"| {variable} | {' | '.join(f'{size:,}' for size in sizes)} | exponent of time | of the last step |",
        "|---" * (len(sizes) + 3) + "|",
    ]
    for name, curve in curves.items():
        cells = [f"{1000 * curve[size][0]:.3g} ms, {curve[size][1]:.0f} MiB" if size in curve else "" for size in sizes]
        fitted, last = exponents(curve, 0)
        lines.append(f"| {name} | {' | '.join(cells)} | {fitted:.2f} | {last:.2f} |")
    return "\n".join(lines)


def plot(groups: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """Plot time and memory of all curves, with one column of axes per group."""
    figure = Figure(figsize=(4.2 * len(groups), 8), layout="constrained")
    axes = figure.subplots(2, len(groups), squeeze=False)
    for (time_axes, memory_axes), (variable, curves) in zip(axes.T, groups.items(), strict=True):
        for name, curve in curves.items():
            sizes = list(curve)
            time_axes.loglog(sizes, [point[0] for point in curve.values()], "o-", label=name)
            memory_axes.loglog(sizes, [max(point[1], 0.1) for point in curve.values()], "o-", label=name)
        for axis, start in ((time_axes, min(c[min(c)][0] for c in curves.values())), (memory_axes, 0.5)):
            ends = [min(min(curve) for curve in curves.values()), max(max(curve) for curve in curves.values())]
            power = 2 if variable.startswith("side") else 1
            axis.loglog(ends, [start, start * (ends[1] / ends[0]) ** power], "k:", lw=1, label="linear in pixels")
            axis.set_xlabel(variable)
            sizes = sorted({size for curve in curves.values() for size in curve})
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axis.minorticks_off()
        time_axes.set_ylabel("time (s)")
        memory_axes.set_ylabel("additional memory (MiB)")
        time_axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.savefig(path, dpi=90)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, default=Path(__file__).with_name("scaling.png"))
    parser.add_argument("--threads", type=int, default=measure.THREADS)
    parser.add_argument("--small", action="store_true", help="only the first two sizes, to test the benchmark")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images, preprocessed, sides, batch_sizes = (
        sizes[:2] if args.small else sizes for sizes in (IMAGES, IMAGES_TO_PREPROCESS, SIDES, BATCH_SIZES)
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n_images in images:
            (folder / f"store{n_images}").mkdir()
            write_store(folder / f"store{n_images}", n_images, STORE_SIDE)
            write_runs(folder / f"runs{n_images}", n_images)
        for n_images in (2, *preprocessed):
            write_pngs(folder / f"pngs{n_images}", n_images)
        groups: dict[str, dict[str, Curve]] = {
            "number of images": {
                "open the prepared dataset": measure_curve(open_store, 10, images, folder),
                "read the batches of an epoch": measure_curve(read_epoch, 10, images, folder),
                f"read the results of {N_METHODS} runs": measure_curve(read_runs, 10, images, folder),
                f"compare {N_METHODS} methods": measure_curve(compare_methods, 10, images, folder),
                "preprocess, one process": measure_curve(preprocess, 2, preprocessed, folder),
            },
            "side in pixels": {
                "criterion and its inputs, batch size 4": measure_curve(criterion_by_side, 64, sides, folder),
                f"network and step, width {WIDTH}, batch size 1": measure_curve(step_by_side, 64, sides, folder),
            },
            "batch size": {
                "criterion and its inputs, 256x256": measure_curve(criterion_by_batch_size, 1, batch_sizes, folder),
                f"network and step, width {WIDTH}, 256x256": measure_curve(step_by_batch_size, 1, batch_sizes, folder),
            },
        }
    print(
        "Median time, and peak memory in addition to that of a small input, each row in a new process on "
        f"{measure.device_name()}. Prepared images have {STORE_SIDE}x{STORE_SIDE} pixels and consist of noise; "
        "preprocessed images are PNG files of 100x150 pixels. An exponent of 2 of the side is "
        "linear in the number of pixels.\n"
    )
    print("\n\n".join(format_table(curves, variable) for variable, curves in groups.items()))
    plot(groups, args.plot)
    print(f"\n![Scaling of time and memory]({args.plot.name})\n\nMeasured in {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
