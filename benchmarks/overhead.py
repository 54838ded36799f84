"""Overhead of the suite in a training step: criterion, logging, Lightning and data loading.

The baseline is forward pass, backward pass and optimizer of the network. Ends of epochs, validation and checkpoints are
excluded. Measured for the network of the demo and, on a GPU, for the full AU-Net with batch size 4; the GPU is
synchronised after each step.

python benchmarks/overhead.py [--epochs 8] [setting ...]     with settings of train: measured for this network instead
"""

from __future__ import annotations

import argparse
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

from mammoseg.conf import conf_dir
from mammoseg.runs.folder import RunFolder
from mammoseg.segmenter import Segmenter
from mammoseg.train.run import TrainingRun

EPOCHS = 8
DEMO = ["dataset.source.cases=120"]
FULL = ["dataset.size=256", "width=64", "trainer.precision=bf16-mixed"]


class StepTimer(Callback):
    """Times the training steps of each epoch, and then the same number of steps of the bare network."""

    def __init__(self) -> None:
        self.suite: list[float] = []
        self.bare: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Copy the network and load the images."""
        assert isinstance(pl_module, Segmenter)
        self.net = copy.deepcopy(pl_module.net)
        self.optimizer = copy.deepcopy(pl_module).optimizer(self.net.parameters())
        loader = trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        device, memory_format = pl_module.device, pl_module.memory_format
        self.images = [batch["image"].to(device).contiguous(memory_format=memory_format) for batch in loader]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the timing of an epoch."""
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Record the end of the step."""
        synchronize()
        self.ends.append(time.perf_counter())

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Time the steps of the bare network."""
        self.suite += [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]
        for image in self.images:
            synchronize()
            started = time.perf_counter()
            with trainer.precision_plugin.forward_context():
                value = self.net(image).square().mean()  # a loss of negligible cost
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
            synchronize()
            self.bare.append(time.perf_counter() - started)


def synchronize() -> None:
    """Wait until the GPU has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(overrides: Sequence[str], epochs: int, folder: Path) -> tuple[float, float]:
    """Return the median time in seconds of a step with the suite and of a step of the bare network."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg: DictConfig = compose("train", ["logger=csv", f"trainer.max_epochs={epochs}", *overrides])
    timer = StepTimer()
    run = TrainingRun(cfg, RunFolder(folder), {"run": "overhead", "method": "", "dataset": ""})
    run.datamodule.setup()
    run.build_trainer([timer]).fit(run.segmenter, datamodule=run.datamodule)
    n_warmup = len(timer.bare) // epochs  # the first epoch
    return statistics.median(timer.suite[n_warmup:]), statistics.median(timer.bare[n_warmup:])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="setting", help="setting of mammoseg.train, such as width=16")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="number of epochs, of which the first is ignored")
    args = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    cases = {"demo network (width 8, 128x128, batch 4)": DEMO}
    if torch.cuda.is_available():
        cases["full AU-Net (width 64, 256x256, batch 4, bf16)"] = FULL
    if args.settings:
        cases = {", ".join(args.settings): args.settings}
    print(f"Device: {device}. Median time of a training step; both kinds alternate, epoch by epoch.\n")
    print("| network | network only | with the suite | overhead |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for index, (name, overrides) in enumerate(cases.items()):
            suite, bare = measure(overrides, args.epochs, Path(folder) / str(index))
            print(f"| {name} | {1000 * bare:.1f} ms | {1000 * suite:.1f} ms | {100 * (suite / bare - 1):.1f} % |")


if __name__ == "__main__":
    main()
