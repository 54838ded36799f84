"""Hydra callback that validates the settings of a run or sweep before Hydra creates a folder for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from typing_extensions import override

from mammoseg.conf import conf_dir
from mammoseg.errors import UserError, exit_with_message
from mammoseg.launch.method_choice import check_distinct_methods, check_method
from mammoseg.runs.untrusted_config import check_resumed_config, config_folders
from mammoseg.schema.check import check_config
from mammoseg.schema.command_line import explain
from mammoseg.schema.hydra_settings import check_sweep_settings
from mammoseg.schema.renamed import RENAMED_SETTINGS, check_renamed, check_theta_overrides

MAX_VALUES = 200  # per swept setting; further ones are checked when their jobs start


class SettingsCheck(Callback):
    """Exits with status 2 and one sentence if a setting is invalid.

    Hydra turns exceptions of callbacks into warnings, hence the exit.
    """

    @override
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the config of a single run."""
        command = config.hydra.job.name
        try:
            if config.get("resume") is not None:
                # Before check_config, which imports targets to read their signatures.
                check_resumed_config(config, config.hydra, config.resume)
            check_config(command, config)
            check_method(list(config.hydra.overrides.task), config_folders(config.hydra))
        except UserError as error:
            exit_with_message(command, str(error))

    @override
    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check each value of each swept setting, with the other settings at their defaults."""
        command = config.hydra.job.name
        try:
            check_sweep_settings(config.hydra)
            overrides = sweep_overrides(command, config)
            fixed = [parsed.input_line for parsed in overrides if not parsed.is_sweep_override() and parsed.input_line]
            folders = config_folders(config.hydra)
            check_distinct_methods(overrides, folders)
            for values in first_values(overrides):
                check_method([*fixed, *values], folders)
                check_config(command, compose(config.hydra.job.config_name, [*fixed, *values]))
        except UserError as error:
            exit_with_message(command, str(error))
        except HydraException as error:
            exit_with_message(command, explain(error, command, conf_dir(), list(config.hydra.overrides.task)))


def sweep_overrides(command: str, config: DictConfig) -> list[Override]:
    """Return the overrides of a sweep: those of the command line, and those that its sweeper adds.

    Raises:
        UserError: If one of them has the name of an earlier version, or an interval that only a search can sample.
    """
    params = dict(config.hydra.sweeper.get("params") or {})
    lines = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    check_renamed(lines, RENAMED_SETTINGS.get(command, {}))
    overrides = OverridesParser.create().parse_overrides(lines)
    if "optuna" not in str(config.hydra.sweeper.get("_target_")):  # its search space handles them
        check_theta_overrides(lines)
        if continuous := [
            parsed for parsed in overrides if parsed.is_sweep_override() and not parsed.is_discrete_sweep()
        ]:
            raise UserError(
                f"{continuous[0].input_line} requires sweep=optuna; list the values of other sweeps, as in lr=1e-4,1e-3"
            )
    # As in Hydra's sweeper, the last override of a setting replaces earlier ones.
    return list({parsed.get_key_element(): parsed for parsed in overrides}.values())


def first_values(overrides: list[Override]) -> Iterator[list[str]]:
    """Yield sets of overrides in which each value of each swept setting occurs once.

    The number of sets grows with the sum of the numbers of values, not with their product.
    """
    swept = {
        parsed.get_key_element(): list(parsed.sweep_string_iterator())[:MAX_VALUES]
        for parsed in overrides
        if parsed.is_sweep_override() and parsed.is_discrete_sweep()
    }
    base = {key: values[0] for key, values in swept.items()}
    yield [f"{key}={value}" for key, value in base.items()]
    for key, values in swept.items():
        for value in values[1:]:
            yield [f"{name}={value if name == key else first}" for name, first in base.items()]
