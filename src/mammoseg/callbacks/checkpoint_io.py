"""Atomic checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from mammoseg.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, so that an interrupted write never replaces the last complete checkpoint.

    Lightning's own writer uses the system's temporary folder, and moving a file from there to another file system is
    a copy: killed or out of disk space in the middle of it, it would leave a truncated checkpoint.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path` atomically."""
        with atomic_write(Path(path), "wb", fsync=True) as file:
            torch.save(checkpoint, file)
