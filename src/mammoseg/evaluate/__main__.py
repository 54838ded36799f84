"""`python -m mammoseg.evaluate ckpt_path=...`: evaluate a checkpoint on its test set."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mammoseg import validate
from mammoseg.cli import command, parse_path


@command("evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate the checkpoint `cfg.ckpt_path`; `cfg` is conf/evaluate.yaml."""
    from mammoseg.evaluate.evaluate import evaluate  # lazy: --help must not wait for torch
    from mammoseg.runs.discovery import resolve_checkpoints

    rule = None
    if validate.boolean("native", cfg.native):
        from mammoseg.metrics.detection import MatchingRule

        rule = MatchingRule(**cfg.detection)
    evaluate(
        resolve_checkpoints(parse_path(cfg.ckpt_path, "ckpt_path")),
        cfg.dataset.root,
        cfg.dataset.store,
        Path(HydraConfig.get().runtime.output_dir),
        rule,
        cfg.trusted_modules or (),
    )


if __name__ == "__main__":
    main()
