"""`python -m mammoseg.evaluate`: evaluate checkpoints, or masks that another program predicted."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mammoseg import validate
from mammoseg.cli import command, parse_paths
from mammoseg.evaluate.evaluated_name import evaluated_name
from mammoseg.schema.check import plain_config
from mammoseg.schema.overrides import key_of

# Used by hydra.run.dir in conf/evaluate.yaml.
OmegaConf.register_new_resolver("evaluated_name", evaluated_name, replace=True)


@command("evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate the checkpoints `cfg.ckpt_path` or the masks `cfg.masks`; `cfg` is conf/evaluate.yaml."""
    if cfg.masks is None:
        evaluate_checkpoints(cfg)
        return
    from mammoseg.evaluate.external_masks import evaluate_masks  # lazy: --help must not wait for torch

    evaluate_masks(cfg, Path(HydraConfig.get().runtime.output_dir))


def evaluate_checkpoints(cfg: DictConfig) -> None:
    """Evaluate the checkpoints `cfg.ckpt_path`."""
    from mammoseg.evaluate.evaluate import evaluate
    from mammoseg.evaluate.tested_dataset import EvaluationOptions
    from mammoseg.runs.checkpoint_paths import find_checkpoints

    rule = None
    if validate.boolean("native", cfg.native):
        from mammoseg.metrics.detection import MatchingRule

        rule = MatchingRule(**cfg.detection)
    config = plain_config(cfg)
    options = EvaluationOptions(
        dataset=config["dataset"],
        split=config.get("split"),
        overridden={key_of(override) for override in HydraConfig.get().overrides.task},
        part=cfg.part,
        tta=cfg.tta,
        threshold=cfg.threshold,
        rule=rule,
        trusted_modules=cfg.trusted_modules or (),
    )
    checkpoints = find_checkpoints(parse_paths(cfg.ckpt_path, "ckpt_path"))
    evaluate(checkpoints, Path(HydraConfig.get().runtime.output_dir), options)


if __name__ == "__main__":
    main()
