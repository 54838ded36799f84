"""Checks of Hydra's own settings and options on the command line, `hydra.*` and `--*`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from mammoseg.errors import UserError
from mammoseg.schema.check import unknown_setting
from mammoseg.schema.collection_types import either
from mammoseg.schema.command_line import OPTIONS_WITH_VALUE
from mammoseg.schema.overrides import quote, split_override
from mammoseg.schema.types import Integer, SettingType, one_of

# Settings that cannot be changed, and why.
FIXED = {
    "hydra": "it contains all settings of Hydra; set one of them, such as hydra.run.dir",
    "hydra.job.name": "it is the name of the command; to name the jobs of a cluster, set hydra.launcher.name",
    "hydra.output_subdir": "resume reads the settings of a run from .hydra/; to choose another folder, set "
    "hydra.run.dir",
}
FIXED_CHOICES = {"hydra/job_logging=disabled": "set hydra/job_logging=none for no log"}
# Sections with entries of any name.
OPEN_SECTIONS = (
    *("hydra.job.env_set", "hydra.job_logging", "hydra.hydra_logging", "hydra.callbacks"),
    *("hydra.launcher", "hydra.sweeper", "hydra.help", "hydra.hydra_help", "hydra.runtime"),
)
UNSUPPORTED_OPTIONS = {
    "--experimental-rerun": "use resume=RUN, or rerun the command",
    "--shell-completion": "see --help for all settings",
    "-sc": "see --help for all settings",
}
LONG_OPTIONS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info"),
    *("--config-path", "--config-name", "--config-dir", *UNSUPPORTED_OPTIONS),
)
SHORT_OPTIONS = ("-h", "-c", "-p", "-r", "-m", "-sc", "-cp", "-cn", "-cd", "-i")
OUTPUT_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
SWEEP_SETTINGS: dict[str, SettingType] = {
    "launcher.n_jobs": either(Integer(1), Integer(-4096, -1)),
    "sweeper.max_batch_size": Integer(1, optional=True),
    "sweeper.direction": one_of("maximize"),  # the objective is the validation DSC
}


def check_hydra_overrides(overrides: Sequence[str]) -> None:
    """Check that overrides of Hydra's settings name settings that exist and may be changed.

    Args:
        overrides: Overrides of the user, without those that mammoseg adds.

    Raises:
        UserError: If one of them does not.

    Example:
        >>> check_hydra_overrides(["+hydra.run.dri=x"])
        Traceback (most recent call last):
        mammoseg.errors.UserError: there is no setting hydra.run.dri; did you mean hydra.run.dir?
    """
    for override in overrides:
        prefix, key, value = split_override(override)
        if key in OUTPUT_FOLDERS and value is not None and value.strip("'\" ") in ("", "null"):
            raise UserError(f"{key} must be a folder, got {value or 'an empty value'}")
        if key in FIXED:
            raise UserError(f"{key} cannot be changed, since {FIXED[key]}")
        if (choice := override.lstrip("+")) in FIXED_CHOICES:
            raise UserError(f"{choice} is not available; {FIXED_CHOICES[choice]}")
        # Without a prefix, Hydra checks the name.
        if "+" in prefix and key.startswith("hydra.") and not _is_open(key) and key not in (known := _hydra_names()):
            raise unknown_setting(key, known)


def check_options(options: Sequence[str]) -> None:
    """Check that Hydra's options can be used.

    Args:
        options: Options and their values.

    Raises:
        UserError: If an option does not exist or is not supported, or needs another one.

    Example:
        >>> check_options(["--lr=1"])
        Traceback (most recent call last):
        mammoseg.errors.UserError: there is no option --lr; settings have no dashes: write lr=1
    """
    names = [option.partition("=")[0] for option in options]
    is_value = [False, *(option in OPTIONS_WITH_VALUE for option in options)]
    for option, name, follows in zip(options, names, is_value, strict=False):
        if name.startswith("-") and not follows and not _is_option(name):
            key, value = name.lstrip("-").replace("-", "_"), option.partition("=")[2]
            raise UserError(f"there is no option {name}; settings have no dashes: write {key}={value or '...'}")
    for name in names:
        if name in UNSUPPORTED_OPTIONS:
            raise UserError(f"{name} is not supported; {UNSUPPORTED_OPTIONS[name]}")
    for name in ("--resolve", "--package", "-p"):
        if name in names and not {"--cfg", "-c", "--help", "-h"} & {*names}:
            raise UserError(f"{name} requires --cfg job, which prints the config")


def _is_option(name: str) -> bool:
    """Return whether Hydra accepts an option, possibly as an abbreviation or joined with its value."""
    if name.startswith("--"):
        return any(known.startswith(name) for known in LONG_OPTIONS)
    return name in SHORT_OPTIONS or name.startswith(("-c", "-p", "-i"))


def expand_home(override: str) -> str:
    """Replace a leading "~" in an output folder by the home folder; the shell leaves it in `hydra.run.dir=~/runs`.

    Example:
        >>> expand_home("hydra.run.dir=runs/~")
        'hydra.run.dir=runs/~'
    """
    prefix, key, value = split_override(override)
    plain = (value or "").strip("'\"")
    if key not in OUTPUT_FOLDERS or not plain.startswith("~"):
        return override
    return f"{prefix}{key}={quote(Path(plain).expanduser())}"


def check_sweep_settings(hydra: DictConfig) -> None:
    """Check the values of settings of Hydra's launcher and sweeper, of which Hydra checks at most the types.

    Args:
        hydra: Hydra's settings.

    Raises:
        UserError: If one of them is invalid.
    """
    for name, kind in SWEEP_SETTINGS.items():
        section, key = name.split(".")
        if key in hydra[section]:
            kind.check(f"hydra.{name}", hydra[section][key])


def _is_open(key: str) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in OPEN_SECTIONS)


def _hydra_names() -> list[str]:
    names: Any = OmegaConf.to_container(OmegaConf.structured(HydraConf), throw_on_missing=False)
    return [f"hydra.{name}" for name in _leaves(names)]


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
