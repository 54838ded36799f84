"""Identity of a run, as written to results.csv and experiment loggers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.conf import conf_dir
from mammoseg.launch.method_choice import group_choices
from mammoseg.launch.sweep import SWEPT_SETTINGS
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.folder_name import folder_name
from mammoseg.runs.record import read_record
from mammoseg.runs.settings import is_private
from mammoseg.schema.overrides import split_override

MAX_DIGITS = 6  # longer numbers are rounded
# Swept settings that are part of the name in another form.
NAMED = ("dataset", "dataset.name", "method", "model", "loss", "split.fold", "seed", "experiment", "trial_number")
AMBIGUOUS = ("seed", "fold", "name")  # last parts of several settings


def run_info(cfg: DictConfig, choices: Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the identity of a run.

    Args:
        cfg: Composed config of `train`.
        choices: Selected choice of each config group, `hydra.runtime.choices`.
        overrides: Overrides of the run, `hydra.overrides.task`; in a sweep, the swept ones are part of the name.

    Returns:
        The values of run (its name), experiment, dataset, method, model, loss, fold and seed.
    """
    fold = OmegaConf.select(cfg, "split.fold", default="")
    method = method_name(choices)
    trial = [] if cfg.trial_number is None else [f"trial{cfg.trial_number}"]
    folds = [] if fold == "" else [f"fold{fold}"]
    run = "-".join([cfg.dataset.name, method, *trial, *swept_values(overrides), *folds, f"seed{cfg.seed}"])
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


def run_folder_name(*, _root_: DictConfig) -> str:
    """Return the beginning of the name of a run folder: method, fold and seed, such as "au_net-fold0-seed0".

    Args:
        _root_: Composed config of `train` with Hydra's own settings, as OmegaConf passes it to a resolver.
    """
    return folder_name(run_info(_root_, _root_.hydra.runtime.choices))


def stored_name(folder: RunFolder) -> dict[str, str]:
    """Return the name with which a run was started; empty for a new run.

    A resumed job of a sweep is not part of the sweep, so its name cannot be derived from its overrides.

    Args:
        folder: Run folder.
    """
    record = read_record(folder)
    name = record.run_info.get("run") if record is not None else None
    return {"run": str(name)} if name else {}


def swept_values(overrides: Sequence[str]) -> list[str]:
    """Return the swept settings of a job that are not part of its name in another form, such as "alpha=2.0".

    Args:
        overrides: Overrides of the job.

    Returns:
        One entry per setting. Values that are local paths are replaced by a digest.
    """
    swept = os.environ.get(SWEPT_SETTINGS, "").split()
    values = {key: value or "" for _, key, value in map(split_override, overrides) if key in swept and key not in NAMED}
    last_parts = [key.rpartition(".")[2] for key in values]
    names = [
        key if last_parts.count(part) > 1 or part in AMBIGUOUS else part
        for key, part in zip(values, last_parts, strict=True)
    ]
    return [
        f"{name}={digest(value) if is_private(f'{key}={value}') else compact(value)}"
        for name, (key, value) in zip(names, values.items(), strict=True)
    ]


def digest(value: str) -> str:
    """Return a short digest of a value that must not be stored."""
    return hashlib.sha256(value.encode()).hexdigest()[:6]


def compact(value: str) -> str:
    """Format the value of an override for the name of a run: numbers with at most four significant digits.

    Example:
        >>> compact("0.123456789"), compact("2.0"), compact("[0.5, 1.0]")
        ('0.1235', '2.0', '[0.5,1.0]')
    """
    text = value.strip("'\"").replace(" ", "")
    try:
        return text if len(text) <= MAX_DIGITS else f"{float(text):.4g}"
    except ValueError:
        return text


def method_name(choices: Mapping[str, Any]) -> str:
    """Return the name of the method in conf/method that selects the same choices, or "<model>-<loss>" if there is none.

    Of several, it is the one that selects the most groups. Groups with lists, such as `callbacks`, are not compared,
    since Hydra does not record their choices.

    Args:
        choices: Selected choice of each config group.
    """
    selected = {
        path.stem: {group: choice for group, choice in group_choices(path).items() if isinstance(choice, str)}
        for path in sorted((conf_dir() / "method").glob("*.yaml"))
    }
    methods = [name for name, groups in selected.items() if groups.items() <= dict(choices).items()]
    if methods:
        return max(methods, key=lambda name: len(selected[name]))
    return f"{choices['model']}-{choices['loss']}"
