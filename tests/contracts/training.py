"""Train a tiny network in this process from the composed config of the train command."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from mammoseg.build import build_callbacks, build_datamodule, build_loggers, build_segmenter, build_trainer
from mammoseg.callbacks.preemption import PreemptionCallback
from mammoseg.conf import conf_dir
from mammoseg.launch.signals import GracefulExit
from mammoseg.loggers.base import RunLogger
from mammoseg.loggers.csv_history import resumable_csv_logger
from mammoseg.segmenter import Segmenter

RUN_INFO = {
    "run": "phantom-tiny-fold0-seed0",
    "experiment": "",
    "dataset": "phantom",
    "method": "au_net-dice",
    "model": "au_net",
    "loss": "dice",
    "fold": 0,
    "seed": 0,
}


def compose_tiny(data: Path, *overrides: str) -> DictConfig:
    """Compose the config of a run with a few steps per epoch on synthetic images, which are prepared once in `data`."""
    source = "mammoseg.phantom.write.write_inbreast"
    dataset = "phantom"
    if "split=official" in overrides:  # not available in the INbreast layout
        source = "mammoseg.phantom.cbis_ddsm.write_cbis_ddsm"
        dataset = "cbis_ddsm"
    tiny = [
        *(f"dataset={dataset}", f"++dataset.source={{_target_: {source}, _partial_: true, cases: 30, height: 208}}"),
        *(f"dataset.root={data}/{dataset}", f"dataset.store={data}/prepared", "dataset.workers=1", "dataset.size=64"),
        *("width=1", "loss=dice", "batch_size=8", "epochs=2", "lr=3e-3", "logger=csv"),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
    ]
    if "sampler=negative_fraction" in overrides:
        tiny.append("dataset.negatives=all")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [*tiny, *overrides])


class History(Callback):
    """Records the learning rate before and the weights after each batch."""

    def __init__(self) -> None:
        self.learning_rates: dict[int, list[float]] = {}  # by epoch; a resumed run may start within an epoch
        self.weights: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        rates = self.learning_rates.setdefault(trainer.current_epoch, [])
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        self.weights.append({name: value.detach().clone() for name, value in pl_module.state_dict().items()})


class SignalAt(Callback):
    """Simulates a signal during batch `batches`, counted from 1."""

    def __init__(self, preemption: PreemptionCallback, batches: int) -> None:
        self.preemption = preemption
        self.batches = batches

    def on_train_batch_start(self, *_: Any) -> None:
        self.batches -= 1
        if self.batches == 0:
            self.preemption._on_signal(15, None)


@dataclass
class Trained:
    """Result of `train`."""

    segmenter: Segmenter
    trainer: lightning.Trainer
    history: History
    run_loggers: list[RunLogger]
    last: Path


def train(cfg: DictConfig, folder: Path, resume: bool = False, signal_at: int | None = None) -> Trained:
    """Fit in `folder` with the required callbacks of a run.

    Args:
        cfg: Config from `compose_tiny`.
        folder: Run folder.
        resume: Resume from `folder`/checkpoints/last.ckpt.
        signal_at: Batch, counted from 1, during which a signal arrives and ends the training.
    """
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule, segmenter = build_datamodule(cfg, training=True), build_segmenter(cfg)
    datamodule.setup()
    segmenter.criterion.fit(datamodule.train_mass_fractions())
    last = folder / "checkpoints" / "last.ckpt"
    history, preemption = History(), PreemptionCallback(last)
    required: list[Callback] = [
        history,
        ModelCheckpoint(dirpath=last.parent, filename="last", enable_version_counter=False),
        *([SignalAt(preemption, signal_at)] if signal_at else []),
        preemption,
    ]
    run_loggers = build_loggers(cfg, folder, dict(RUN_INFO), {})
    with ExitStack() as closing:
        for run_logger in run_loggers:
            closing.callback(run_logger.close)
        first_step = torch.load(last, weights_only=True)["global_step"] if resume else 0
        loggers: list[Logger] = [resumable_csv_logger(folder / "metrics.csv", first_step)]
        loggers += [logger for run_logger in run_loggers for logger in run_logger.loggers()]
        trainer = build_trainer(cfg, build_callbacks(cfg, required), loggers)
        ckpt_path = str(last) if resume else None
        if signal_at is None:
            trainer.fit(segmenter, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
        else:
            with pytest.raises(GracefulExit):
                trainer.fit(segmenter, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
        for run_logger in run_loggers:
            run_logger.log_examples([])
    return Trained(segmenter, trainer, history, run_loggers, last)
