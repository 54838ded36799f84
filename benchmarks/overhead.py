"""Overhead of the criterion and of the suite (Lightning, logging, data loading) in a training step.

The overhead of the criterion is relative to forward pass, backward pass and optimizer of the network, with a loss of
negligible cost; that of the suite is relative to network and criterion. Ends of epochs, validation and checkpoints are
excluded. Measured for the networks of the demo and of the pretrained model and, on a GPU, for the full AU-Net with
batch size 4; the GPU is synchronised after each step.

python benchmarks/overhead.py [--epochs 8] [setting ...]     with settings of train: measured for this network instead
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import lightning
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor

import measure
from mammoseg.batch import Batch
from mammoseg.conf import conf_dir
from mammoseg.models.deep_supervision import deep_supervision_terms, list_outputs
from mammoseg.runs.folder import RunFolder
from mammoseg.segmenter import Segmenter
from mammoseg.train.run import TrainingRun

EPOCHS = 8
Loss = Callable[[Sequence[Tensor], Batch], Tensor]  # (outputs of the network, batch) -> loss
DEMO = ["dataset.source.cases=120"]
PRETRAINED = [
    "method=efficientnet_unet",
    "dataset.size=256",
    "dataset.source.cases=120",
    "trainer.precision=bf16-mixed",
]
FULL = ["dataset.size=256", "width=64", "trainer.precision=bf16-mixed"]


class StepTimer(Callback):
    """Times the training steps of each epoch, and then as many steps of the network without and with the criterion."""

    def __init__(self) -> None:
        self.suite: list[float] = []
        self.network: list[float] = []
        self.with_criterion: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Copy network and criterion, and load the batches."""
        assert isinstance(pl_module, Segmenter)
        self.net, self.criterion = copy.deepcopy(pl_module.net), copy.deepcopy(pl_module.criterion)
        self.optimizer = pl_module.optimizer(self.net.parameters())
        loader = trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        self.batches = [
            {name: value.to(pl_module.device) for name, value in batch.items() if isinstance(value, Tensor)}
            for batch in loader
        ]
        for batch in self.batches:
            batch["image"] = batch["image"].contiguous(memory_format=pl_module.memory_format)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the timing of an epoch."""
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Record the end of the step."""
        measure.synchronize()
        self.ends.append(time.perf_counter())

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Time the steps of the network without and with the criterion."""
        self.suite += [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]
        for loss, times in ((self.negligible_loss, self.network), (self.criterion_loss, self.with_criterion)):
            for batch in self.batches:
                times.append(measure.seconds(partial(self.step, batch, loss, trainer)))

    def step(self, batch: Batch, loss: Loss, trainer: lightning.Trainer) -> None:
        """Take a training step."""
        with trainer.precision_plugin.forward_context():
            value = loss(list_outputs(self.net(batch["image"]), batch["image"]), batch)
        self.optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch
        self.optimizer.step()

    def criterion_loss(self, outputs: Sequence[Tensor], batch: Batch) -> Tensor:
        """Compute the criterion."""
        terms = deep_supervision_terms(self.criterion, outputs, batch["mask"], batch[self.criterion.density_key])
        return torch.stack(list(terms.values())).mean(dim=1).sum()

    def negligible_loss(self, outputs: Sequence[Tensor], _: Batch) -> Tensor:
        """Compute a loss of negligible cost."""
        return measure.negligible_loss(outputs)


def step_times(overrides: Sequence[str], epochs: int, folder: Path) -> list[float]:
    """Return the median time in seconds of a step of the network, of network and criterion, and with the suite."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg: DictConfig = compose("train", ["logger=csv", f"trainer.max_epochs={epochs}", *overrides])
    timer = StepTimer()
    run = TrainingRun(cfg, RunFolder(folder), {"run": "overhead", "method": "", "dataset": ""})
    run.datamodule.setup()
    run.build_trainer([timer]).fit(run.segmenter, datamodule=run.datamodule)
    n_warmup = len(timer.network) // epochs  # the first epoch
    return [statistics.median(times[n_warmup:]) for times in (timer.network, timer.with_criterion, timer.suite)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="setting", help="setting of mammoseg.train, such as width=16")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="number of epochs, of which the first is ignored")
    args = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    cases = {
        "demo network (width 8, 128x128, batch 4)": DEMO,
        "EfficientNetUNet (256x256, batch 8, bf16)": PRETRAINED,
    }
    if torch.cuda.is_available():
        cases["full AU-Net (width 64, 256x256, batch 4, bf16)"] = FULL
    if args.settings:
        cases = {", ".join(args.settings): args.settings}
    print(f"Device: {device}. Median time of a training step; the three kinds alternate, epoch by epoch.\n")
    columns = ("network only", "and criterion", "and suite", "overhead of the criterion", "overhead of the suite")
    print(f"| network | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for index, (name, overrides) in enumerate(cases.items()):
            network, criterion, suite = step_times(overrides, args.epochs, Path(folder) / str(index))
            times = " | ".join(f"{1000 * seconds:.1f} ms" for seconds in (network, criterion, suite))
            overheads = f"{100 * (criterion / network - 1):.1f} % | {100 * (suite / criterion - 1):.1f} %"
            print(f"| {name} | {times} | {overheads} |")


if __name__ == "__main__":
    main()
