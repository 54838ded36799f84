"""The identity of a run, as written to results.csv and experiment loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.cli import conf_dir


def run_info(cfg: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Name of the run, experiment, dataset, method, model, loss, fold and seed.

    Args:
        cfg: The composed configuration of `train`.
        choices: The choice of each of its groups, ``hydra.runtime.choices``.
    """
    fold = OmegaConf.select(cfg, "split.fold", default="")
    method = method_name(choices["model"], choices["loss"])
    run = "-".join([cfg.dataset.name, method, *([f"fold{fold}"] if fold != "" else []), f"seed{cfg.seed}"])
    return {
        "run": run,
        "experiment": choices.get("experiment") or "",
        "dataset": cfg.dataset.name,
        "method": method,
        "model": choices["model"],
        "loss": choices["loss"],
        "fold": fold,
        "seed": cfg.seed,
    }


def method_name(model: str, loss: str) -> str:
    """The name in conf/method of a network with a loss, which is that of its row in the paper's tables."""
    for path in sorted((conf_dir() / "method").glob("*.yaml")):
        chosen = {key: value for entry in OmegaConf.load(path).defaults for key, value in entry.items()}
        if chosen == {"override /model": model, "override /loss": loss}:
            return path.stem
    return f"{model}-{loss}"
