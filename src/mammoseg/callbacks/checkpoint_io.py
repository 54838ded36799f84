"""Atomic writing of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from mammoseg.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, so that an interrupted write never replaces the last complete checkpoint.

    Lightning writes to the temporary folder of the system and moves the file from there. Between file systems this is a
    copy, which leaves a truncated checkpoint if the process is killed or the disk is full.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint atomically; see `TorchCheckpointIO.save_checkpoint`."""
        with atomic_write(Path(path), "wb", fsync=True) as file:
            torch.save(checkpoint, file)
