"""Arguments of a target that `parts.py` does not list, by its signature."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.utils import get_object

from mammoseg.errors import UserError
from mammoseg.schema.collection_types import AnyValue, Either, ListOf, MappingOf
from mammoseg.schema.types import Boolean, Integer, Number, SettingType, Text, one_of

# Ranges that these names have in every library.
COMMON_RANGES: dict[str, SettingType] = {
    "lr": Number(0, 100),
    "weight_decay": Number(0, 100),
    "momentum": Number(0, 1),
    "dropout": Number(0, 1),
    "p": Number(0, 1),
}


def target_arguments(section: str, target: str) -> tuple[dict[str, SettingType], bool]:
    """Return the arguments of a class or function, and whether it accepts others as well.

    Args:
        section: Name of the section of the config, for error messages.
        target: Dotted path.

    Returns:
        Types of the named arguments, and True if there is a `**kwargs`.

    Raises:
        UserError: If the target cannot be imported.
    """
    from mammoseg.terminal import suppress_logs_and_warnings

    try:
        with suppress_logs_and_warnings("hydra.utils"):
            function = get_object(target)
    except Exception as error:
        raise UserError(
            f"{section}._target_ must be the path of a class or function, got {target}, which cannot be imported"
        ) from error
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return {}, True
    annotations = _annotations(function)
    named = {
        parameter.name: _argument_type(parameter.name, annotations.get(parameter.name, Any))
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    return named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _annotations(function: Any) -> dict[str, Any]:
    if isinstance(function, functools.partial):
        function = function.func
    try:
        return typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except Exception:  # evaluates annotations, which may name anything
        return {}


def _argument_type(name: str, annotation: Any) -> SettingType:
    annotated = type_of(annotation)
    ranged = COMMON_RANGES.get(name)
    return ranged if ranged is not None and isinstance(annotated, Number | AnyValue) else annotated


def type_of(annotation: Any) -> SettingType:
    """Return the type of setting for a type annotation; `AnyValue` for classes that YAML has no values of.

    Example:
        >>> type_of(int | None).description
        'an integer or null'
    """
    simple: dict[Any, SettingType] = {
        bool: Boolean(),
        int: Integer(minimum=None),
        float: Number(),
        str: Text(empty=True),
        type(None): one_of(None),
    }
    if isinstance(annotation, type | None) and annotation in simple:
        return simple[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_of(arguments[0])
    if origin is typing.Literal:
        return one_of(*arguments)
    if origin in (typing.Union, types.UnionType):
        members = tuple(type_of(argument) for argument in arguments)
        return AnyValue() if any(isinstance(member, AnyValue) for member in members) else Either(members)
    if origin in (list, Sequence) and arguments:
        return ListOf(type_of(arguments[0]))
    if origin in (dict, Mapping) and arguments:
        return MappingOf(type_of(arguments[1]))
    return AnyValue()
