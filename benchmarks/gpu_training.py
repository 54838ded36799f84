"""Training steps of the GPU benchmarks: settings of the runs, and the number of epochs that fit into the time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

METHODS = {"hybrid_pixel": "au_net", "density_asp": "density_asp"}  # method by name of the run
CALIBRATION_EPOCHS = 4
MEASURED_EPOCHS = 2  # the last ones; in the first ones, CUDA libraries are initialised and memory is allocated
MAX_EPOCHS = 120
# Fraction of the remaining time for which epochs are planned, since their duration varies.
USED_FRACTION = 0.85
RESUME_S = 45.0  # to stop at the end of a slice and to resume in the next one, at full width
COMPARE_S = 30.0
BF16_SPEEDUP = 1.1  # of the training step, from which bf16-mixed is used


@dataclass(frozen=True)
class Durations:
    """Durations of a run in seconds.

    Attributes:
        epoch: One epoch with validation and checkpoints, after the first ones.
        fixed: Start, test and reports, and the additional time of the first epochs.
    """

    epoch: float
    fixed: float


@dataclass(frozen=True)
class TrainingPlan:
    """Settings that are determined from the measurements.

    Attributes:
        epochs: Number of epochs of each run.
        lr_decay_epochs: Epochs between halvings of the learning rate: a third of the epochs, as in the paper.
        remark: How they were determined.
    """

    epochs: int
    lr_decay_epochs: int
    remark: str


def choose_precision(step_table: str, is_gpu: bool) -> tuple[str, str]:
    """Return `trainer.precision` and the reason.

    Args:
        step_table: Output of benchmarks/step.py; empty if it failed.
        is_gpu: Whether there is a GPU; used without a table.
    """
    times = {
        name: float(found.group(1))
        for name in ("channels_last, fused: the default", "the default and bf16")
        if (found := re.search(rf"^\| {re.escape(name)} \| (\d+(?:\.\d+)?) ms", step_table, re.MULTILINE))
    }
    if len(times) < 2:
        return ("bf16-mixed" if is_gpu else "32-true"), "the step benchmark has no result"
    float32, bf16 = times.values()
    chosen = "bf16-mixed" if float32 >= BF16_SPEEDUP * bf16 else "32-true"
    return chosen, f"a training step takes {float32:.1f} ms in 32-true and {bf16:.1f} ms in bf16-mixed"


def epoch_durations(log: str, seconds: float) -> Durations:
    """Return the durations of a run.

    Args:
        log: Content of train.log, with one line per epoch that starts with the time.
        seconds: Duration of the command.

    Raises:
        ValueError: If the log has fewer than two epochs.
    """
    lines = re.findall(r"^(\d\d:\d\d:\d\d) \S+ epoch \d+/\d+ ", log, re.MULTILINE)
    if len(lines) < 2:
        raise ValueError(f"train.log must have at least two epochs, got {len(lines)}")
    measured = lines[-MEASURED_EPOCHS - 1 :]
    first, last = (datetime.strptime(line, "%H:%M:%S") for line in (measured[0], measured[-1]))
    # The times in the log are truncated to seconds, which is a second of uncertainty of the difference.
    epoch = max((last - first).seconds, 0.5) / (len(measured) - 1)
    return Durations(epoch, max(seconds - len(lines) * epoch, 0.0))


def plan_training(
    durations: Durations, left_s: float, slice_s: float, slice_left_s: float, max_epochs: int = MAX_EPOCHS
) -> TrainingPlan:
    """Choose the number of epochs, equal for all runs, so that all of them finish in the remaining time.

    Args:
        durations: Durations of a run.
        left_s: Remaining time of all slices in seconds.
        slice_s: Duration of a slice in seconds.
        slice_left_s: Remaining time of the current slice in seconds.
        max_epochs: Maximum number of epochs.

    Example:
        >>> plan_training(Durations(epoch=10, fixed=20), left_s=600, slice_s=540, slice_left_s=60).epochs
        19
        >>> plan_training(Durations(epoch=10, fixed=20), left_s=600, slice_s=900, slice_left_s=700).epochs
        22
    """
    n_further_slices = max(math.ceil((left_s - slice_left_s) / slice_s), 0)
    available = USED_FRACTION * (left_s - COMPARE_S) - len(METHODS) * durations.fixed - n_further_slices * RESUME_S
    fitting = math.floor(available / (len(METHODS) * durations.epoch))
    epochs = min(max(fitting, 1), max_epochs)
    remark = f"{durations.epoch:.1f} s per epoch, {durations.fixed:.0f} s per run otherwise, {left_s / 60:.1f} min left"
    if fitting < 1:
        remark += "; both runs will probably not finish in this time"
    return TrainingPlan(epochs, max(round(epochs / 3), 1), remark)


def dataset_settings(data: Path, store: Path, size: int) -> list[str]:
    """Return the settings of the dataset, for `train` and `prepare`."""
    return [
        *("dataset=folder", f"dataset.root={data}", f"dataset.store={store}", f"dataset.size={size}"),
        "dataset.crop=film",  # as in experiment=table2
    ]


def training_settings(width: int, precision: str, plan: TrainingPlan) -> list[str]:
    """Return the settings of a run, except those of the dataset, the method and the folder."""
    return [
        *("split=official", "theta=cbis_ddsm", "dataset.on_device=true", f"width={width}", "batch_size=4"),
        *(f"trainer.precision={precision}", f"epochs={plan.epochs}", f"lr_decay_epochs={plan.lr_decay_epochs}"),
        *("logger=csv", "trainer.enable_progress_bar=false"),
    ]
