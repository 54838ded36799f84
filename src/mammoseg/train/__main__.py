"""`python -m mammoseg.train`: train a network, test it and report the results."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mammoseg.cli import command
from mammoseg.errors import UserError
from mammoseg.launch import distributed
from mammoseg.schema.overrides import key_of
from mammoseg.train.identity import run_folder_name

if TYPE_CHECKING:
    from mammoseg.callbacks.optuna_pruning import OptunaPruningCallback
    from mammoseg.runs.folder import RunFolder

LAUNCHER_PLUGINS = {"joblib": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher", "ray": "hydra_ray_launcher"}


# Used by hydra.run.dir in conf/train.yaml.
OmegaConf.register_new_resolver("folder_name", run_folder_name, replace=True)


def prepare_argv(argv: list[str]) -> list[str]:
    """Expand `resume=<run>` to the settings of that run.

    The arguments of workers of a distributed run have already been expanded.

    Args:
        argv: Command-line arguments.

    Returns:
        Arguments for Hydra.

    Raises:
        UserError: If the plugin of a launcher is not installed, or the run to resume does not exist.
    """
    for name, plugin in LAUNCHER_PLUGINS.items():
        if f"launcher={name}" in argv and find_spec(f"hydra_plugins.{plugin}") is None:
            raise UserError(f"launcher={name} requires a plugin of Hydra; pip install '.[{name}]'")
    if distributed.is_worker() or not any(key_of(arg) == "resume" for arg in argv):
        return argv
    from mammoseg.train.resume import expand_resume

    return expand_resume(argv)


@command("train", prepare_argv=prepare_argv)
def main(cfg: DictConfig) -> float:
    """Train, test and report; `cfg` is conf/train.yaml. Returns the validation DSC, which sweeps maximise."""
    from mammoseg.runs.folder import RunFolder
    from mammoseg.runs.untrusted_config import check_resumed_config
    from mammoseg.train.identity import run_info, stored_name
    from mammoseg.train.run import TrainingRun  # lazy: --help must not wait for torch

    hydra = HydraConfig.get()
    folder = RunFolder(Path(hydra.runtime.output_dir))
    if cfg.resume is not None and Path(cfg.resume) != folder.path:  # Hydra's grammar has changed a character
        raise UserError(f"resume must be a folder without special characters such as $, got {cfg.resume}")
    if cfg.resume is not None:
        check_resumed_config(cfg, hydra, folder.path)
    if cfg.find_lr:
        return search_learning_rate(cfg, folder, hydra)
    distributed.check_nodes(cfg.trainer)
    info = run_info(cfg, hydra.runtime.choices, hydra.overrides.task)
    run = TrainingRun(cfg, folder, {**info, **stored_name(folder)})
    with run.exclusive():
        if not run.finished:
            world_size = distributed.requested_world_size(cfg.trainer)
            if world_size > 1 and not distributed.is_distributed():
                distributed.launch_workers(world_size, hydra, folder.path)
            else:
                run.train(trial_pruning(hydra, cfg.trial_number)).test()
        return run.score


def search_learning_rate(cfg: DictConfig, folder: RunFolder, hydra: HydraConf) -> float:
    """Suggest a learning rate; see `lr_finder`. Returns NaN, since there is no validation DSC.

    Args:
        cfg: Composed config.
        folder: Run folder.
        hydra: Hydra's own settings of the job.

    Raises:
        UserError: If the settings are those of a sweep or of a run to resume.
    """
    from mammoseg.train.lr_finder import find_learning_rate

    if hydra.mode == RunMode.MULTIRUN or cfg.resume is not None:
        raise UserError("find_lr must be false in sweeps and with resume, got true; start a single run")
    find_learning_rate(cfg, folder)
    return math.nan


def trial_pruning(hydra: HydraConf, trial_number: int | None) -> OptunaPruningCallback | None:
    """Build the pruning callback of a trial of an Optuna search.

    Args:
        hydra: Hydra's own settings of the job.
        trial_number: Number of the trial; None for other runs.

    Returns:
        The callback, or None for other runs and for searches without a pruner.
    """
    if trial_number is None:
        return None
    from mammoseg.callbacks.optuna_pruning import pruning_callback

    return pruning_callback(hydra, trial_number)


if __name__ == "__main__":
    main()
