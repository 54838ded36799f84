"""Opening a prepared dataset of the size of CBIS-DDSM and reading random batches, compared with a training step.

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


def write_store(folder: Path, n_images: int, size: int = SIZE) -> None:
    """Write a prepared dataset of noise images with square masses."""
    rng = np.random.default_rng(0)
    images = rng.random((16, size, size), np.float32)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 3 : size // 2, size // 3 : size // 2] = 1
    rows: dict[str, Any] = {"images": images, "masks": [mask] * 16, "previews": np.zeros((16, 160, 160), np.uint8)}
    for name in PreparedStore.ARRAYS:
        with NpyWriter(folder / f"{name}.npy", n_images) as array:
            for row in range(n_images):
                array.append(rows[name][row % 16])
    zeros: dict[str, Any] = {field.name: 0 for field in fields(Case)}
    cases = [
        Case(
            **zeros
            | {
                "case": f"c{n}",
                "patient": f"p{n // 2}",
                "density": n % 4 + 1,
                "estimated_density": 1,
                "masses": 1,
                "mass_area": 1,
                "mass_pixels": 1,
                "side": "L",
                "view": "CC",
            }
        )
        for n in range(n_images)
    ]
    split = ["train" if n // 2 < 0.77 * n_images / 2 else "test" for n in range(n_images)]
    write_cases(
        folder / "cases.csv",
        [Case(**case.__dict__ | {"split": part}) for case, part in zip(cases, split, strict=True)],
    )
    (folder / "about.json").write_text(json.dumps({"skipped": []}))


def training_step_seconds(width: int, device: torch.device) -> float:
    """Return the time of a training step of AU-Net in seconds, with bf16 on a GPU."""
    from step import Network, Options, Training  # scaling.py imports both

    options = Options(channels_last=True, fused=True, bf16=device.type == "cuda")
    training = Training(options, Network("au_net", width), BATCH)
    if device.type == "cuda":
        return measure.interleaved({"step": training.step}, 10)["step"]
    return measure.seconds(training.step)  # one step takes half a minute on a CPU


def batch_seconds(loader: DataLoader[Any], device: torch.device) -> float:
    """Return the time to read a batch and move it to the device in seconds."""

    def read_all() -> None:
        for batch in loader:
            for value in batch.values():
                value.to(device, non_blocking=True)

    return measure.interleaved({"epoch": read_all}, 3, warmup=1)["epoch"] / len(loader)


def train_loaders(store: PreparedStore, device: torch.device) -> dict[str, DataLoader[Any]]:
    """Return the data loaders of the training set by description."""
    module = MammogramDataModule(
        SimpleNamespace(open_store=lambda **_: store, on_device=False, with_negatives=False),  # type: ignore[arg-type]
        Official(),
        batch_size=BATCH,
    )
    module.setup()
    batches = ShardedBatchSampler(module.split.train, BATCH, seed=0, train=True)
    return {
        "sample by sample, as with augmentation": StatefulDataLoader(
            AugmentedDataset(store, lambda *pair: pair[:2], 0), batches
        ),
        "in one indexing operation, the default": module.train_dataloader(),
        "dataset.on_device=true": StatefulDataLoader(BatchDataset(store, device), batches),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1592)
    parser.add_argument("--width", type=int, default=64, help="width of the AU-Net of the training step")
    args = parser.parse_args()
    device = measure.device()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder, args.images)
        open_seconds = measure.interleaved({"open": lambda: PreparedStore.open(folder)}, 5)["open"]
        loaders = train_loaders(PreparedStore.open(folder), device)
        times = {label: batch_seconds(loader, device) for label, loader in loaders.items()}
    step = training_step_seconds(args.width, device)
    print(f"On {measure.device_name()}; one process, no workers.\n")
    print("| operation | time | fraction of a training step |")
    print("|---|---|---|")
    print(f"| open a prepared dataset of {args.images} images at {SIZE}x{SIZE} | {1000 * open_seconds:.0f} ms | |")
    print(f"| training step of AU-Net, width {args.width}, batch size {BATCH} | {step:.2f} s | |")
    for label, seconds in times.items():
        print(f"| random batch of {BATCH}: {label} | {1000 * seconds:.2f} ms | {100 * seconds / step:.4f} % |")


if __name__ == "__main__":
    main()
