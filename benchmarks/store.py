"""A store of the full CBIS-DDSM size: opening it, and random batches against one training step of the full network.

python benchmarks/store.py [--images 1592] [--width 64]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.data.split import Official
from mammoseg.data.store import ArrayFile, Case, Store, write_cases
from mammoseg.losses import DensityASP
from mammoseg.models.au_net import AUNet

SIZE, BATCH = 256, 4


def write_store(folder: Path, number: int) -> None:
    """Noise with square masses: the loader does not look at what is in an image."""
    rng = np.random.default_rng(0)
    images = rng.random((16, SIZE, SIZE), np.float32)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[100:120, 90:110] = 1
    rows: dict[str, Any] = {"images": images, "masks": [mask] * 16, "previews": np.zeros((16, 160, 160), np.uint8)}
    for name in Store.ARRAYS:
        with ArrayFile(folder / f"{name}.npy", number) as array:
            for row in range(number):
                array.append(rows[name][row % 16])
    zeros: dict[str, Any] = {field.name: 0 for field in fields(Case)}
    cases = [
        Case(**zeros | {"case": f"c{n}", "patient": f"p{n // 2}", "density": n % 4 + 1, "side": "L", "view": "CC"})
        for n in range(number)
    ]
    split = ["train" if n < 0.77 * number else "test" for n in range(number)]
    write_cases(
        folder / "cases.csv",
        [Case(**case.__dict__ | {"split": part}) for case, part in zip(cases, split, strict=True)],
    )
    (folder / "about.json").write_text(json.dumps({"skipped": []}))


def training_step(width: int) -> float:
    """Seconds of one step in float32: forward, backward, optimiser."""
    net = AUNet(width=width)
    criterion = DensityASP(theta=[0.5, 0.5, 0.85, 0.95])
    optimizer = torch.optim.Adam(net.parameters())
    image, mask = torch.rand(BATCH, 1, SIZE, SIZE), (torch.rand(BATCH, 1, SIZE, SIZE) > 0.98).float()
    started = time.perf_counter()
    criterion(net(image), mask, torch.arange(BATCH) % 4).mean().backward()
    optimizer.step()
    return time.perf_counter() - started


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=1592)
    arguments.add_argument("--width", type=int, default=64, help="of the AU-Net that the loader is compared with")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), options.images)
        started = time.perf_counter()
        store = Store.open(Path(folder))
        opened = time.perf_counter() - started
        datamodule = MammogramDataModule(
            SimpleNamespace(prepared=lambda: store),  # type: ignore[arg-type]
            Official(),
            batch_size=BATCH,
        )
        datamodule.setup()
        loader = datamodule.train_dataloader()
        started = time.perf_counter()
        batches = sum(1 for _ in loader)
        loaded = (time.perf_counter() - started) / batches
    step = training_step(options.width)
    print("| what | measured |")
    print("|---|---|")
    print(f"| open a store of {options.images} images at {SIZE}x{SIZE} | {1000 * opened:.0f} ms |")
    print(f"| one random batch of {BATCH} from it | {1000 * loaded:.2f} ms |")
    print(f"| one training step of AU-Net, width {options.width}, batch {BATCH}, float32 | {step:.2f} s |")
    print(f"| loader / step | {100 * loaded / step:.3f} % |")


if __name__ == "__main__":
    main()
