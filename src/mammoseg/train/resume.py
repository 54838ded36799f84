"""`resume=`: the command line that continues a run with its own settings, in its own folder.

Hydra creates the run folder before the command starts, so `resume` is expanded before Hydra sees the command line.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mammoseg.errors import RunConflictError, UserError
from mammoseg.files import atomic_write_text
from mammoseg.runs.discovery import LATEST, latest_run
from mammoseg.runs.folder import RunFolder, load_yaml
from mammoseg.runs.overrides import key_of, merge, quote
from mammoseg.runs.record import RunRecord, load_matching_record, read_record
from mammoseg.runs.settings import RESUMABLE
from mammoseg.runs.upgrade import upgrade_override

DATA_PATHS = ("dataset.root", "dataset.store", "dataset.reader.tables")
# What identifies a run besides its settings.
FIXED = ("experiment", "sweep", "init_from", "trial_number", "hydra.run.dir", "hydra.sweep.dir")
OPTIONS_WITH_VALUE = (
    "--config-dir",
    "-cd",
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--cfg",
    "-c",
    "--package",
    "-p",
)


def expand_resume(argv: Sequence[str]) -> list[str]:
    """The arguments of `train` with `resume=<run>` replaced by the settings of that run and its folder.

    Args:
        argv: The arguments as typed, without the program's name. Settings besides `resume` take precedence.

    Raises:
        UserError: If there is no such run, or its settings are not stored with it.
    """
    values = [value for arg in argv if (value := _value(arg, "resume")) is not None]
    if not values or values[-1] == "null":
        return list(argv)
    options, given = _split_options(argv)
    if any(option in ("-m", "--multirun") for option in options):
        raise UserError("resume continues a single run and cannot be swept; run the command of the sweep again instead")
    given = [override for override in given if _value(override, "resume") is None]
    if fixed := [key_of(override) for override in given if key_of(override) in FIXED]:
        raise UserError(f"{fixed[0]} cannot be changed when a run is resumed; only compute settings and epochs can")
    run = find_run(values[-1])
    stored = load_yaml(run.hydra / "hydra.yaml").get("hydra")
    if stored is None or "overrides" not in stored or "job" not in stored:
        raise UserError(f"{run.hydra / 'hydra.yaml'}: missing or damaged; run the command of the run again instead")
    config_dirs = [source.path for source in stored.runtime.config_sources if source.provider == "command-line"]
    if config_dirs and (start := run.launch_dir) is not None:
        sys.path.append(str(start))  # modules of the user's own parts were found there
    return [
        *options,
        *("--config-name", str(stored.job.config_name)),
        *(part for path in config_dirs for part in ("--config-dir", path)),
        *merge([*stored_overrides(run), *_data_overrides(run), *given]),
        *upgrade_overrides(stored.overrides.hydra),
        *("hydra.mode=RUN", f"hydra.run.dir={quote(run.path)}", "hydra.output_subdir=null"),
        f"resume={quote(run.path)}",
    ]


def _split_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's options, each with its value, and the overrides."""
    options: list[str] = []
    overrides: list[str] = []
    arguments = iter(argv)
    for argument in arguments:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        options.append(argument)
        if argument in OPTIONS_WITH_VALUE:
            options += [value for value in [next(arguments, None)] if value is not None]
    return options, overrides


def _value(arg: str, key: str) -> str | None:
    """The value of the override `arg` if it sets `key`, without quotes."""
    name, equals, value = arg.lstrip("+").partition("=")
    return value.strip("'\"") if equals and name == key else None


def find_run(reference: str) -> RunFolder:
    """The run that `resume` names: a run folder, its last checkpoint, or "latest".

    Raises:
        UserError: If it is none of these.
    """
    if reference == LATEST:
        return latest_run(finished=False)
    if not reference:
        raise UserError("resume must name a run folder, its last checkpoint or latest, got an empty value")
    path = Path(reference).expanduser().absolute()
    if not path.exists():
        raise UserError(f"resume={reference}: no such run folder or checkpoint; give the folder of a run, or latest")
    run = RunFolder(path) if path.is_dir() else RunFolder.of_checkpoint(path)
    if path.is_file() and path != run.last_checkpoint:
        raise UserError(
            f"resume={reference}: a run is resumed from its {RunFolder.last_checkpoint.name}, got {path.name}; use "
            "init_from to start a new run from other weights"
        )
    record = read_record(run)
    if record is None or not record.settings:
        raise UserError(
            f"resume={reference}: not a run folder, it has no {RunFolder.record.name} with the settings of a run; use "
            "init_from to start a new run from the weights of a checkpoint"
        )
    return run


