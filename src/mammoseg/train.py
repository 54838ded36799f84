"""`python -m mammoseg.train`: train a network with a criterion, test it, and report."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mammoseg import distributed
from mammoseg.cli import command


@command("train")
def main(cfg: DictConfig) -> float:
    from mammoseg.run import Run, about  # heavy imports here: --help must not wait for torch

    hydra = HydraConfig.get()
    run = Run(cfg, Path(hydra.runtime.output_dir), about(cfg, hydra.runtime.choices))
    with run.alone():
        if not run.finished:
            count = distributed.processes(cfg.trainer)
            if count > 1 and not distributed.together():
                distributed.launch(count, hydra, run.folder)
            else:
                run.train().test()
        return run.score


if __name__ == "__main__":
    main()
