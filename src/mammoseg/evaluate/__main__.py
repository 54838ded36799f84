"""`python -m mammoseg.evaluate ckpt=...`: a checkpoint's test results again, equal to its run's to the last digit."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mammoseg.cli import choice, command, place


@command("evaluate")
def main(cfg: DictConfig) -> None:
    from mammoseg.evaluate.evaluate import evaluate  # heavy imports here: --help must not wait for torch

    rule = None
    if choice(cfg.native, "native"):
        from mammoseg.metrics.detection import MatchingRule

        rule = MatchingRule(**cfg.detection)
    folder = Path(HydraConfig.get().runtime.output_dir)
    evaluate(place(cfg.ckpt, "ckpt"), cfg.root, cfg.store, folder, rule, cfg.trust or ())


if __name__ == "__main__":
    main()
