"""Checks of the command line before Hydra composes the config, and plain messages for Hydra's errors."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from mammoseg.errors import UserError
from mammoseg.schema.check import part_arguments, setting_names, unknown_setting
from mammoseg.schema.overrides import key_of, split_override
from mammoseg.schema.renamed import RENAMED_SETTINGS
from mammoseg.schema.types import as_yaml, did_you_mean

# Hydra's options that are followed by a value.
OPTIONS_WITH_VALUE = (
    *("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"),
    *("--cfg", "-c", "--package", "-p", "--experimental-rerun"),
)
COMBINED_GROUPS = ("callbacks", "logger")  # groups of which several choices can be combined
EXISTING_KEY = re.compile(r"Could not append to config\. An item is already at '([^']+)'")
UNKNOWN_KEY = re.compile(r"Could not (?:override|append to config\.[^']*|delete from config\.) ?'([^']+)'")

UNKNOWN_NAME = re.compile(r"(?:Could not override|Interpolation key) '(?:[^'/]*/)*([^']+)'")
INVALID_VALUE = re.compile(r"Error merging override (\S+)")
AMBIGUOUS = re.compile(r"Ambiguous value for argument '(.*?)'\n")
SWEEP = re.compile(r"Sweep parameters '(.*?)' requires --multirun")
UNKNOWN_CHOICE = re.compile(r"Could not find '([^']+)'\s+Available options in '[^']+':\n((?:\t[^\n]+\n?)+)")


def split_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate Hydra's options, each with its value, from the overrides.

    Example:
        >>> split_options(["lr=1", "-m", "--config-dir", "conf", "seed=1,2"])
        (['-m', '--config-dir', 'conf'], ['lr=1', 'seed=1,2'])
    """
    options: list[str] = []
    overrides: list[str] = []
    arguments = iter(argv)
    for argument in arguments:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        options.append(argument)
        if argument in OPTIONS_WITH_VALUE:
            options += [value for value in [next(arguments, None)] if value is not None]
    return options, overrides


def config_dirs(options: Sequence[str]) -> list[Path]:
    """Return the folders of the option --config-dir."""
    folders = [value for option, value in itertools.pairwise(options) if option in ("--config-dir", "-cd")]
    folders += [option.partition("=")[2] for option in options if option.startswith("--config-dir=")]
    return [Path(folder).expanduser() for folder in folders]


def check_overrides(overrides: Sequence[str], config_dirs: Sequence[Path]) -> None:
    """Check the grammar of overrides, and the choices of config groups.

    Args:
        overrides: As on the command line.
        config_dirs: `conf/` and the folders of --config-dir.

    Raises:
        UserError: If an override cannot be parsed, or chooses a file that does not exist.
    """
    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise UserError(f"cannot parse {text}; {_syntax_hint(text)}") from error
        except ValueError as error:
            raise UserError(f"cannot parse {text[:80]}; a number has too many digits") from error
        if not override.key_or_group:
            raise UserError(f"cannot parse {text}; write key=value")
        _check_choice(override, config_dirs)


