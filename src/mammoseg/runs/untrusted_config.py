"""Validation of configs from checkpoints and run folders, which may come from somebody else.

Hydra instantiates any class or function that a config names, so a config is code. A section is instantiated only if

- it consists of plain mappings, lists, strings, numbers, booleans and null, within limits of size and depth,
- it contains no interpolation,
- each `_target_` is one that `conf/` names at the same position, or is defined in a trusted module, and
- each argument has the type that its target declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.utils import get_object
from omegaconf import DictConfig

from mammoseg.conf import conf_dir, iter_positions, targets_in
from mammoseg.errors import UserError
from mammoseg.runs.settings import Role, role
from mammoseg.schema.check import check_section, plain_config

MAX_DEPTH = 20
MAX_ENTRIES = 10_000
MAX_STRING = 10_000  # characters
MAX_INTEGER = 2**63 - 1
# Groups of conf/ whose files fill each section of a config.
GROUPS = {
    "dataset": ("dataset", "preprocessing"),
    **{name: (name,) for name in ("split", "model", "loss", "augment", "optimizer", "scheduler", "callbacks")},
    **{name: (name,) for name in ("trainer", "logger", "sampler")},
}
# Keys of `hydra.utils.instantiate` that can change what a listed target does.
REJECTED_KEYS = ("_args_", "_recursive_")


def check_plain(config: Any, source: object) -> None:
    """Check that a config consists of plain values without interpolations, within limits of size and depth.

    Args:
        config: The config.
        source: Its file, for error messages.

    Raises:
        UserError: If it does not.
    """
    n_entries = 0
    stack = [(config, 0)]
    while stack:
        node, depth = stack.pop()
        n_entries += 1
        if n_entries > MAX_ENTRIES or depth > MAX_DEPTH:
            raise UserError(f"{source}: its config must have at most {MAX_ENTRIES} entries, {MAX_DEPTH} levels deep")
        if type(node) is dict:
            if not all(type(key) in (str, int) for key in node):
                raise UserError(f"{source}: the keys of its config must be strings")
            stack += [(value, depth + 1) for pair in node.items() for value in pair]
        elif type(node) is list:
            stack += [(value, depth + 1) for value in node]
        elif type(node) is str:
            if len(node) > MAX_STRING or "${" in node:
                raise UserError(
                    f"{source}: the strings of its config must have at most {MAX_STRING} characters and no "
                    f"interpolations, got {node[:80]}"
                )
        elif type(node) is int and abs(node) > MAX_INTEGER:
            raise UserError(f"{source}: the integers of its config must be at most {MAX_INTEGER}")
        elif type(node) not in (int, float, bool, type(None)):
            raise UserError(f"{source}: its config must consist of plain values, got {type(node).__name__}")


def check_targets(
    config: dict[str, Any],
    sections: Sequence[str],
    source: object,
    *,
    trusted_modules: Sequence[str] = (),
    config_dirs: Sequence[Path] = (),
) -> None:
    """Check that the sections of a config may be instantiated.

    Args:
        config: A config that has passed `check_plain`.
        sections: Names of the sections that will be instantiated.
        source: Its file, for error messages.
        trusted_modules: Modules, classes or functions that may be used besides those that `conf/` names.
        config_dirs: Folders of the user, whose YAML files are trusted as those of `conf/` are.

    Raises:
        UserError: If a section names a target that is not trusted, or has an invalid argument.
    """
    for section in sections:
        if targets := untrusted_targets(config, [section], trusted_modules=trusted_modules, config_dirs=config_dirs):
            raise UserError(
                f"{source}: its {section} names {targets[0]}, which is not among the choices of conf/{section} at this "
                f"position and not trusted; if you know that code, set trusted_modules=[{targets[0]}]"
            )
        if key := _rejected_key(config.get(section)):
            raise UserError(f"{source}: its {section} contains {key}, which is not allowed in a stored config")
        try:
            check_section(section, _without_unset_paths(section, config.get(section)))
        except UserError as error:
            raise UserError(f"{source}: {error}") from error


def check_resumed_config(cfg: DictConfig, hydra: DictConfig | HydraConf, folder: object) -> None:
    """Check that all sections of the config of a resumed run may be instantiated; its folder may be somebody else's.

    Args:
        cfg: Composed config of `train`.
        hydra: Hydra's own settings, which contain the folders of --config-dir.
        folder: Run folder, for error messages.

    Raises:
        UserError: If a section names a target that is not trusted, or has an invalid argument.
    """
    trusted, dirs = cfg.trusted_modules or (), command_line_dirs(hydra)
    config = plain_config(cfg)
    check_targets(config, tuple(GROUPS), folder, trusted_modules=trusted, config_dirs=dirs)
    check_uploads(config["logger"], folder)


def check_uploads(loggers: Mapping[str, Any], folder: object) -> None:
    """Check that no logger of a resumed run uploads data, except as set by logger.mode and logger.entity.

    These two settings are not taken from the run folder.

    Args:
        loggers: Section `logger` of the config.
        folder: Run folder, for error messages.

    Raises:
        UserError: If an entry has a mode or an entity of its own.
    """
    for name, entry in loggers.items():
        if not isinstance(entry, Mapping):
            continue
        is_online = entry.get("mode") == "online" != loggers.get("mode")
        if is_online or entry.get("entity") not in (None, loggers.get("entity")):
            raise UserError(
                f"{folder}: logger.{name} must use logger.mode and logger.entity, which are set on the command line"
            )


def command_line_dirs(hydra: DictConfig | HydraConf) -> list[Path]:
    """Return the folders of --config-dir on this command line; `hydra` are Hydra's own settings."""
    return [Path(source.path) for source in hydra.runtime.config_sources if source.provider == "command-line"]


