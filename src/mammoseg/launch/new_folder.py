"""Hydra callback that creates the folder of a single run, and removal of the folder of a failed start."""

from __future__ import annotations

import itertools
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from typing_extensions import override

from mammoseg.errors import UserError, exit_with_message
from mammoseg.files import check_no_links
from mammoseg.runs.folder import RunFolder

# Files of a completed epoch or test. A folder without them contains no results.
RESULTS = (
    *(RunFolder.last_checkpoint, RunFolder.best_checkpoint),
    *(RunFolder.best_half1_checkpoint, RunFolder.best_half2_checkpoint, RunFolder.results),
)
# Files and folders that a run writes, with those of experiment loggers.
RUN_FILES = {*(Path(file.name).parts[0] for file in RunFolder.files()), "wandb", "tensorboard", "evaluate.log"}


class NewRunFolder(Callback):
    """Checks the run folder before Hydra writes into it, and stores whether this process creates it.

    A folder with a date in its name is always a new one, see `create_dated_folder`.

    Attributes:
        created: Folders that this process creates, the run folder first, followed by its new parent folders.
    """

    created: tuple[Path, ...] = ()

    @override
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit with status 2 if a file of the run folder is a link or a special file."""
        folder = Path(config.hydra.run.dir).absolute()
        files = [file.name for file in RunFolder.files()]
        hydra_files = [f"{RunFolder.hydra.name}/{name}.yaml" for name in ("config", "hydra", "overrides", "data")]
        try:
            check_no_links(folder, [*files, *hydra_files, f"{config.hydra.job.name}.log"])
        except UserError as error:
            exit_with_message(config.hydra.job.name, str(error))
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        empty = folder.is_dir() and not any(folder.iterdir())
        NewRunFolder.created = tuple(missing) or ((folder,) if empty else ())
        if (new := create_dated_folder(config, "run")) is not None:
            NewRunFolder.created = (new, *(path for path in missing if path != folder))

    @override
    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep the folder of a successful run."""
        NewRunFolder.created = ()


def create_dated_folder(config: DictConfig, mode: str) -> Path | None:
    """Create the folder of a run or sweep if its name contains the date and time, and set it in the config.

    The name does not contain fractions of a second, so a number is appended if another process has created the folder.

    Args:
        config: Composed config with Hydra's own settings, which is changed in place.
        mode: "run" or "sweep".

    Returns:
        The folder; None if its name contains no date, or if it cannot be created, which Hydra reports.
    """
    section = config.hydra[mode]
    template: Any = OmegaConf.to_container(section, resolve=False)
    if "${now:" not in str(template["dir"]):
        return None
    name = str(section.dir)
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    for number in itertools.count(1):
        folder = Path(name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError:
            return None
        with read_write(config.hydra):
            section.dir = str(folder)
        return folder.absolute()
    return None


def remove_failed_start() -> None:
    """Remove the run folder of this process, and its new parent folders, if it contains no results.

    Other commands would find the folder of a run that failed before its first epoch was completed. A folder with other
    files, such as prepared images, is kept.
    """
    folders, NewRunFolder.created = NewRunFolder.created, ()
    if not folders or any((folders[0] / file.name).exists() for file in RESULTS):
        return
    if any(path.name not in RUN_FILES for path in folders[0].iterdir()):
        return
    shutil.rmtree(folders[0], ignore_errors=True)
    with suppress(OSError):  # another process may use a parent folder
        for folder in folders[1:]:
            folder.rmdir()
