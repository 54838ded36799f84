"""The checkpoints that are tested: one, or with split.test=both one for each half of a fold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.callbacks.run_checkpoint import RunCheckpoint, stored_score, upgrade_callback_states
from mammoseg.data.split_result import Selection
from mammoseg.errors import UserError
from mammoseg.runs.folder import RunFolder

log = logging.getLogger(__name__)

MONITOR = "val/dsc"


class BestCheckpoints:
    """Callbacks that write the checkpoints that are tested, by default those with the highest validation DSC.

    Args:
        folder: Run folder.
        selections: Selections of the split; there is one checkpoint for each.
        model_selection: "best" for the epoch with the highest validation DSC, or "last" for the last epoch.

    Attributes:
        callbacks: Callback of each selection.
    """

    def __init__(self, folder: RunFolder, selections: Sequence[Selection], model_selection: str = "best") -> None:
        self.callbacks = [
            RunCheckpoint(
                folder.best_checkpoint_of(selection.name),
                monitor=f"{MONITOR}_{selection.name}" if selection.name else MONITOR,
                mode="max",
                replace_always=model_selection == "last",
            )
            for selection in selections
        ]

    @property
    def paths(self) -> list[Path]:
        """Paths of the checkpoints, in the order of the selections; empty before the first validation."""
        return [Path(callback.best_model_path) for callback in self.callbacks if callback.best_model_path]

    @property
    def score(self) -> float | None:
        """Validation DSC of the tested checkpoint, averaged over the selections; None before the first validation."""
        scores = [callback.best_model_score for callback in self.callbacks]
        known = [float(score) for score in scores if score is not None]
        return sum(known) / len(known) if known else None

    def restore(self, loaded: Mapping[str, Any]) -> None:
        """Restore paths and scores from the last checkpoint of a completed training.

        Args:
            loaded: Content of the checkpoint.

        Raises:
            UserError: If the state of a best checkpoint is missing or invalid.
        """
        states = upgrade_callback_states(loaded["callbacks"])
        for callback in self.callbacks:
            callback.best_model_path = callback.format_checkpoint_name({})
            state = states.get(callback.state_key)
            if not isinstance(state, Mapping):
                raise UserError(f"last.ckpt has no state of {callback.state_key}; restore the file, or train again")
            callback.best_model_score = stored_score(state)


def warn_about_monitors(cfg: DictConfig) -> None:
    """Log a warning if training with split.test=both depends on the validation of both halves, which are tested.

    Args:
        cfg: Composed config of `train`.
    """
    dependent = {
        "patience": OmegaConf.select(cfg, "callbacks.early_stopping.patience") is not None,
        "scheduler.monitor": str(OmegaConf.select(cfg, "scheduler.monitor")).startswith("val/"),
        "sweep=optuna": cfg.trial_number is not None,
    }
    if names := [name for name, depends in dependent.items() if depends]:
        log.warning(
            "split.test=both: %s depends on the validation DSC of both halves of the held-out fold, which are tested, "
            "so the results are slightly optimistic; split.test=half avoids this",
            ", ".join(names),
        )
