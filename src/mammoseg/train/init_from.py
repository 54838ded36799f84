"""Resolution of `init_from`, the initial weights of a run."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg.errors import UserError
from mammoseg.runs import checkpoint
from mammoseg.runs.checkpoint_paths import resolve_checkpoint
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import read_record


def find_init_checkpoint(cfg: DictConfig, folder: RunFolder) -> tuple[Path | None, str | None]:
    """Find the checkpoint with the initial weights.

    A run that has already written a checkpoint does not need the initial weights. The file may have changed or moved
    since the start of the run, so its recorded hash is used.

    Args:
        cfg: Composed config of `train`.
        folder: Run folder.

    Returns:
        Path of the checkpoint, None if it is not needed, and hash of its content, None without `init_from`.

    Raises:
        UserError: If the checkpoint does not exist.
    """
    if cfg.init_from is None:
        return None, None
    stored = read_record(folder)
    if stored is not None and stored.settings.get("init_from") and folder.last_checkpoint.is_file():
        return None, str(stored.settings["init_from"])
    path = resolve_checkpoint(cfg.init_from, "init_from")
    if not path.is_file():
        raise UserError(f"init_from={cfg.init_from}: no such checkpoint; give a checkpoint or a run folder")
    return path, checkpoint.file_digest(path)
