"""Checks of the files from which a run is resumed: its last checkpoint and its split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mammoseg.data.split_result import Split
from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.runs import checkpoint
from mammoseg.runs.folder import RunFolder


def load_last_checkpoint(folder: RunFolder) -> dict[str, Any]:
    """Load last.ckpt. Its config is not instantiated.

    Args:
        folder: Run folder.

    Raises:
        UserError: If the file is damaged.
    """
    path = folder.last_checkpoint
    try:
        loaded = checkpoint.load_checkpoint(path)
        if not {"loops", "callbacks", "optimizer_states", "global_step"} <= loaded.keys():
            raise UserError(f"{path}: it contains no state of the training")
    except UserError as error:
        restart = "delete it to start the training from the beginning"
        if best := folder.best_checkpoints():
            # The second of two is written later in an epoch, so it includes the state of the first.
            restart = f"replace it by a copy of {best[-1].name} to resume after the best epoch, or {restart}"
        raise UserError(f"the run cannot be resumed, since {path} is damaged; {restart}") from error
    return loaded


def check_split(folder: RunFolder, split: Split, cases: Sequence[Case]) -> None:
    """Check that images and parts are those of the previous start, so that no training image becomes a test image.

    Args:
        folder: Run folder, whose split.csv was written when the run was started.
        split: Split of this start.
        cases: Cases of the store.

    Raises:
        UserError: If split.csv is missing or describes a different split.
    """
    path = folder.split
    if not path.is_file():
        raise UserError(
            f"{path} is missing, so the run cannot be resumed: it could be tested on images it was trained on; restore "
            "the file, or delete the run folder and start again"
        )
    if split.differs_from(path, cases):
        raise UserError(
            f"{path}: the run cannot be resumed, since images or their parts have changed; restore the dataset and "
            "the file, or use init_from to start a new run from these weights"
        )
