"""Time and memory against the number of images in a store, the side of an image, and the batch size.

python benchmarks/scaling.py

Writes scaling.png beside this file. A fitted exponent of 1 is linear, 2 quadratic; that of the last step, between the
two largest, is free of what a small job costs anyway. Stores are written row by row, as noise: 10,000 phantoms take
hours to draw and prepare. What preparing costs per image is measured on a folder of small PNG files.
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
from step import Options, Training
from store import write_store

IMAGES = (10, 100, 1000, 10_000)
PREPARED = (10, 100, 1000)
SIDES = (256, 512, 1024)
BATCHES = (1, 2, 4, 8)
STORE_SIDE = 64
WIDTH = 4  # of the AU-Net
METHODS = 3  # of the comparison
Measured = tuple[float, float]  # seconds, MiB
Curve = dict[int, Measured]
Work = Callable[[int, Path], object]  # (size, folder with the stores and runs)


def most() -> float:
    """The most MiB that this process ever had; not getrusage, which remembers the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def curve(work: Work, small: int, sizes: Sequence[int], folder: Path) -> Curve:
    """`work` of each size, from small to large in a process of its own, after a `small` one for comparison."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, work, small, sizes, folder, torch.get_num_threads()).result()


def measured(
    work: Callable[[int, Path], object], small: int, sizes: Sequence[int], folder: Path, threads: int
) -> Curve:
    torch.set_num_threads(threads)
    work(small, folder)
    lowest = most()
    found = {}
    for size in sizes:
        times = [measure.seconds(lambda size=size: work(size, folder))]  # type: ignore[misc]
        if times[0] < 1:
            times += [measure.seconds(lambda size=size: work(size, folder)) for _ in range(4)]  # type: ignore[misc]
        found[size] = statistics.median(times), most() - lowest
    return found


def opening(number: int, folder: Path) -> None:
    PreparedStore.open(folder / f"store{number}")


def epoch(number: int, folder: Path) -> None:
    dataset = SimpleNamespace(open_store=lambda: PreparedStore.open(folder / f"store{number}"), on_device=False)
    module = MammogramDataModule(dataset, Official(), batch_size=4)  # type: ignore[arg-type]
    module.setup()
    assert sum(len(batch["image"]) for batch in module.train_dataloader()) == len(module.split.train)


def reading(number: int, folder: Path) -> None:
    find_runs([folder / f"runs{number}"])


def comparing(number: int, folder: Path) -> None:
    comparison = Comparison(
        align_runs(find_runs([folder / f"runs{number}"])), n_resamples=5000, confidence_level=0.95, seed=0
    )
    assert comparison.overall
    assert comparison.differences
    assert comparison.by_density
    assert comparison.win_rate


def preparing(number: int, folder: Path) -> None:
    store = str(folder / f"prepared-{time.monotonic_ns()}")  # never one that is there already
    build_dataset("test", str(folder / f"pngs{number}"), read, size=STORE_SIDE, store=store, workers=1).open_store()


def criterion(side: int, _: Path, batch: int = 4) -> None:
    logits, mask, density = measure.batch(batch, side, measure.device())
    DensityASP(measure.THETA).to(logits.device)(logits.requires_grad_(), mask, density).sum().backward()


def criterion_of(batch: int, folder: Path) -> None:
    criterion(256, folder, batch)


def network(side: int, _: Path, batch: int = 1) -> None:
    Training(Options(channels_last=True, fused=True), WIDTH, batch, size=side).step()


def network_of(batch: int, folder: Path) -> None:
    network(256, folder, batch)


def write_runs(folder: Path, number: int) -> None:
    """Finished runs of METHODS methods on `number` images, two of a patient."""
    for method in range(METHODS):
        draw = np.random.default_rng(method)
        rows = []
        for image in range(number):
            tp, fp = (int(value) for value in draw.integers(1, 200, 2))
            counts = [tp, fp, 200 - tp, STORE_SIDE**2 - 200 - fp]  # of one mass size, whatever the method
            row = dict.fromkeys(results.REQUIRED_COLUMNS, "") | {"method": f"m{method}", "dataset": "d", "seed": 0}
            row |= {"case": f"c{image}", "patient": f"p{image // 2}", "density": 1 + image % 4}
            rows.append(row | dict(zip(results.COUNTS, counts, strict=True)))
        run = folder / f"m{method}"
        run.mkdir(parents=True)
        results.write_results(run / "results.csv", rows)


def write_pngs(folder: Path, number: int) -> None:
    folder.mkdir()
    y, x = np.mgrid[:150, :100]
    image = np.where((y - 75) ** 2 + x**2 < 70**2, 120, 0).astype(np.uint8)
    mask = np.zeros_like(image)
    mask[60:80, 20:40] = 255
    with (folder / "cases.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(("case", "image", "mask", "patient", "density", "side"))
        for case in range(number):
            cv2.imwrite(str(folder / f"{case}.png"), image + (case % 50) * (image > 0).astype(np.uint8))
            cv2.imwrite(str(folder / f"{case}-mask.png"), mask)
            table.writerow((f"c{case}", f"{case}.png", f"{case}-mask.png", f"p{case // 2}", case % 4 + 1, "LEFT"))


def exponents(curve: Curve, column: int) -> tuple[float, float]:
    """Slopes in double logarithmic scale: of a line through all points, and between the last two."""
    sizes = np.log(list(curve))
    values = np.log([max(point[column], 1e-9) for point in curve.values()])
    return float(np.polyfit(sizes, values, 1)[0]), float((values[-1] - values[-2]) / (sizes[-1] - sizes[-2]))


def table(curves: Mapping[str, Curve], what: str) -> str:
    sizes = sorted({size for curve in curves.values() for size in curve})
    lines = [
        f"| {what} | {' | '.join(f'{size:,}' for size in sizes)} | time ~ n^ | last step |",
        "|---" * (len(sizes) + 3) + "|",
    ]
    for name, curve in curves.items():
        cells = [f"{1000 * curve[size][0]:.3g} ms, {curve[size][1]:.0f} MiB" if size in curve else "" for size in sizes]
        fitted, last = exponents(curve, 0)
        lines.append(f"| {name} | {' | '.join(cells)} | {fitted:.2f} | {last:.2f} |")
    return "\n".join(lines)


def plot(groups: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    figure = Figure(figsize=(4.2 * len(groups), 7), layout="constrained")
    axes = figure.subplots(2, len(groups), squeeze=False)
    for (above, below), (what, curves) in zip(axes.T, groups.items(), strict=True):
        for name, curve in curves.items():
            sizes = list(curve)
            above.loglog(sizes, [point[0] for point in curve.values()], "o-", label=name)
            below.loglog(sizes, [max(point[1], 0.1) for point in curve.values()], "o-", label=name)
        for axis, start in ((above, min(c[min(c)][0] for c in curves.values())), (below, 0.5)):
            ends = [min(min(curve) for curve in curves.values()), max(max(curve) for curve in curves.values())]
            power = 2 if what.startswith("side") else 1
            axis.loglog(ends, [start, start * (ends[1] / ends[0]) ** power], "k:", lw=1, label="linear in pixels")
            axis.set_xlabel(what)
            sizes = sorted({size for curve in curves.values() for size in curve})
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axis.minorticks_off()
        above.set_ylabel("seconds")
        below.set_ylabel("MiB beyond a small job's")
        above.legend(fontsize=7)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, default=Path(__file__).with_name("scaling.png"))
    parser.add_argument("--threads", type=int, default=measure.THREADS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in IMAGES:
            (folder / f"store{number}").mkdir()
            write_store(folder / f"store{number}", number, STORE_SIDE)
            write_runs(folder / f"runs{number}", number)
        for number in (2, *PREPARED):
            write_pngs(folder / f"pngs{number}", number)
        groups: dict[str, dict[str, Curve]] = {
            "images": {
                "open the store": curve(opening, 10, IMAGES, folder),
                "an epoch of batches": curve(epoch, 10, IMAGES, folder),
                f"read the results of {METHODS} runs": curve(reading, 10, IMAGES, folder),
                f"compare {METHODS} methods": curve(comparing, 10, IMAGES, folder),
                "prepare, one process": curve(preparing, 2, PREPARED, folder),
            },
            "side of an image, pixels": {
                "criterion and its inputs, batch 4": curve(criterion, 64, SIDES, folder),
                f"network and step, width {WIDTH}, batch 1": curve(network, 64, SIDES, folder),
            },
            "batch size": {
                "criterion and its inputs, 256x256": curve(criterion_of, 1, BATCHES, folder),
                f"network and step, width {WIDTH}, 256x256": curve(network_of, 1, BATCHES, folder),
            },
        }
    print(
        "Median time, and the memory beyond what a small job of the kind needs, each row in a process of its own on "
        f"{measure.device_name()}. Images of the store: {STORE_SIDE}x{STORE_SIDE}, written row by row; what is "
        "prepared: PNG files of 100x150. A side of n pixels has n² of them, so that 2 is linear there.\n"
    )
    print("\n\n".join(table(curves, what) for what, curves in groups.items()))
    plot(groups, options.plot)
    print(f"\n![Time and memory against size]({options.plot.name})\n\nMeasured in {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
