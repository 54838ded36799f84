"""report.html and report.md from sections of texts, tables and figures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mammoseg.files import atomic_write_text
from mammoseg.reports.table import Table
from mammoseg.reports.templates import render

TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Section:
    """Part of a report; `figures` are (PNG file, alternative text)."""

    title: str
    texts: Sequence[str] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)
    figures: Sequence[tuple[Path, str]] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        return "".join(character if character.isalnum() else "-" for character in self.title.lower())

    @property
    def is_empty(self) -> bool:
        return not (self.texts or self.tables or self.figures)


def write_report(title: str, sections: Sequence[Section], folder: Path) -> Path:
    """Write report.html, report.md and the sections' tables into `folder`.

    Args:
        title: Title of the report.
        sections: Its parts; those without content are left out. Their figures are in `folder` already.
        folder: Output folder.

    Returns:
        The path of report.html.
    """
    shown = [section for section in sections if not section.is_empty]
    for table in (table for section in shown for table in section.tables):
        table.write(folder)
    atomic_write_text(folder / "report.md", markdown(title, shown))
    atomic_write_text(folder / "report.html", html(title, shown))
    return folder / "report.html"


def html(title: str, sections: Sequence[Section]) -> str:
    """One page that opens from disk, with its figures inside and no other file or address needed."""
    return render(TEMPLATE, title=title, sections=sections, data_uri=png_data_uri)


def png_data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The report for a repository or a wiki; figures are linked by name."""
    parts = [f"# {title}"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [f"- {text}" if len(section.texts) > 1 else text for text in section.texts]
        parts += [f"**{table.title}**\n\n{table.markdown().rstrip()}" for table in section.tables]
        parts += [f"![{text}]({path.name})" for path, text in section.figures]
    return "\n\n".join(parts) + "\n"
