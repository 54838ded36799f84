"""`python -m mammoseg.train`: train a network with a criterion, test it, and report."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mammoseg.cli import command


@command("train")
def main(cfg: DictConfig) -> float:
    from mammoseg.run import Run, about  # heavy imports here: --help must not wait for torch

    hydra = HydraConfig.get()
    run = Run(cfg, Path(hydra.runtime.output_dir), about(cfg, hydra.runtime.choices))
    try:
        return run.score if run.finished else run.train().test().score
    finally:
        run.finish()


if __name__ == "__main__":
    main()
