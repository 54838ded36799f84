"""Render HTML pages from jinja2 templates, with autoescaping."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """Render a template file.

    Values are escaped for HTML. To embed data for scripts, use the filter `tojson`, which also escapes `<`, `>`, `&`
    and `'`, so that no string can close the script element.

    Args:
        template: Template file; templates in the same folder can be included.
        values: Variables of the template.

    Returns:
        The rendered page.

    Raises:
        jinja2.UndefinedError: If the template uses a name that is not in `values`.
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
    environment.policies["json.dumps_kwargs"] = {}  # keep the order of keys
    return environment.get_template(template.name).render(values)
