"""Resolvers for the help texts in conf/: the settings of a command with their comments, and the choices of groups."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from mammoseg.conf import conf_dir
from mammoseg.program import started_as
from mammoseg.schema.settings_file import SettingsFile
from mammoseg.schema.types import as_yaml

WIDTH = 110  # of a line of the help text
UNLISTED_GROUPS = ("hydra", "preprocessing", "published")  # selected by other groups


def register_resolvers() -> None:
    """Register the resolvers program, help_settings and help_choices, used by hydra.help.template in conf/*.yaml."""
    OmegaConf.register_new_resolver("program", escaped_program, replace=True)
    OmegaConf.register_new_resolver("help_settings", help_settings, replace=True)
    OmegaConf.register_new_resolver("help_choices", help_choices, replace=True)


def escaped_program() -> str:
    """Return `program.started_as` for the usage examples."""
    return started_as().replace("$", "$$")  # Hydra substitutes names after $


def help_settings(*sections: str, _root_: DictConfig) -> str:
    """Return the settings of a command with their values and comments, and some of its sections.

    Args:
        *sections: Sections whose settings are listed as well, without comments.
        _root_: Composed config with Hydra's own settings, as OmegaConf passes it to a resolver.
    """
    comments = setting_comments(conf_dir() / f"{_root_.hydra.job.config_name}.yaml")
    config = OmegaConf.to_container(_root_)
    assert isinstance(config, dict)
    # Without comments, the settings are from a file of the user, given as --config-name.
    listed = [
        str(key) for key, value in config.items() if not isinstance(value, dict) and (key in comments or not comments)
    ]
    shown = {key: _shown(_root_, key) for key in listed}
    indent = 2 + max((len(f"{key}={text}") for key, text in shown.items()), default=0) + 2
    lines = []
    for key, text in shown.items():
        comment = textwrap.wrap(comments.get(key, ""), max(WIDTH - indent, 40)) or [""]
        lines.append(f"  {f'{key}={text}':<{indent - 2}}{comment[0]}".rstrip())
        lines += [" " * indent + line for line in comment[1:]]
    for section in sections:
        lines += [f"  {key}={value}" for key, value in _flat(config[section], section)]
    return "\n".join(lines).replace("$", "$$")  # Hydra substitutes names after $


def help_choices(*groups: str) -> str:
    """Return the choices of config groups, including those of --config-dir.

    Args:
        *groups: Names of the groups; by default all, except those that are selected by other groups.
    """
    loader = GlobalHydra.instance().config_loader()
    names = groups or [name for name in loader.list_groups("") if name not in UNLISTED_GROUPS]
    lines = [f"{name}: {', '.join(loader.get_group_options(name))}" for name in names]
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False) for line in lines)


def setting_comments(path: Path) -> dict[str, str]:
    """Return the comments of the settings at the top level of a YAML file.

    Args:
        path: File in conf/; without such a file there are no comments.

    Returns:
        For each setting its comment in the same line, or otherwise those in the lines above it.
    """
    settings = SettingsFile(path).settings if path.is_file() else []
    return {setting.name: setting.comment for setting in settings if "." not in setting.name}


def _shown(config: DictConfig, key: str) -> str:
    if OmegaConf.is_missing(config, key):
        return "(required)"
    value = config[key]
    return as_yaml(OmegaConf.to_container(value) if isinstance(value, ListConfig) else value)


def _flat(node: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f"{prefix}.{key}")
    else:
        yield prefix, as_yaml(node)
