"""Resuming of runs: `resume=<run>` continues a run with its settings in its folder.

Hydra creates the run folder before the command starts, so `resume` is expanded before Hydra parses the command line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

from mammoseg.errors import RunConflictError, UserError
from mammoseg.files import atomic_write_text
from mammoseg.runs.discovery import LATEST, latest_run
from mammoseg.runs.folder import RunFolder, load_yaml
from mammoseg.runs.record import RunRecord, load_matching_record, read_record
from mammoseg.runs.settings import DIGESTED, RESUMABLE, flatten
from mammoseg.safe_yaml import load_yaml_file
from mammoseg.schema.command_line import config_dirs, split_options
from mammoseg.schema.overrides import key_of, merge, quote, split_override
from mammoseg.schema.renamed import earlier_defaults, upgrade_override
from mammoseg.train.next_commands import UPLOAD_SETTINGS

log = logging.getLogger(__name__)

DATA_PATHS = ("dataset.root", "dataset.store", "dataset.reader.tables")
# Stored overrides that are not used on resume. Trusted modules, and whether and for whom to upload to W&B, must be set
# again, since the folder may be from somebody else. In version 0.1, ckpt_path=<checkpoint> resumed a run.
NOT_RESTORED = ("trusted_modules", *UPLOAD_SETTINGS, "ckpt_path")
# Settings that cannot change on resume, and that the comparison of records does not cover.
FIXED = ("experiment", "sweep", *DIGESTED, "trial_number", "hydra.run.dir", "hydra.sweep.dir")


def expand_resume(argv: Sequence[str]) -> list[str]:
    """Replace `resume=<run>` in the arguments of `train` by the settings and the folder of that run.

    Args:
        argv: Command-line arguments without the name of the program. Settings in it override those of the run.

    Returns:
        Arguments for Hydra; `argv` if it does not contain `resume`.

    Raises:
        UserError: If the run does not exist, its settings are missing, or `argv` contains settings that cannot change.
    """
    values = [value for arg in argv if (value := _value(arg, "resume")) is not None]
    if not values or values[-1] == "null":
        return list(argv)
    options, overrides = split_options(argv)
    if any(option in ("-m", "--multirun") for option in options):
        raise UserError(
            "resume continues a single run and cannot be swept; rerun the command of the sweep to resume its jobs"
        )
    overrides = [override for override in overrides if _value(override, "resume") is None]
    if fixed := [key_of(override) for override in overrides if key_of(override) in FIXED]:
        raise UserError(f"{fixed[0]} cannot be changed when a run is resumed; only compute settings and epochs can")
    run = find_run(values[-1])
    stored = load_yaml(run.hydra / "hydra.yaml").get("hydra")
    if not isinstance(stored, DictConfig) or not {"overrides", "job"} <= stored.keys():
        raise UserError(f"{run.hydra / 'hydra.yaml'}: missing or damaged; rerun the command of the run instead")
    check_config_dirs(stored, config_dirs(options))
    restored = stored_overrides(run)
    warn_of_uploads(run, overrides)
    if any(key_of(override) == "logger" for override in overrides):  # another choice may lack these settings
        restored = [override for override in restored if not key_of(override).startswith("logger.")]
    changed = [*restored, *_data_overrides(run), *overrides]
    return [
        *options,
        *merge([*_earlier_defaults(run, changed), *changed]),
        *("hydra.mode=RUN", f"hydra.run.dir={quote(run.path)}", "hydra.output_subdir=null"),
        f"resume={quote(run.path)}",
    ]


def check_config_dirs(stored: DictConfig, given: Sequence[Path]) -> None:
    """Check that the folders of --config-dir with which a run was started are given again.

    They are not taken from the run folder: their files can name any code, and the folder may be somebody else's.

    Args:
        stored: The section `hydra` of `.hydra/hydra.yaml`.
        given: Folders on this command line.

    Raises:
        UserError: If one is missing.
    """
    sources = OmegaConf.select(stored, "runtime.config_sources") or []
    mappings = (
        [source for source in sources if isinstance(source, DictConfig)] if isinstance(sources, ListConfig) else []
    )
    for path in (str(source.get("path")) for source in mappings if source.get("provider") == "command-line"):
        if Path(path).resolve() not in [folder.resolve() for folder in given]:
            raise UserError(f"resume: the run was started with --config-dir {path}; add this option again")


def _value(arg: str, key: str) -> str | None:
    """Return the value without quotes if the override `arg` sets `key`, or None."""
    prefix, name, value = split_override(arg)
    return value.strip("'\"") if value is not None and name == key and "~" not in prefix else None


def find_run(reference: str) -> RunFolder:
    """Find the run to resume.

    Args:
        reference: A run folder, its last checkpoint, or "latest", the newest unfinished run.

    Raises:
        UserError: If the run does not exist.
    """
    if reference == LATEST:
        return latest_run(finished=False)
    if not reference:
        raise UserError("resume must be a run folder, its last checkpoint or latest, got an empty value")
    path = Path(reference).expanduser().absolute()
    if not path.exists():
        raise UserError(f"resume={reference}: no such run folder or checkpoint; give the folder of a run, or latest")
    run = RunFolder(path) if path.is_dir() else RunFolder.of_checkpoint(path)
    if path.is_file() and path != run.last_checkpoint:
        raise UserError(
            f"resume={reference}: must be a run folder or its {RunFolder.last_checkpoint.name}, got {path.name}; use "
            "init_from to start a new run from these weights"
        )
    record = read_record(run)
    if record is None or not record.settings:
        raise UserError(
            f"resume={reference}: not a run folder, since {RunFolder.record.name} is missing or has no settings; use "
            "init_from to start a new run from the weights of a checkpoint"
        )
    # While the run continues, outputs/latest may become a link to another run.
    return RunFolder(run.path.resolve()) if run.path.is_symlink() else run


def stored_overrides(run: RunFolder) -> list[str]:
    """Return the overrides with which a run was started, with the current names of settings, without `NOT_RESTORED`.

    Raises:
        UserError: If the file with the overrides is damaged.
    """
    kept = (override for override in read_overrides(run) if key_of(override) not in NOT_RESTORED)
    return [upgraded for override in kept if (upgraded := upgrade_override(override)) is not None]


def warn_of_uploads(run: RunFolder, overrides: Sequence[str]) -> None:
    """Log a warning if a run was started with settings of W&B that must be set again.

    Args:
        run: The run.
        overrides: Overrides of this command line.
    """
    given = {key_of(override) for override in overrides}
    settings = [override for override in read_overrides(run) if key_of(override) in UPLOAD_SETTINGS]
    if lost := [override for override in settings if key_of(override) not in given]:
        log.warning("resume: not taken from the run folder: %s; set it again to use it", " ".join(lost))


def read_overrides(run: RunFolder) -> list[str]:
    """Read the overrides in a run folder.

    Raises:
        UserError: If the file with the overrides is damaged.
    """
    path = run.hydra / "overrides.yaml"
    try:
        overrides = load_yaml_file(path) if path.is_file() else []
    except ValueError:
        overrides = None
    if not isinstance(overrides, list):
        raise UserError(f"{path}: damaged; rerun the command of the run instead")
    for override in map(str, overrides):
        # Settings of Hydra name classes, such as hydra.callbacks; an option could add a folder of configs.
        group, _, package = key_of(override).partition("@")
        if override.startswith("-") or group.startswith("hydra") or package.startswith("hydra") or "${" in override:
            raise UserError(
                f"{path}: overrides must not set hydra.*, contain interpolations or options, got {override}; remove "
                "it, or rerun the command of the run instead"
            )
    return [str(override) for override in overrides]


def _data_overrides(run: RunFolder) -> list[str]:
    """Overrides with absolute paths of the data; stored ones are relative to the working directory of the run."""
    paths = run.data_paths()
    values = dict(zip(DATA_PATHS, (paths.root, paths.store, paths.tables), strict=True))
    return [f"{key}={quote(path)}" for key, path in values.items() if path is not None]


def _earlier_defaults(run: RunFolder, overrides: Iterable[str]) -> list[str]:
    """Overrides for settings whose default has changed since the version of the run, except those in `overrides`."""
    record = read_record(run)
    stored = {} if record is None else dict(flatten(record.settings))
    overridden = {key_of(override) for override in overrides}
    return [f"++{key}={value}" for key, value in earlier_defaults(stored).items() if key not in overridden]


def load_previous_record(folder: RunFolder, record: RunRecord, cfg: DictConfig) -> RunRecord | None:
    """Load the record of a previous start of the same run; a resumed run may have a different number of epochs.

    Args:
        folder: Run folder.
        record: Record of the run that starts now.
        cfg: Composed config of the run that starts now.

    Returns:
        The record, or None if the folder contains no run.

    Raises:
        RunConflictError: If the folder contains a run with different settings.
        UserError: If `resume` is set and a setting was changed that must not change.
    """
    if cfg.resume is None:
        return load_matching_record(folder, record)
    try:
        previous = load_matching_record(folder, record, RESUMABLE, same_root=False)
    except RunConflictError as error:
        raise UserError(
            f"resume: {error.key} is {error.previous} in this run, got {error.current}; only compute settings and "
            "epochs can be changed"
        ) from error
    if previous is None or cfg.trainer.max_epochs == (epochs := epochs_of(previous, folder)):
        return previous
    if "total_steps" in (cfg.scheduler or {}).get("scheduler", {}):
        reason = "the learning-rate schedule depends on it"
    elif cfg.trial_number is not None and previous.is_complete:
        reason = "the study contains the score of this trial"
    else:
        return previous
    raise UserError(
        f"resume: epochs must be {epochs} as in this run, since {reason}, got {cfg.trainer.max_epochs}; "
        "use init_from to start a new run from these weights"
    )


def epochs_of(record: RunRecord, folder: RunFolder) -> int | None:
    """Return the number of epochs in the settings of a run; None if it is unlimited.

    Args:
        record: Record of the run.
        folder: Its folder, for the error message.

    Raises:
        UserError: If the settings contain no number of epochs, since the file was edited or damaged.
    """
    trainer = record.settings.get("trainer")
    epochs = trainer.get("max_epochs", "") if isinstance(trainer, Mapping) else ""
    if epochs is not None and not isinstance(epochs, int):
        raise UserError(
            f"{folder.record}: settings.trainer.max_epochs must be an integer or null, got {epochs or 'nothing'}; "
            "restore the file, or delete the run folder and repeat the run"
        )
    return epochs


def check_epochs(loaded: Mapping[str, Any], epochs: int | None) -> None:
    """Check that a checkpoint was not trained for more epochs than requested.

    Args:
        loaded: Content of the checkpoint; an incomplete epoch is counted.
        epochs: Requested number of epochs; None or -1 is unlimited.

    Raises:
        UserError: If it was trained for more epochs.
    """
    trained = int(loaded["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"])
    if epochs is not None and epochs != -1 and epochs < trained:
        raise UserError(f"resume: epochs must be at least {trained}, the epochs already trained, got {epochs}")


def remember_overrides(run: RunFolder) -> None:
    """Store the overrides of this process in the run folder, so that the next resume uses them."""
    keys = {"resume", *DATA_PATHS, *NOT_RESTORED}
    overrides = [override for override in HydraConfig.get().overrides.task if key_of(override) not in keys]
    atomic_write_text(run.hydra / "overrides.yaml", OmegaConf.to_yaml(merge(overrides)))
