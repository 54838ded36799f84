"""Learning-rate range test (Smith 2017): find_lr=true suggests a learning rate instead of training."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf, open_dict
from typing_extensions import override

from mammoseg import build
from mammoseg.errors import UserError
from mammoseg.files import atomic_write
from mammoseg.launch import distributed
from mammoseg.program import shortest_path
from mammoseg.reports.plotting import save_figure
from mammoseg.runs.folder import RunFolder
from mammoseg.terminal import configure_library_logging
from mammoseg.train.init_from import InitialWeights
from mammoseg.train.interruption import trainer_errors

log = logging.getLogger(__name__)

MIN_LR, MAX_LR, N_STEPS = 1e-6, 1.0, 100
SMOOTHING = 0.9  # weight of the earlier losses in the exponential moving average
SKIPPED_STEPS = 10  # at the beginning, where the average covers few losses
DIVERGENCE = 4.0  # the test stops if the average exceeds its minimum by this factor


class LearningRateRangeTest(Callback):
    """Increases the learning rate exponentially from step to step, and records the loss.

    Parameter groups with different learning rates keep their ratios.

    Attributes:
        lrs: Learning rate of each step.
        losses: Exponential moving average of the training loss after each step.
    """

    def __init__(self) -> None:
        self.lrs: list[float] = []
        self.losses: list[float] = []
        self._average = 0.0
        self._ratios: list[float] = []

    @override
    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Set the learning rate."""
        groups = trainer.optimizers[0].param_groups
        if not self._ratios:
            highest = max(group["lr"] for group in groups)
            self._ratios = [group["lr"] / highest if highest > 0 else 1.0 for group in groups]
        self.lrs.append(MIN_LR * (MAX_LR / MIN_LR) ** (len(self.lrs) / (N_STEPS - 1)))
        for group, ratio in zip(groups, self._ratios, strict=True):
            group["lr"] = self.lrs[-1] * ratio

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Record the loss, and stop if it diverges."""
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * float(outputs["loss"])
        self.losses.append(self._average / (1 - SMOOTHING ** len(self.lrs)))
        if len(self.losses) > SKIPPED_STEPS and not self.losses[-1] <= DIVERGENCE * min(self.losses):
            trainer.should_stop = True


def find_learning_rate(cfg: DictConfig, folder: RunFolder) -> float:
    """Suggest a learning rate from a range test of 100 steps, see `LearningRateRangeTest` and `suggest`.

    Writes lr_finder.csv and lr_finder.png to the run folder and logs the suggestion. The network is not saved.

    Args:
        cfg: Composed config of `train`.
        folder: Run folder.

    Returns:
        The suggested learning rate.

    Raises:
        UserError: If a setting is invalid, or there are too few finite losses.
    """
    if distributed.requested_world_size(cfg.trainer) > 1:
        raise UserError(f"trainer.devices must be 1 with find_lr=true, got {cfg.trainer.devices}")
    configure_library_logging()
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = build.build_datamodule(cfg, training=True)
    segmenter = build.build_segmenter(without_schedule(cfg))
    datamodule.setup()
    segmenter.criterion.fit(datamodule.train_mass_fractions())
    InitialWeights(cfg, folder).load_into(segmenter.net)
    range_test = LearningRateRangeTest()
    trainer = build.build_trainer(range_test_settings(cfg), [range_test], [])
    with trainer_errors():
        trainer.fit(segmenter, datamodule=datamodule)
    lrs, losses = range_test.lrs, range_test.losses
    suggestion = suggest(lrs, losses)
    write_range_test(folder, lrs, losses, suggestion)
    log.info("suggested learning rate: %.2g; to use it: lr=%.2g", suggestion, suggestion)
    log.info("loss at each learning rate: %s", shortest_path(folder.path / "lr_finder.png"))
    return suggestion


def without_schedule(cfg: DictConfig) -> DictConfig:
    """Return the settings with a constant learning rate."""
    settings = cfg.copy()
    settings.scheduler = None
    return settings


def range_test_settings(cfg: DictConfig) -> DictConfig:
    """Return the settings of the trainer of a range test: a number of steps, no validation, no checkpoints."""
    settings = OmegaConf.create({"trainer": cfg.trainer})
    with open_dict(settings):
        settings.trainer.update(
            max_epochs=-1,
            max_steps=N_STEPS,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
    return settings


def suggest(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Return the suggested learning rate.

    It is the smaller one of two estimates: where the loss falls fastest as a function of the logarithm of the learning
    rate, and a tenth of the learning rate with the lowest loss.

    Args:
        lrs: N learning rates in a geometric sequence.
        losses: N smoothed losses.

    Raises:
        UserError: If fewer than three losses remain without the first ones and those that are not finite.

    Example:
        >>> lrs = [10.0**exponent for exponent in range(-13, 0)]
        >>> suggest(lrs, [4.0] * 11 + [1.0, 0.5])
        0.001
    """
    values = np.asarray(losses, dtype=np.float64)[SKIPPED_STEPS:]
    finite = np.isfinite(values)
    if finite.sum() < 3:
        raise UserError(
            f"find_lr: at least 3 finite losses are required after the first {SKIPPED_STEPS} steps, got "
            f"{finite.sum()}; check the loss and the data"
        )
    rates, values = np.asarray(lrs)[SKIPPED_STEPS:][finite], values[finite]
    return float(min(rates[np.gradient(values).argmin()], rates[values.argmin()] / 10))


def write_range_test(folder: RunFolder, lrs: Sequence[float], losses: Sequence[float], suggestion: float) -> None:
    """Write the loss at each learning rate as a table and a figure.

    Args:
        folder: Run folder.
        lrs: Learning rates.
        losses: Smoothed losses.
        suggestion: Suggested learning rate, which the figure marks.
    """
    with atomic_write(folder.path / "lr_finder.csv") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([("lr", "loss"), *zip(lrs, losses, strict=True)])
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.add_subplot()
    axis.plot(lrs, losses)
    axis.axvline(suggestion, color="grey", linestyle="--", label=f"suggestion: {suggestion:.2g}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="smoothed training loss")
    axis.legend()
    save_figure(figure, folder.path / "lr_finder.png")
