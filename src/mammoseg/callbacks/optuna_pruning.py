"""Pruning of unpromising trials of an Optuna search."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import lightning
from hydra.conf import HydraConf
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from typing_extensions import override

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)


class OptunaPruningCallback(Callback):
    """Reports the validation DSC of each epoch to Optuna, and stops training if the pruner decides so.

    Args:
        trial: Trial of this run.
        reported: Epochs, counted from 1, that were reported before the run was interrupted. They are not reported
            again, since Optuna ignores later values of an epoch.

    Attributes:
        pruned_epoch: Epoch, counted from 1, after which training was stopped, or None.
    """

    def __init__(self, trial: optuna.Trial, reported: set[int]) -> None:
        self.trial = trial
        self.reported = reported
        self.pruned_epoch: int | None = None

    @override
    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report the validation DSC, and stop if the trial should be pruned."""
        epoch = trainer.current_epoch + 1
        if epoch % (trainer.check_val_every_n_epoch or 1):
            return  # an epoch without validation
        score = float(trainer.callback_metrics["val/dsc"])  # on all ranks, since reading the value may synchronise them
        prune = False
        if trainer.is_global_zero:
            if epoch not in self.reported:
                self.trial.report(score, epoch)
            prune = self.trial.should_prune()
        if trainer.strategy.broadcast(prune):
            self.pruned_epoch = epoch
            trainer.should_stop = True
            log.info("trial %d pruned after epoch %d", self.trial.number, epoch)


def pruning_callback(hydra: HydraConf, trial_number: int) -> OptunaPruningCallback | None:
    """Build the callback for a trial of the search in `hydra.sweeper`.

    Args:
        hydra: Hydra's own settings of the job.
        trial_number: Number of the trial in the study.

    Returns:
        The callback, or None if the search has no pruner.

    Raises:
        UserError: If Optuna is not installed, or the settings of the pruner are invalid.
    """
    if OmegaConf.select(hydra.sweeper, "pruner") is None:
        return None
    from mammoseg.launch.optuna_sweeper import load_trial  # Optuna is an optional dependency

    trial, reported = load_trial(hydra, trial_number)
    return OptunaPruningCallback(trial, reported)
