"""Choices and settings that a file of conf/method selects, and conflicts with other choices on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from mammoseg.errors import UserError
from mammoseg.runs.settings import flatten
from mammoseg.schema.overrides import split_override
from mammoseg.schema.types import as_yaml

PRESETS = ("experiment", "sweep")  # groups whose files take precedence over that of the method


def group_choices(path: Path) -> dict[str, Any]:
    """Return the choice, or list of choices, of each config group that a preset overrides.

    Args:
        path: File of the preset, such as one of conf/method.
    """
    entries = [entry for entry in _load(path).get("defaults", []) if isinstance(entry, dict)]
    return {key.removeprefix("override /"): choice for entry in entries for key, choice in entry.items()}


def selections(path: Path) -> dict[str, Any]:
    """Return the choices of a preset, see `group_choices`, and the values of its settings, except those of Hydra.

    Args:
        path: File of the preset.
    """
    values = {key: value for key, value in _load(path).items() if key not in ("defaults", "hydra")}
    return {**group_choices(path), **dict(flatten(values))}


def _load(path: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return dict(content)


def check_method(overrides: Sequence[str], config_dirs: Sequence[Path]) -> None:
    """Check that the method on the command line is not changed by the experiment or the sweep.

    Args:
        overrides: Overrides of one run.
        config_dirs: `conf/` and the folders of --config-dir.

    Raises:
        UserError: If they select another choice or value, and the command line does not select one.
    """
    given = {key: (value or "").strip("'\"") for _, key, value in map(split_override, overrides)}
    of_method = _selections_of("method", given.get("method"), config_dirs)
    for group in PRESETS:
        of_preset = _selections_of(group, given.get(group), config_dirs)
        for key in (key for key in of_method if key in of_preset and key not in given):
            own, other = (f"{key}={as_yaml(values[key])}" for values in (of_method, of_preset))
            if own != other:
                raise UserError(
                    f"method={given['method']} selects {own}, but {group}={given[group]} selects {other}; add one of "
                    "them to the command line"
                )


def check_distinct_methods(overrides: Sequence[Override], config_dirs: Sequence[Path]) -> None:
    """Check that the methods of a sweep differ in more than the choices and settings that the command line replaces.

    Args:
        overrides: Overrides of the sweep.
        config_dirs: `conf/` and the folders of --config-dir.

    Raises:
        UserError: If two methods are equal, such as au_net and density_asp with loss=dice.
    """
    given = {override.get_key_element().lstrip("+") for override in overrides}
    methods: dict[str, str] = {}
    for name in _swept_methods(overrides):
        selected = _selections_of("method", name, config_dirs)
        remaining = repr(sorted((key, value) for key, value in selected.items() if key not in given))
        if (equal := methods.setdefault(remaining, name)) != name:
            replaced = ", ".join(sorted(given & selected.keys()))
            raise UserError(
                f"{replaced} replaces that of the methods {equal} and {name}, which are then equal; choose one of "
                f"them, such as method={equal}"
            )


def _swept_methods(overrides: Sequence[Override]) -> Iterator[str]:
    """Yield the swept methods."""
    for override in overrides:
        if override.get_key_element() == "method" and override.is_sweep_override():
            yield from (value.strip("'\"") for value in override.sweep_string_iterator())


def _selections_of(group: str, name: str | None, config_dirs: Sequence[Path]) -> dict[str, Any]:
    """Return the selections of a choice; none if there is no such file, which Hydra reports."""
    paths = [folder / group / f"{name}.yaml" for folder in config_dirs]
    return next((selections(path) for path in paths if path.is_file()), {})
