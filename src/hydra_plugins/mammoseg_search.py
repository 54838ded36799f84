"""Hydra plugin for hydra/sweeper=search; mammoseg.launch.optuna_sweeper does the work and is imported lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Search(Sweeper):
    """A sweep whose next jobs Optuna chooses; the launcher that the user chose runs them.

    The arguments are conf/hydra/sweeper/search.yaml's, where they are explained.
    """

    hydra_context: HydraContext
    config: DictConfig

    def __init__(self, params: Mapping[str, Any] | None, ordered: Sequence[str] | None, **settings: Any) -> None:
        self.params = params or {}
        self.ordered = ordered or []
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from mammoseg.launch.optuna_sweeper import Space, search

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides([f"{name}={value}" for name, value in self.params.items()])
        typed = parser.parse_overrides(arguments)
        space = Space.of([*given, *typed], self.ordered)

        def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
            self.validate_batch_is_legal(jobs)
            assert self.launcher is not None
            self.launcher.launch(jobs, initial_job_idx=first)

        search(space, launch, self.config.hydra, **self.settings)
