"""Atomic writing of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from mammoseg.data.split_result import HALVES
from mammoseg.files import atomic_write
from mammoseg.runs.checkpoint import PROVENANCE_KEY, SELECTED_ON_KEY
from mammoseg.runs.folder import RunFolder

SELECTIONS = {RunFolder(Path()).best_checkpoint_of(half).name: half for half in HALVES}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, so that an interrupted write never replaces the last complete checkpoint.

    Lightning writes to the temporary folder of the system and moves the file from there. Between file systems this is a
    copy, which leaves a truncated checkpoint if the process is killed or the disk is full.

    The best checkpoint of one half of the held-out fold contains the name of this half, since it must not be tested on
    the images that selected it, even if the file is renamed.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint atomically; see `TorchCheckpointIO.save_checkpoint`."""
        if half := SELECTIONS.get(Path(path).name):
            provenance = {**checkpoint[PROVENANCE_KEY], SELECTED_ON_KEY: half}
            checkpoint = {**checkpoint, PROVENANCE_KEY: provenance}
        with atomic_write(Path(path), "wb", fsync=True) as file:
            torch.save(checkpoint, file)
