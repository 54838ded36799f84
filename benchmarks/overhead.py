"""What the suite adds to a training step: criterion, logging, Lightning and the loading of batches, against the bare
network's forward, backward and optimiser; epoch ends, validation and checkpoints are not in it. On the demo's network;
on a GPU also on the full AU-Net, batch 4, each step waited for, so that the host does not run ahead.

python benchmarks/overhead.py
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from mammoseg.cli import conf_dir
from mammoseg.runs.folder import RunFolder
from mammoseg.segmenter import Segmenter
from mammoseg.train.run import TrainingRun

EPOCHS = 8
DEMO = ["dataset.source.cases=120"]
FULL = ["dataset.size=256", "width=64", "trainer.precision=bf16-mixed"]


class Bare(Callback):
    """Times the training steps of an epoch, then as many of the network alone, epoch after epoch."""

    def __init__(self) -> None:
        self.suite: list[float] = []
        self.bare: list[float] = []
        self.parts: dict[str, float] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Segmenter)
        self.net = copy.deepcopy(pl_module.net)
        self.optimizer = copy.deepcopy(pl_module).optimizer(self.net.parameters())
        loader = trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        device, layout = pl_module.device, pl_module.memory_format
        self.images = [batch["image"].to(device).contiguous(memory_format=layout) for batch in loader]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        wait()
        self.ends.append(time.perf_counter())

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.suite += [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        for image in self.images:
            wait()
            began = time.perf_counter()
            with trainer.precision_plugin.forward_context():
                value = self.net(image).square().mean()  # a loss that costs next to nothing
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
            wait()
            self.bare.append(time.perf_counter() - began)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(overrides: Sequence[str], folder: Path) -> tuple[float, float]:
    """Median seconds of a step with the suite, and of the bare network's."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg: DictConfig = compose("train", ["logger=csv", f"trainer.max_epochs={EPOCHS}", *overrides])
    clock = Bare()
    run = TrainingRun(cfg, RunFolder(folder), {"run": "overhead", "method": "", "dataset": ""})
    run.datamodule.setup()
    run.trainer([clock]).fit(run.segmenter, datamodule=run.datamodule)
    first = len(clock.bare) // EPOCHS  # of the first epoch, which warms up
    return statistics.median(clock.suite[first:]), statistics.median(clock.bare[first:])


def main() -> None:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    cases = {"demo network (width 8, 128x128, batch 4)": DEMO}
    if torch.cuda.is_available():
        cases["full AU-Net (width 64, 256x256, batch 4, bf16)"] = FULL
    print(f"Device: {device}. Steps of both kinds alternate, epoch by epoch; medians.\n")
    print("| network | bare step | step with the suite | overhead |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        for number, (name, overrides) in enumerate(cases.items()):
            suite, bare = measure(overrides, Path(place) / str(number))
            print(f"| {name} | {1000 * bare:.1f} ms | {1000 * suite:.1f} ms | {100 * (suite / bare - 1):.1f} % |")


if __name__ == "__main__":
    main()
