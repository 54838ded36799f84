"""Checkpoints of an ensemble: lists of references and patterns."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from mammoseg.errors import UserError
from mammoseg.runs.discovery import resolve_checkpoints
from mammoseg.runs.folder import EXPORTED_WEIGHTS, RunFolder


def find_checkpoints(references: Sequence[Path], name: str = "ckpt_path") -> list[Path]:
    """Return the paths of all checkpoints to which a setting refers.

    Args:
        references: See `resolve_checkpoints`; also patterns such as multirun/table1-inbreast/au_net-*, whose matches
            are in alphabetical order.
        name: Name of the setting, for error messages.

    Raises:
        UserError: If a pattern has no match, a folder contains no checkpoint, or a checkpoint is named twice.
    """
    paths = [
        path
        for reference in references
        for match in expand_pattern(reference, name)
        for path in resolve_checkpoints(match, name)
    ]
    resolved = [path.resolve() for path in paths]
    if repeated := [path for path in paths if resolved.count(path.resolve()) > 1]:
        raise UserError(f"{name} must name each checkpoint once, got {repeated[0]} twice; remove one")
    return paths


def expand_pattern(reference: Path, name: str) -> list[Path]:
    """Return the checkpoints, exported models and run folders that match a pattern; other matches are ignored.

    A path without wildcards, or of a file with this name, is returned as it is.

    Raises:
        UserError: If nothing matches.
    """
    if not glob.has_magic(str(reference)) or reference.exists():
        return [reference]
    top = Path(reference.anchor)
    try:
        matches = sorted(path for path in top.glob(str(reference.relative_to(top))) if has_checkpoint(path))
    except ValueError as error:
        raise UserError(f"{name}={reference}: not a valid pattern; correct it, or list the checkpoints") from error
    if not matches:
        raise UserError(
            f"{name}={reference}: no checkpoint or run folder matches this pattern; correct it, or list the checkpoints"
        )
    return matches


def has_checkpoint(path: Path) -> bool:
    """Return whether a path is a checkpoint, or a folder that contains a best checkpoint or an exported model."""
    if path.is_dir():
        return bool(RunFolder(path).best_checkpoints()) or (path / EXPORTED_WEIGHTS).is_file()
    return path.suffix in (Path(RunFolder.best_checkpoint.name).suffix, Path(EXPORTED_WEIGHTS).suffix)
