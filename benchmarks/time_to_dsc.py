"""Training time until a validation DSC is reached, compared with the training loop of a public template.

python benchmarks/time_to_dsc.py TEMPLATE [--target 50] [--epochs 12] [--lr 1e-4 [--lr ...]] [setting ...]

TEMPLATE is a clone of https://github.com/milesial/Pytorch-UNet. Its function train_model trains the network on the same
images with the same batch size and initial weights of the encoder, but as it is: with its own loss, optimizer
(RMSprop), learning-rate schedule and gradient clipping, five validations per epoch, which include histograms of the
weights, and without augmentation, deep supervision and averaged weights. The DSC of both is pooled over the pixels of
all validation images. Both use bfloat16 on a CPU if trainer.precision=bf16-mixed. The settings are those of train;
experiment=pretrained is always set. The images are prepared before. The file with the weights of the encoder must be
in the working directory.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import lightning
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

import measure
from mammoseg.conf import conf_dir
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.metrics import DSC
from mammoseg.runs.folder import RunFolder
from mammoseg.train.run import TrainingRun

UNUSED = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")  # imported by the template


class TargetReached(Exception):  # noqa: N818, not an error
    """Ends the training of the template."""


class Stopwatch:
    """Measures the time since its creation, with and without validation, and records the validation DSC."""

    def __init__(self, name: str, target: float) -> None:
        self.name = name
        self.target = target
        self.start = time.perf_counter()
        self.validation = 0.0
        self.best = 0.0

    def start_validation(self) -> None:
        """Exclude the time from now on from the time without validation."""
        self.validation_start = time.perf_counter()

    def end_validation(self, dsc: float) -> None:
        """Record a validation DSC in [0, 1]."""
        now = time.perf_counter()
        self.validation += now - self.validation_start
        self.elapsed = now - self.start
        self.best = max(self.best, 100 * dsc)
        print(f"{self.name}: {self.elapsed:.0f} s, validation DSC {100 * dsc:.2f} %", file=sys.stderr, flush=True)

    @property
    def reached(self) -> bool:
        """Whether the DSC has reached the target."""
        return self.best >= self.target

    def row(self) -> str:
        """Return a row of the table."""
        times = (f"{seconds / 60:.1f} min" for seconds in (self.elapsed, self.elapsed - self.validation))
        return f"| {self.name} | {'yes' if self.reached else 'no'} | {' | '.join(times)} | {self.best:.1f} % |"


class ValidationTimer(Callback):
    """Records the validation DSC of a run of mammoseg, and stops it at the target."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Pause the time without validation."""
        self.stopwatch.start_validation()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record the DSC."""
        self.stopwatch.end_validation(float(trainer.callback_metrics["val/dsc"]))
        trainer.should_stop = self.stopwatch.reached


class TemplateDataset(Dataset[dict[str, Tensor]]):
    """Images in the format of the template."""

    mask_values = (0, 1)

    def __init__(self, datamodule: MammogramDataModule, rows: Sequence[int]) -> None:
        self.store, self.rows = datamodule.store, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = self.rows[index]
        return {"image": torch.tensor(self.store.images[row])[None], "mask": torch.tensor(self.store.masks[row]).long()}


def build_run(settings: Sequence[str], folder: Path) -> TrainingRun:
    """Build a run with its data and initial weights."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["experiment=pretrained", "logger=csv", *settings])
    run = TrainingRun(cfg, RunFolder(folder), {"run": "run", "method": "", "dataset": ""})
    lightning.seed_everything(cfg.seed, verbose=False)
    run.initial_weights.load_into(run.segmenter.net)
    run.datamodule.setup()
    return run


def train_mammoseg(run: TrainingRun, target: float) -> Stopwatch:
    """Train with mammoseg up to the target."""
    stopwatch = Stopwatch("mammoseg", target)
    run.build_trainer([ValidationTimer(stopwatch)]).fit(run.segmenter, datamodule=run.datamodule)
    return stopwatch


def import_template(folder: Path) -> ModuleType:
    """Import the training loop, without torchvision, whose functions it does not call."""
    os.environ["WANDB_MODE"] = "disabled"
    sys.path.insert(0, str(folder.resolve()))
    modules = {name: ModuleType(name) for name in UNUSED}
    for name in UNUSED[1:]:
        parent, _, child = name.rpartition(".")
        setattr(modules[parent], child, modules[name])
    sys.modules.update(modules)
    template = importlib.import_module("train")
    for name in UNUSED:
        del sys.modules[name]
    return template


def train_template(template: ModuleType, run: TrainingRun, target: float, lr: float) -> Stopwatch:
    """Train with the loop of the template up to the target."""
    cfg, datamodule, device = run.cfg, run.datamodule, measure.device()
    net: Any = run.segmenter.net.to(device, memory_format=torch.channels_last)
    net.n_channels, net.n_classes = 1, 1
    parts = [TemplateDataset(datamodule, list(rows)) for rows in (datamodule.split.train, datamodule.split.val)]
    stopwatch = Stopwatch(f"template, learning rate {lr:g}", target)

    def evaluate(net: nn.Module, _: object, device: torch.device, amp: bool) -> Tensor:
        stopwatch.start_validation()
        dsc = pooled_dsc(net, datamodule, device, amp)
        stopwatch.end_validation(dsc)
        if stopwatch.reached:
            raise TargetReached
        return torch.tensor(dsc)

    replaced: dict[str, Any] = {
        "CarvanaDataset": lambda *_: ConcatDataset(parts),
        "random_split": lambda *_, **__: parts,
        "evaluate": evaluate,
        "os": SimpleNamespace(cpu_count=lambda: cfg.num_workers),
    }
    amp = cfg.trainer.precision == "bf16-mixed"
    with patch.multiple(template, **replaced), suppress(TargetReached):
        template.train_model(net, device, cfg.epochs, cfg.batch_size, lr, save_checkpoint=False, amp=amp)
    return stopwatch


@torch.inference_mode()
def pooled_dsc(net: nn.Module, datamodule: MammogramDataModule, device: torch.device, amp: bool) -> float:
    """Return the DSC on the validation images, pooled over their pixels."""
    net.eval()
    dsc = DSC()
    for batch in datamodule.val_dataloader()[0]:
        image = batch["image"].to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            logits = net(image)
        dsc.update(logits.cpu() > 0, batch["mask"], batch["density"])
    net.train()
    return float(dsc.compute())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("template", type=Path)
    parser.add_argument("--target", type=float, default=50.0, help="validation DSC in %%")
    parser.add_argument("--epochs", type=int, default=12, help="largest number of epochs of the template")
    parser.add_argument("--lr", type=float, action="append", help="learning rate of the template, 1e-4 by default")
    args, settings = parser.parse_known_args()
    template = import_template(args.template)
    without = ["augment=none", "model.deep_supervision=1", f"epochs={args.epochs}"]
    stopwatches = []
    with tempfile.TemporaryDirectory() as name:
        for lr in args.lr or [1e-4]:
            run = build_run([*settings, *without], Path(name) / f"{lr:g}")
            stopwatches.append(train_template(template, run, args.target, lr))
        stopwatches.append(train_mammoseg(build_run(settings, Path(name) / "mammoseg"), args.target))
    print(f"Device: {measure.device_name()}. Target: validation DSC of {args.target:g} %.\n")
    columns = ("loop", "target reached", "time", "time without validation", "highest DSC")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for stopwatch in stopwatches[::-1]:
        print(stopwatch.row())


if __name__ == "__main__":
    main()
