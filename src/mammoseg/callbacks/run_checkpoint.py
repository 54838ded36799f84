"""The last and the best checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from typing_extensions import override

from mammoseg.errors import UserError

BEST = "best"


class RunCheckpoint(ModelCheckpoint):
    """Writes last.ckpt or a best checkpoint.

    Its state has a key of its own in the checkpoint, so that users can add other ModelCheckpoint callbacks with any
    arguments.

    Args:
        path: Path of the checkpoint.
        replace_always: Whether a later epoch replaces the checkpoint even if the monitored metric is worse.
        **kwargs: Arguments of ModelCheckpoint, such as `monitor`.
    """

    def __init__(self, path: Path, replace_always: bool = False, **kwargs: Any) -> None:
        self.replace_always = replace_always
        super().__init__(dirpath=path.parent, filename=path.stem, enable_version_counter=False, **kwargs)

    @override
    def check_monitor_top_k(self, trainer: lightning.Trainer, current: torch.Tensor | None = None) -> bool:
        """Return whether the checkpoint is replaced."""
        return self.replace_always or super().check_monitor_top_k(trainer, current)

    @property
    @override
    def state_key(self) -> str:
        """Key of the state in a checkpoint."""
        return state_key(str(self.filename))

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the score of best.ckpt.

        Paths in the state are ignored: Lightning reads, and deletes, the files at these paths, and the checkpoint may
        be from somebody else. The path of the checkpoint is known.

        Args:
            state_dict: State of a checkpoint.

        Raises:
            UserError: If the score is not a number.
        """
        path = f"{self.dirpath}/{self.filename}{self.FILE_EXTENSION}"
        if self.monitor is None:
            self.best_model_path = path
        elif (score := stored_score(state_dict)) is not None:
            self.best_model_path = self.kth_best_model_path = path
            self.best_model_score = self.kth_value = score
            self.best_k_models = {path: score}


def stored_score(state: Mapping[str, Any]) -> torch.Tensor | None:
    """Return the score in the state of a `RunCheckpoint`; None if there was no validation yet.

    Raises:
        UserError: If it is not a number.
    """
    score = state.get("best_model_score")
    if score is None:
        return None
    if isinstance(score, torch.Tensor) and score.numel() == 1 and score.is_floating_point() and not score.isnan().any():
        return score.reshape(())
    raise UserError("the score of best.ckpt in last.ckpt must be a number; replace last.ckpt by a copy of best.ckpt")


def state_key(name: str) -> str:
    """Return the key of the state of the callback that writes `name`.ckpt.

    Example:
        >>> state_key("best")
        'RunCheckpoint(best)'
    """
    return f"RunCheckpoint({name})"


def checkpoint_name(key: str) -> str:
    """Return the name of the checkpoint to which a key of `state_key` belongs.

    Example:
        >>> checkpoint_name(state_key("best"))
        'best'
    """
    return key.removeprefix("RunCheckpoint(").removesuffix(")")


def best_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states of the callbacks that write the best checkpoints of a run, by key.

    Args:
        states: State of each callback by key, see `upgrade_callback_states`.
    """
    return {key: states[key] for key in sorted(states) if key.startswith(f"RunCheckpoint({BEST}")}


def upgrade_callback_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the states of checkpoints that were written by ModelCheckpoint, as before version 0.2.

    Args:
        states: State of each callback by key.

    Returns:
        A copy with current keys.
    """
    upgraded = dict(states)
    if state_key("last") not in upgraded:
        for key in [key for key in states if key.startswith("ModelCheckpoint{")]:
            monitored = isinstance(states[key], Mapping) and states[key].get("monitor") is not None
            upgraded.setdefault(state_key(BEST if monitored else "last"), upgraded.pop(key))
    return upgraded