def config_folders(hydra: DictConfig | HydraConf) -> list[Path]:
    """Return `conf/` and the folders of --config-dir on this command line; `hydra` are Hydra's own settings."""
    return [conf_dir(), *command_line_dirs(hydra)]


def untrusted_targets(
    config: Mapping[str, Any],
    sections: Iterable[str],
    *,
    trusted_modules: Sequence[str] = (),
    config_dirs: Sequence[Path] = (),
) -> list[str]:
    """Return the targets in the sections of a config that may not be instantiated, see `check_targets`."""
    folders = [conf_dir(), *config_dirs]
    return sorted(
        {
            target
            for section in sections
            for position, target in iter_positions(config.get(section))
            if (position, target) not in targets_in(GROUPS[section], folders)
            and not _is_trusted(target, trusted_modules)
        }
    )


def _without_unset_paths(section: str, node: Any) -> Any:
    """Remove the private settings, which are stored as null."""
    if not isinstance(node, dict):
        return node
    return {
        key: _without_unset_paths(f"{section}.{key}", value)
        for key, value in node.items()
        if value is not None or role(f"{section}.{key}") is not Role.PRIVATE
    }


def _is_trusted(target: str, trusted_modules: Sequence[str]) -> bool:
    return any(target == name or _is_defined_in(name, target) for name in trusted_modules)


def _is_defined_in(module: str, target: str) -> bool:
    """Return whether a target is a class or function of a trusted module, not one that the module has imported."""
    if not target.startswith(f"{module}."):
        return False
    try:
        found = get_object(target)
    except Exception:  # of the trusted module; the message of the error is that of `check_section`
        return True
    defined = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    return defined.startswith(f"{module}.")


def _rejected_key(node: Any) -> str | None:
    if isinstance(node, dict):
        if found := next((key for key in REJECTED_KEYS if key in node), None):
            return found
        node = list(node.values())
    if isinstance(node, list):
        return next((key for value in node if (key := _rejected_key(value))), None)
    return None
