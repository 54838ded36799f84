"""A store of the full CBIS-DDSM size: opening it, and random batches against one training step of the full network.

python benchmarks/store.py [--images 1592] [--width 64]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

import measure
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.data.sampling import AugmentedDataset, BatchDataset, ShardedBatchSampler, StatefulDataLoader
from mammoseg.data.split import Official
from mammoseg.data.store import Case, NpyWriter, PreparedStore, write_cases

SIZE, BATCH = 256, 4


def write_store(folder: Path, number: int, size: int = SIZE) -> None:
    """Noise with square masses: the loader does not look at what is in an image."""
    rng = np.random.default_rng(0)
    images = rng.random((16, size, size), np.float32)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 3 : size // 2, size // 3 : size // 2] = 1
    rows: dict[str, Any] = {"images": images, "masks": [mask] * 16, "previews": np.zeros((16, 160, 160), np.uint8)}
    for name in PreparedStore.ARRAYS:
        with NpyWriter(folder / f"{name}.npy", number) as array:
            for row in range(number):
                array.append(rows[name][row % 16])
    zeros: dict[str, Any] = {field.name: 0 for field in fields(Case)}
    cases = [
        Case(**zeros | {"case": f"c{n}", "patient": f"p{n // 2}", "density": n % 4 + 1, "side": "L", "view": "CC"})
        for n in range(number)
    ]
    split = ["train" if n // 2 < 0.77 * number / 2 else "test" for n in range(number)]
    write_cases(
        folder / "cases.csv",
        [Case(**case.__dict__ | {"split": part}) for case, part in zip(cases, split, strict=True)],
    )
    (folder / "about.json").write_text(json.dumps({"skipped": []}))


def training_step(width: int, where: torch.device) -> float:
    """Seconds of one step as it is taken by default, on a GPU in bf16: forward, backward, optimiser."""
    from step import Options, Training  # scaling.py imports both

    training = Training(Options(channels_last=True, fused=True, bf16=where.type == "cuda"), width, BATCH)
    if where.type == "cuda":
        return measure.interleaved({"step": training.step}, 10)["step"]
    return measure.seconds(training.step)  # a second one takes as long, half a minute


def epoch(loader: DataLoader, where: torch.device) -> float:
    """Seconds of a batch, until it is on the device."""

    def all_of_it() -> None:
        for batch in loader:
            for value in batch.values():
                value.to(where, non_blocking=True)

    return measure.interleaved({"epoch": all_of_it}, 3, warmup=1)["epoch"] / len(loader)


def loaders(store: PreparedStore, where: torch.device) -> dict[str, DataLoader]:
    """Ways to the batches of the training part."""
    module = MammogramDataModule(
        SimpleNamespace(open_store=lambda: store, on_device=False),  # type: ignore[arg-type]
        Official(),
        batch_size=BATCH,
    )
    module.setup()
    batches = ShardedBatchSampler(module.split.train, BATCH, seed=0, train=True)
    return {
        "sample by sample, as augmentation needs it": StatefulDataLoader(
            AugmentedDataset(store, lambda *pair: pair[:2], 0), batches
        ),
        "gathered at once, the default": module.train_dataloader(),
        "dataset.on_device=true": StatefulDataLoader(BatchDataset(store, where), batches),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=1592)
    arguments.add_argument("--width", type=int, default=64, help="of the AU-Net that the loader is compared with")
    options = arguments.parse_args()
    where = measure.device()
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), options.images)
        opened = measure.interleaved({"open": lambda: PreparedStore.open(Path(folder))}, 5)["open"]
        times = {
            name: epoch(loader, where) for name, loader in loaders(PreparedStore.open(Path(folder)), where).items()
        }
    step = training_step(options.width, where)
    print(f"On {measure.device_name()}; one process, no workers.\n")
    print("| what | measured | of a training step |")
    print("|---|---|---|")
    print(f"| open a store of {options.images} images at {SIZE}x{SIZE} | {1000 * opened:.0f} ms | |")
    print(f"| one training step of AU-Net, width {options.width}, batch {BATCH} | {step:.2f} s | |")
    for name, spent in times.items():
        print(f"| a random batch of {BATCH}: {name} | {1000 * spent:.2f} ms | {100 * spent / step:.4f} % |")


if __name__ == "__main__":
    main()