def _syntax_hint(text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals or not key:
        return "write key=value, and quote values that contain spaces"
    return f"quote values that contain special characters twice, as in '{key}=\"{value}\"'"


def _check_choice(override: Override, config_dirs: Sequence[Path]) -> None:
    group = override.key_or_group
    choices = sorted({path.stem for folder in config_dirs for path in (folder / group).glob("*.yaml")})
    if not choices or group.startswith("hydra") or override.is_delete():
        return
    if override.is_add():
        raise UserError(f"{group} is chosen with {group}=... without +, got {override.input_line}")
    value = override.value()
    values = [value]
    if override.is_sweep_override():
        if not override.is_choice_sweep():
            raise UserError(f"{group} must be one of {', '.join(choices)}, got {override.get_value_element_as_str()}")
        values = list(override.sweep_iterator())
    if group not in COMBINED_GROUPS and any(isinstance(value, list) for value in values):
        raise UserError(f"{group} must be one of {', '.join(choices)}, got {as_yaml(value)}")
    if [] in values:
        raise UserError(f"{group} must be one or more of {', '.join(choices)}, got an empty list")
    for choice in (entry for value in values for entry in (value if isinstance(value, list) else [value])):
        if not isinstance(choice, str) or choice.strip("'\"") not in choices:
            raise UserError(
                f"{group} must be one of {', '.join(choices)}, got {as_yaml(choice)}{did_you_mean(choice, choices)}"
            )


def explain(error: Exception, command: str, conf: Path, overrides: Sequence[str] = ()) -> str:
    """Return the message of an error of Hydra or OmegaConf as one sentence.

    Args:
        error: Raised while Hydra composed the config.
        command: Name of the command.
        conf: The folder `conf/`.
        overrides: Arguments of the command line; arguments of the chosen classes are suggested.
    """
    text = str(error)
    renamed = RENAMED_SETTINGS.get(command, {})
    if (match := UNKNOWN_NAME.search(text)) and renamed.get(match.group(1)):
        return f"{match.group(1)} is now called {renamed[match.group(1)]}; rename it in your YAML file"
    if match := EXISTING_KEY.search(text):
        return f"{match.group(1)} exists already; write {match.group(1)}=... without +"
    if match := UNKNOWN_KEY.search(text):
        return _explain_unknown_key(match.group(1), command, conf, overrides)
    if match := AMBIGUOUS.search(text) or SWEEP.search(text):
        key, _, value = match.group(1).partition("=")
        return f"{key} has several values; add -m to sweep over them, or quote one value twice: '{key}=\"{value}\"'"
    if match := UNKNOWN_CHOICE.search(text):
        group, _, choice = match.group(1).rpartition("/")
        choices = [line.strip() for line in match.group(2).splitlines() if line.strip()]
        return f"{group} must be one of {', '.join(choices)}, got {choice}{did_you_mean(choice, choices)}"
    if (match := INVALID_VALUE.match(text)) and error.__cause__ is not None:
        reason = str(error.__cause__).strip().splitlines()[0].rstrip(".")
        return f"{key_of(match.group(1))} cannot be changed in this way: {reason}; correct {match.group(1)}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("See https://hydra.cc")]
    return "; ".join(line.rstrip(".;:") for line in lines[:2]) if lines else type(error).__name__


def _explain_unknown_key(name: str, command: str, conf: Path, overrides: Sequence[str]) -> str:
    section, _, key = name.rpartition(".")
    group = name.partition(".")[0]
    if command == "evaluate" and group in ("dataset", "split") and name in default_names("train", conf):
        return f"{name} requires a choice of dataset, such as dataset=inbreast; otherwise it is that of the training"
    config = default_config(command, conf, [override for override in overrides if _is_choice(override, conf)])
    known = [*setting_names(command), *flatten_names(OmegaConf.to_container(config))]
    part = OmegaConf.select(config, section) if section else None
    addable: list[str] = []
    if isinstance(part, DictConfig) and isinstance(part.get("_target_"), str):
        arguments, accepts_others = part_arguments(section, part._target_, [key])
        if key in arguments or accepts_others:
            return f"{name} is not in the configuration; to set this argument of {part._target_}, write +{name}=..."
        addable = [f"{section}.{argument}" for argument in arguments]
    if name in known or name in default_names(command, conf):
        return f"there is no setting {name} with this choice of {group}; remove it, or choose another {group}"
    return str(unknown_setting(name, known, addable))


def _is_choice(override: str, conf: Path) -> bool:
    """Return whether an override chooses one file of `conf/`."""
    _, group, choice = split_override(override)
    return "/" not in (choice or "/") and (conf / group / f"{choice}.yaml").is_file()


def default_config(command: str, conf: Path, choices: Sequence[str] = ()) -> DictConfig:
    """Compose the default config of a command.

    Args:
        command: Name of the command.
        conf: The folder `conf/`.
        choices: Overrides that choose files of config groups.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose(command, list(choices))


def default_names(command: str, conf: Path) -> list[str]:
    """Return the names of all settings in the default config of a command."""
    return list(flatten_names(OmegaConf.to_container(default_config(command, conf))))


def flatten_names(node: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of all settings and sections in nested mappings."""
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten_names(value, f"{prefix}{key}.")
