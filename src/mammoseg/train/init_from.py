"""`init_from=`: the weights that a new run starts from."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg.errors import UserError
from mammoseg.runs import checkpoint
from mammoseg.runs.discovery import resolve_checkpoint
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import read_record


def find_init_checkpoint(cfg: DictConfig, folder: RunFolder) -> tuple[Path | None, str | None]:
    """The checkpoint that `init_from` names, and the digest of its content.

    A run that has a checkpoint of its own no longer needs the file, and what `latest` or the file is may have changed
    since: the path is then None, and the digest is the one that was recorded.

    Raises:
        UserError: If there is no such checkpoint.
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
