"""Build every option of a config group, so that contract tests cover new YAML files."""

from __future__ import annotations

from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from mammoseg.conf import conf_dir


def options(group: str) -> list[str]:
    """Return the names of the options of a config group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def build(group: str, name: str, *overrides: str) -> Any:
    """Instantiate an option of a config group."""
    return instantiate(compose_train(f"{group}={name}", *overrides)[group])


@cache  # composing takes longer than most tests
def compose_train(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", list(overrides))
