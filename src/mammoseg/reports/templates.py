"""Rendering of HTML pages from Jinja templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """Render a template with HTML autoescaping.

    Data for scripts must be embedded with the filter `tojson`, which also escapes `<`, `>`, `&` and `'`, so that a
    string cannot close the script element.

    Args:
        template: Template file, which can include other templates in its folder.
        **values: Variables of the template.

    Returns:
        The rendered page.

    Raises:
        jinja2.UndefinedError: If the template contains an undefined variable.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # do not sort keys
    return environment.get_template(template.name).render(values)
