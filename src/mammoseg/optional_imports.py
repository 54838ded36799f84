"""Imports of optional dependencies, the extras of pyproject.toml."""

from __future__ import annotations

import importlib
from typing import Any

from mammoseg.errors import UserError


def import_optional(module: str, purpose: str, extra: str, alternative: str = "") -> Any:
    """Import a module of an optional dependency and return it.

    Args:
        module: Dotted name of the module.
        purpose: What requires it, as the subject of a sentence.
        extra: Extra of mammoseg that contains it.
        alternative: What the user can do instead, such as "set onnx=false".

    Raises:
        UserError: If it is not installed.

    Example:
        >>> import_optional("json", "this example", "dev").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(
            f"{purpose} requires {package}, which is not installed: pip install '.[{extra}]'"
            f"{alternative and f', or {alternative}'}"
        ) from error
