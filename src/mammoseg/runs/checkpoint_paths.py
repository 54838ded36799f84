"""Lookup of checkpoints: the checkpoint of a run, and lists and patterns for ensembles."""

from __future__ import annotations

import glob
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mammoseg.errors import UserError
from mammoseg.exported_model import WEIGHTS_FILE
from mammoseg.pretrained.registry import find_model, is_installed
from mammoseg.runs.discovery import LATEST, latest_run
from mammoseg.runs.folder import RunFolder

CHECKPOINT_SUFFIXES = (Path(RunFolder.best_checkpoint.name).suffix, Path(WEIGHTS_FILE).suffix)
RENAME = "rename it to use the pretrained model of the same name"


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
        return bool(RunFolder(path).best_checkpoints()) or (path / WEIGHTS_FILE).is_file()
    return path.suffix in CHECKPOINT_SUFFIXES


def is_model_name(reference: str) -> bool:
    """Return whether a reference can be the name of a pretrained model: it has no separator and no suffix of a file.

    Example:
        >>> is_model_name("au_net"), is_model_name("au_net-1.5"), is_model_name("runs/au_net"), is_model_name("net.pth")
        (True, True, False, False)
    """
    return Path(reference).name == reference != LATEST and not Path(reference).suffix[1:2].isalpha()


def resolve_checkpoints(reference: str | Path, name: str = "ckpt_path") -> list[Path]:
    """Return the paths of the checkpoints to which a setting refers.

    Args:
        reference: A checkpoint, an exported model or its folder, a run folder (its best checkpoint, or the two of a run
            with split.test=both), "latest" (the same of the newest finished run at or below the working directory), or
            the name of a pretrained model, unless a file or folder has this name.
        name: Name of the setting, for error messages.

    Raises:
        UserError: If a folder contains no checkpoint, there is no finished run, there is no such model, or a file with
            its name is not a checkpoint.
    """
    path = latest_run(finished=True).path if str(reference) == LATEST else Path(str(reference)).expanduser()
    if is_model_name(str(reference)) and not path.exists():
        return [find_model(str(reference), name, "file, folder or pretrained model").weights]
    hides_model = is_model_name(str(reference)) and is_installed(str(reference))
    if not path.is_dir():
        if hides_model and not zipfile.is_zipfile(path):  # the format of torch.save
            raise UserError(f"{name}={path}: the file is not a checkpoint; {RENAME}")
        return [path]
    if best := RunFolder(path).best_checkpoints():
        return best
    if (exported := path / WEIGHTS_FILE).is_file():
        return [exported]
    other = "set a run folder, an exported model, a checkpoint, latest or a pretrained model"
    raise UserError(
        f"{name}={path}: the folder has neither {RunFolder.best_checkpoint.name} nor {WEIGHTS_FILE}; "
        f"{RENAME if hides_model else other}"
    )


def resolve_checkpoint(reference: str | Path, name: str = "ckpt_path") -> Path:
    """Return the path of the only checkpoint to which a setting refers; see `resolve_checkpoints`.

    Raises:
        UserError: If there is no checkpoint, or more than one.
    """
    first, *others = resolve_checkpoints(reference, name)
    if others:
        raise UserError(
            f"{name}={reference}: the run has two best checkpoints, since split.test=both; set one of them, "
            f"{name}={first} or {name}={others[0]}"
        )
    return first
