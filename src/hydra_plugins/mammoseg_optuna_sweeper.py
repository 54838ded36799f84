"""Hydra plugin for hydra/sweeper=mammoseg_optuna.

Hydra imports every plugin at each start, so `mammoseg.launch.optuna_sweeper` is imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class MammosegOptunaSweeper(Sweeper):
    """Sweeper whose trials are proposed by Optuna and run by the configured launcher.

    Args:
        params: Search space: setting -> interval, range or list of choices in Hydra's grammar.
        monotone: Settings with the same interval whose values must be non-decreasing in this order.
        storage: URL of the storage of the study, which each job reads from its config.
        **settings: Other keys of conf/hydra/sweeper/mammoseg_optuna.yaml; see
            `mammoseg.launch.optuna_sweeper.run_study`.

    Raises:
        UserError: If an argument has the name of an earlier version.
    """

    hydra_context: HydraContext
    config: DictConfig

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        monotone: Sequence[str] | None = None,
        storage: str | None = None,
        **settings: Any,
    ) -> None:
        from mammoseg.errors import UserError
        from mammoseg.schema.renamed import RENAMED_TRAIN_SETTINGS

        for name in settings:
            if new := RENAMED_TRAIN_SETTINGS.get(f"hydra.sweeper.{name}"):
                raise UserError(f"hydra.sweeper.{name} is now called {new}; rename it in your YAML file")
        self.params = params or {}
        self.monotone = monotone or []
        self.storage = storage
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Instantiate the launcher; Hydra calls this method before `sweep`."""
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the study.

        Args:
            arguments: Overrides on the command line; they replace entries of `params`.
        """
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from mammoseg.launch.optuna_sweeper import run_study
        from mammoseg.launch.search_space import SearchSpace

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        from_config = parser.parse_overrides([f"{name}={value}" for name, value in self.params.items()])
        from_command_line = parser.parse_overrides(arguments)
        space = SearchSpace.from_overrides([*from_config, *from_command_line], self.monotone)

        def launch(jobs: Sequence[Sequence[str]], first_job: int) -> None:
            self.validate_batch_is_legal(jobs)
            assert self.launcher is not None  # narrows the type
            self.launcher.launch(jobs, initial_job_idx=first_job)

        run_study(space, launch, self.config.hydra, **self.settings)