def stored_overrides(run: RunFolder) -> list[str]:
    """The overrides that the run was started with, with the names of this version."""
    path = run.hydra / "overrides.yaml"
    try:
        overrides = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else []
    except (yaml.YAMLError, UnicodeDecodeError):
        overrides = None
    if not isinstance(overrides, list):
        raise UserError(f"{path}: damaged; run the command of the run again instead")
    # version 0.1 resumed with ckpt_path=<checkpoint>
    return upgrade_overrides(override for override in map(str, overrides) if _value(override, "ckpt_path") is None)


def upgrade_overrides(overrides: Iterable[str]) -> list[str]:
    """The overrides with the names of this version, without those of settings that were removed."""
    return [upgraded for override in overrides if (upgraded := upgrade_override(override)) is not None]


def _data_overrides(run: RunFolder) -> list[str]:
    """Overrides with absolute paths of the data; those of the command line were relative to its directory."""
    paths = run.data_paths()
    values = dict(zip(DATA_PATHS, (paths.root, paths.store, paths.tables), strict=True))
    return [f"{key}={quote(path)}" for key, path in values.items() if path is not None]


def load_previous_record(folder: RunFolder, record: RunRecord, cfg: DictConfig) -> RunRecord | None:
    """Load the record of the same run in `folder`, if there is one; a resumed run may have other epochs.

    Args:
        folder: The run folder.
        record: The run that starts now.
        cfg: Its composed configuration.

    Raises:
        RunConflictError: If the folder contains a run with other settings.
        UserError: If `resume` is set and other settings were changed.
    """
    if cfg.resume is None:
        return load_matching_record(folder, record)
    try:
        previous = load_matching_record(folder, record, RESUMABLE, same_root=False)
    except RunConflictError as error:
        raise UserError(
            f"resume: {error.key} is {error.previous} in this run, got {error.current}; a resumed run keeps its "
            "settings, except for compute settings and epochs"
        ) from error
    schedule_spans_run = "total_steps" in (cfg.scheduler or {}).get("scheduler", {})
    if schedule_spans_run and previous is not None and cfg.trainer.max_epochs != epochs_of(previous):
        raise UserError(
            f"resume: epochs must stay {epochs_of(previous)}, since the learning-rate schedule spans the whole run, "
            f"got {cfg.trainer.max_epochs}; use init_from to train on from the weights"
        )
    finished_trial = cfg.trial_number is not None and previous is not None and previous.is_complete
    if finished_trial and previous is not None and cfg.trainer.max_epochs != epochs_of(previous):
        raise UserError(
            "resume: a finished trial of a search keeps its epochs, since the study has its score; use init_from "
            "to start a new run from its weights"
        )
    return previous


def epochs_of(record: RunRecord) -> int | None:
    """Number of epochs in the settings of a run."""
    epochs = record.settings["trainer"]["max_epochs"]
    return None if epochs is None else int(epochs)


def check_epochs(loaded: Mapping[str, Any], epochs: int | None) -> None:
    """Check that a checkpoint was not trained for more than `epochs`, counting an incomplete one.

    Raises:
        UserError: If it was.
    """
    trained = int(loaded["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"])
    if epochs is not None and epochs != -1 and epochs < trained:
        raise UserError(f"resume: epochs must be at least {trained}, the epochs already trained, got {epochs}")


def remember_overrides(run: RunFolder) -> None:
    """Store the overrides of this process in the run folder, for the next time the run is resumed."""
    keys = {"resume", *DATA_PATHS}
    overrides = [override for override in HydraConfig.get().overrides.task if key_of(override) not in keys]
    atomic_write_text(run.hydra / "overrides.yaml", OmegaConf.to_yaml(merge(overrides)))


def resume_command(run: RunFolder) -> str:
    """The command that resumes `run` from the current working directory."""
    path = run.path.absolute()
    relative = Path(os.path.relpath(path))
    shown = path if ".." in relative.parts else relative
    return f"python -m mammoseg.train {shlex.quote(f'resume={shown}')}"
