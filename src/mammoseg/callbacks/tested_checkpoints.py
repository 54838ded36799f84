"""Loading of the checkpoint with which the images of each test loader are tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from mammoseg.data.split_result import Selection
from mammoseg.errors import UserError
from mammoseg.runs import checkpoint


class TestedCheckpoints(Callback):
    """Loads the weights of checkpoint i before the first batch of test loader i.

    Lightning tests all loaders with the same weights. With this callback, one test covers several checkpoints, and all
    metrics and tables cover the images of all loaders.

    Args:
        paths: Checkpoint for each test loader.

    Raises:
        UserError: In the test, if a checkpoint does not match the network, or was selected on the images of its loader.
    """

    __test__ = False  # pytest collects classes with this prefix

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.loaded: int | None = None

    @override
    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Load the weights again in each test."""
        self.loaded = None

    @override
    def on_test_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Load the weights at the first batch of a loader."""
        if self.loaded == dataloader_idx:
            return
        path = self.paths[dataloader_idx]
        loaded = checkpoint.load_checkpoint(path)
        selection: Selection = trainer.datamodule.selections[dataloader_idx]  # type: ignore[attr-defined]
        if (half := checkpoint.selected_on(loaded)) not in (None, selection.name):
            raise UserError(
                f"{path}: was selected on {half} of the held-out fold and must not be tested on it; restore the file "
                "that the run wrote"
            )
        load_weights(pl_module, loaded["state_dict"], path)
        self.loaded = dataloader_idx


def load_weights(segmenter: lightning.LightningModule, state_dict: Mapping[str, Any], path: Path) -> None:
    """Load weights into a segmenter; parameters of the loss may be missing, as they are in exported checkpoints.

    Args:
        segmenter: Receives the weights.
        state_dict: The weights.
        path: Path of the checkpoint, for error messages.

    Raises:
        UserError: If the weights belong to another network.
    """
    try:
        missing, unexpected = segmenter.load_state_dict(state_dict, strict=False)
    except RuntimeError as error:
        missing, unexpected = [str(error)], []
    if unexpected or not all(name.startswith("criterion.") for name in missing):
        raise UserError(
            f"{path}: the weights do not match the network in the checkpoint's config; use the checkpoint as "
            "written by training"
        )
