"""Validation of a composed config: every setting is known and has a valid value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from mammoseg.errors import UserError
from mammoseg.schema.collection_types import AnyValue, ListOf, MappingOf, Section, SectionOrPart
from mammoseg.schema.commands import COMMAND_RULES, command_section
from mammoseg.schema.part_types import SubPart
from mammoseg.schema.parts import PARTS
from mammoseg.schema.renamed import renamed_target_message
from mammoseg.schema.types import SettingType, as_yaml, closest, did_you_mean, one_of

# Keys that `hydra.utils.instantiate` reads besides the arguments of the target.
INSTANTIATE_KEYS: dict[str, SettingType] = {
    "_partial_": one_of(True, False),
    "_convert_": one_of("none", "partial", "object", "all"),
    "_recursive_": one_of(True, False),
}


def check_config(command: str, cfg: DictConfig) -> None:
    """Check all settings of a command.

    Args:
        command: Name of the command, such as "train".
        cfg: Its composed config.

    Raises:
        UserError: If a setting is unknown, missing or invalid.
    """
    config = plain_config(cfg)
    _check_section("", config, command_section(command))
    for rule in COMMAND_RULES.get(command, ()):
        if (message := rule(config)) is not None:
            raise UserError(message)


def plain_config(cfg: DictConfig) -> dict[str, Any]:
    """Resolve all interpolations.

    Raises:
        UserError: If one cannot be resolved, or a required setting is missing.
    """
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    cfg.pop("hydra", None)
    try:
        config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is required; set it with {error.full_key}=..., see --help") from error
    except (InterpolationResolutionError, OmegaConfBaseException) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{error.full_key or 'the configuration'} cannot be resolved: {text}") from error
    return dict(config)


def check_section(name: str, value: Any) -> None:
    """Check one section of the config of `train`, as plain values.

    Args:
        name: Name of the section, such as "model".
        value: Its content.

    Raises:
        UserError: If a setting in it is unknown or invalid.
    """
    _check(name, value, command_section("train").settings[name])


def _check(name: str, value: Any, kind: SettingType) -> None:
    if isinstance(value, Mapping) and "_target_" in value and isinstance(kind, SubPart | AnyValue | SectionOrPart):
        _check_part(name, value, partial=isinstance(kind, SubPart) and kind.partial)
        return
    if isinstance(value, Mapping) and isinstance(kind, MappingOf):  # names the invalid entry
        for key, entry in value.items():
            _check(f"{name}.{key}", entry, kind.item)
        return
    kind.check(name, value)
    if isinstance(kind, Section) and value is not None:
        _check_section(name, value, kind)
    elif isinstance(value, list) and isinstance(kind, ListOf):
        for index, entry in enumerate(value):
            _check(f"{name}.{index}", entry, kind.item)


def _check_section(name: str, section: Mapping[str, Any], kind: Section) -> None:
    prefix = f"{name}." if name else ""
    if "_target_" in section:
        raise UserError(f"{name} must be a mapping from names to parts, each with a _target_, got a _target_ in {name}")
    for key, value in section.items():
        expected = kind.settings.get(key, kind.extra)
        if expected is None:
            raise unknown_setting(f"{prefix}{key}", [f"{prefix}{known}" for known in kind.settings])
        _check(f"{prefix}{key}", value, expected)
    for key, expected in kind.settings.items():
        if key not in section and key not in kind.absent:
            raise UserError(f"{prefix}{key} is missing from the configuration; it must be {expected.description}")


def _check_part(name: str, part: Mapping[str, Any], *, partial: bool) -> None:
    target = part["_target_"]
    if not isinstance(target, str) or "." not in target:
        raise UserError(f"{name}._target_ must be the path of a class or function, got {target}")
    if (message := renamed_target_message(name, part)) is not None:
        raise UserError(message)
    if part.get("_partial_", False) is not partial:
        raise UserError(f"{name}._partial_ must be {as_yaml(partial)}, got {as_yaml(part.get('_partial_', False))}")
    listed = PARTS.get(target)
    known, accepts_others = part_arguments(name, target, part.keys())
    for key, value in part.items():
        if key in ("_target_", "_args_"):
            continue
        expected = known.get(key) or INSTANTIATE_KEYS.get(key) or (AnyValue() if accepts_others else None)
        if expected is None:
            raise unknown_setting(f"{name}.{key}", [f"{name}.{argument}" for argument in known])
        _check(f"{name}.{key}", value, expected)
    for rule in listed.rules if listed else ():
        if (message := rule(name, part)) is not None:
            raise UserError(message)


def part_arguments(name: str, target: str, keys: Collection[str]) -> tuple[Mapping[str, SettingType], bool]:
    """Return the arguments of the target of a part, and whether it accepts others as well.

    The target is imported only if one of `keys` is not listed in `PARTS`.

    Args:
        name: Name of the part, such as "optimizer".
        target: Dotted path of its class or function.
        keys: Keys to look up.

    Raises:
        UserError: If the target cannot be imported.
    """
    listed = PARTS.get(target)
    known: Mapping[str, SettingType] = listed.arguments if listed else {}
    if (listed is not None and listed.complete) or {*keys} <= {"_target_", "_args_", *INSTANTIATE_KEYS, *known}:
        return known, False
    from mammoseg.schema.signatures import target_arguments  # imports the target, and torch with it

    arguments, accepts_others = target_arguments(name, target)
    return {**arguments, **known}, accepts_others


def unknown_setting(name: str, known: Collection[str], addable: Collection[str] = ()) -> UserError:
    """Return the error for a setting that does not exist.

    Args:
        name: Name of the setting.
        known: Names of existing settings, for suggestions.
        addable: Names of arguments that the config does not contain, and which therefore are set with a leading +.
    """
    if name in known:
        return UserError(f"there is no setting {name} with the choices and settings of this command; see --cfg job")
    section, _, key = name.rpartition(".")
    names = [*known, *addable]
    siblings = [other.rpartition(".")[2] for other in names if other.rpartition(".")[0] == section]
    if not key.startswith("_"):
        siblings = [sibling for sibling in siblings if not sibling.startswith("_")]  # such as _target_
    if (sibling := closest(key, siblings)) is not None:
        nearest = f"{section}.{sibling}" if section else sibling
        plus = "+" if section and nearest not in known else ""
        return UserError(f"there is no setting {name}; did you mean {plus}{nearest}?")
    others = [other for other in known if other.rpartition(".")[0] != section and not name.startswith(f"{other}.")]
    return UserError(f"there is no setting {name}{did_you_mean(name, others) or '; see --help'}")


def setting_names(command: str) -> list[str]:
    """Return the names of all settings of a command, for suggestions."""
    return sorted(set(_names("", command_section(command))))


def _names(prefix: str, section: Section) -> Iterator[str]:
    for key, kind in section.settings.items():
        yield f"{prefix}{key}"
        if isinstance(kind, Section):
            yield from _names(f"{prefix}{key}.", kind)
