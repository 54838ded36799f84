"""`python -m mammoseg.train`: train a network with a criterion, test it, and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mammoseg.cli import command
from mammoseg.launch import distributed

if TYPE_CHECKING:
    from mammoseg.callbacks.optuna_pruning import OptunaPruningCallback


@command("train")
def main(cfg: DictConfig) -> float:
    from mammoseg.train.run import Run, about  # heavy imports here: --help must not wait for torch

    hydra = HydraConfig.get()
    run = Run(cfg, Path(hydra.runtime.output_dir), about(cfg, hydra.runtime.choices))
    with run.alone():
        if not run.finished:
            count = distributed.processes(cfg.trainer)
            if count > 1 and not distributed.together():
                distributed.launch(count, hydra, run.folder)
            else:
                run.train(pruning(hydra, cfg.trial)).test()
        return run.score


def pruning(hydra: HydraConf, trial: int | None) -> OptunaPruningCallback | None:
    """The pruning callback of a trial of sweep=optuna; None for other runs, which do not need Optuna."""
    if trial is None:
        return None
    from mammoseg.callbacks.optuna_pruning import pruning_callback

    return pruning_callback(hydra, trial)


if __name__ == "__main__":
    main()
