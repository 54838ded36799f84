"""`python -m mammoseg.train`: train a network with a criterion, test it, and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mammoseg.cli import command
from mammoseg.launch import distributed
from mammoseg.runs.upgrade import RENAMED_SETTINGS

if TYPE_CHECKING:
    from mammoseg.callbacks.optuna_pruning import OptunaPruningCallback


def prepare_argv(argv: list[str]) -> list[str]:
    """Expand `resume`, except in the workers of a distributed run, whose arguments are expanded already."""
    if distributed.is_worker() or not any(arg.lstrip("+").startswith("resume=") for arg in argv):
        return argv
    from mammoseg.train.resume import expand_resume

    return expand_resume(argv)


@command("train", renamed=RENAMED_SETTINGS, prepare_argv=prepare_argv)
def main(cfg: DictConfig) -> float:
    """Train, test and report; returns the validation DSC, which sweeps maximise."""
    from mammoseg.runs.folder import RunFolder
    from mammoseg.train.identity import run_info
    from mammoseg.train.run import TrainingRun  # lazy: --help must not wait for torch

    hydra = HydraConfig.get()
    folder = RunFolder(Path(hydra.runtime.output_dir))
    run = TrainingRun(cfg, folder, run_info(cfg, hydra.runtime.choices))
    with run.exclusive():
        if not run.finished:
            world_size = distributed.requested_world_size(cfg.trainer)
            if world_size > 1 and not distributed.is_distributed():
                distributed.launch_workers(world_size, hydra, folder.path)
            else:
                run.train(trial_pruning(hydra, cfg.trial_number)).test()
        return run.score


def trial_pruning(hydra: HydraConf, trial_number: int | None) -> OptunaPruningCallback | None:
    """The pruning callback of a trial of sweep=optuna; None for other runs."""
    if trial_number is None:
        return None
    from mammoseg.callbacks.optuna_pruning import pruning_callback

    return pruning_callback(hydra, trial_number)


if __name__ == "__main__":
    main()
