"""Check of the metrics that early stopping and the learning-rate scheduler monitor, before training starts.

Lightning looks for a monitored metric when it is needed, at the end of the first epoch or later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mammoseg.errors import UserError
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.schema.types import did_you_mean
from mammoseg.segmenter import Segmenter

LIBRARIES = ("lightning", "mammoseg")  # their callbacks log no other metrics


def check_monitored_metrics(segmenter: Segmenter, callbacks: Sequence[Callback]) -> None:
    """Check the monitored metrics of early stopping and of the scheduler.

    Args:
        segmenter: The LightningModule.
        callbacks: All callbacks of the trainer.

    Raises:
        UserError: If a metric is not logged, is optimised in the wrong direction, or has no effect.
    """
    modes = metric_modes(segmenter)
    others = any(type(callback).__module__.partition(".")[0] not in LIBRARIES for callback in callbacks)
    validation = {name: mode for name, mode in modes.items() if name.startswith("val/")}
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            _check("callbacks.early_stopping", callback.monitor, callback.mode, validation, others_allowed=others)
    if segmenter.scheduler is not None:
        _check_scheduler(segmenter.scheduler, modes, others_allowed=others)


def metric_modes(segmenter: Segmenter) -> dict[str, str]:
    """Return "min" or "max" for each metric that is logged in training: whether lower or higher values are better."""
    pixel = {f"val/{name}": "max" if metric.higher_is_better else "min" for name, metric in PIXEL_METRICS.items()}
    losses = ["val/loss", "train/loss", *(f"train/{term}" for term in segmenter.criterion.summands)]
    return {**pixel, **dict.fromkeys(losses, "min")}


def _check_scheduler(config: Mapping[str, Any], modes: Mapping[str, str], *, others_allowed: bool) -> None:
    scheduler, monitor = config["scheduler"], config.get("monitor")
    target = scheduler.func if isinstance(scheduler, partial) else scheduler
    if not (isinstance(target, type) and issubclass(target, ReduceLROnPlateau)):
        if monitor is not None:
            name = getattr(target, "__name__", type(target).__name__)
            raise UserError(f"scheduler.monitor must be null, since {name} uses no metric, got {monitor}")
        return
    if config["interval"] != "epoch":
        raise UserError(
            f"scheduler.interval must be epoch with ReduceLROnPlateau, which uses a metric of the epoch, got "
            f"{config['interval']}"
        )
    mode = scheduler.keywords.get("mode", "min") if isinstance(scheduler, partial) else "min"
    _check("scheduler", monitor, mode, modes, others_allowed=others_allowed, mode_name="scheduler.scheduler.mode")


def _check(
    section: str,
    monitor: str | None,
    mode: str,
    modes: Mapping[str, str],
    *,
    others_allowed: bool,
    mode_name: str = "",
) -> None:
    if monitor is None or monitor not in modes:
        if monitor is not None and others_allowed:
            return
        raise UserError(
            f"{section}.monitor must be one of {', '.join(modes)}, got {'null' if monitor is None else monitor}"
            f"{did_you_mean(monitor, modes)}"
        )
    if mode != modes[monitor]:
        raise UserError(
            f"{mode_name or f'{section}.mode'} must be {modes[monitor]} with {section}.monitor={monitor}, got {mode}"
        )
