"""Identity of a run, as written to results.csv and experiment loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.conf import conf_dir


def run_info(cfg: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a run.

    Args:
        cfg: Composed config of `train`.
        choices: Selected choice of each config group, `hydra.runtime.choices`.

    Returns:
        The values of run (its name), experiment, dataset, method, model, loss, fold and seed.
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
    """Return the name of a model and a loss in conf/method, or "<model>-<loss>" if they are not listed there."""
    for path in sorted((conf_dir() / "method").glob("*.yaml")):
        choices = {key: value for entry in OmegaConf.load(path).defaults for key, value in entry.items()}
        if choices == {"override /model": model, "override /loss": loss}:
            return path.stem
    return f"{model}-{loss}"
