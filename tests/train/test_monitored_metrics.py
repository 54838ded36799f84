"""Metrics that early stopping and the scheduler monitor are checked before training."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from mammoseg.errors import UserError
from mammoseg.losses import DensityASP
from mammoseg.models.au_net import AUNet
from mammoseg.segmenter import Segmenter
from mammoseg.train.monitored_metrics import check_monitored_metrics, metric_modes

PLATEAU = {"scheduler": partial(ReduceLROnPlateau, mode="max"), "interval": "epoch", "monitor": "val/dsc"}
STEP = {"scheduler": partial(StepLR, step_size=1), "interval": "epoch", "monitor": None}


class LogsOtherMetrics(Callback):
    """A callback of a user, which may log any metric."""


def segmenter(scheduler: dict[str, Any] | None = None) -> Segmenter:
    return Segmenter(AUNet(1), DensityASP([0.5, 0.5, 0.85, 0.95]), torch.optim.Adam, scheduler)


def test_modes_of_the_logged_metrics() -> None:
    modes = metric_modes(segmenter())
    assert modes["val/dsc"] == modes["val/sensitivity"] == "max"
    assert modes["val/loss"] == modes["val/area_difference"] == modes["train/rmi"] == "min"


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({**STEP, "monitor": "val/dsc"}, "scheduler.monitor must be null, since StepLR uses no metric"),
        ({**PLATEAU, "monitor": "val/dcs"}, "did you mean val/dsc"),
        ({**PLATEAU, "monitor": None}, "scheduler.monitor must be one of .* got null"),
        ({**PLATEAU, "interval": "step"}, "scheduler.interval must be epoch"),
        ({**PLATEAU, "monitor": "val/loss"}, "scheduler.scheduler.mode must be min"),
    ],
)
def test_invalid_scheduler(scheduler: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_monitored_metrics(segmenter(scheduler), [])


@pytest.mark.parametrize("scheduler", [None, STEP, PLATEAU])
def test_valid_settings(scheduler: dict[str, Any] | None) -> None:
    callbacks = [EarlyStopping("val/dsc", mode="max"), EarlyStopping("val/loss", mode="min")]
    check_monitored_metrics(segmenter(scheduler), callbacks)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping("abc"), "callbacks.early_stopping.monitor must be one of val/dsc, .* got abc"),
        (EarlyStopping("train/loss"), "callbacks.early_stopping.monitor must be one of val/dsc"),
        (EarlyStopping("val/dsc", mode="min"), "callbacks.early_stopping.mode must be max"),
    ],
)
def test_invalid_early_stopping(callback: Callback, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_monitored_metrics(segmenter(), [callback])


def test_a_callback_of_a_user_may_log_another_metric() -> None:
    check_monitored_metrics(segmenter(), [LogsOtherMetrics(), EarlyStopping("mine")])
