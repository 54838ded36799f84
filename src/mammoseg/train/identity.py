"""The identity of a run, as written to results.csv and experiment loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.conf import conf_dir


def run_info(cfg: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Name of the run, experiment, dataset, method, model, loss, fold and seed.

    Args:
        cfg: The composed configuration of `train`.
        choices: Selected option of each config group, ``hydra.runtime.choices``.
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
    """Name of a network and loss in conf/method, which names the rows of the paper's tables; else "model-loss"."""
    for path in sorted((conf_dir() / "method").glob("*.yaml")):
        choices = {key: value for entry in OmegaConf.load(path).defaults for key, value in entry.items()}
        if choices == {"override /model": model, "override /loss": loss}:
            return path.stem
    return f"{model}-{loss}"
