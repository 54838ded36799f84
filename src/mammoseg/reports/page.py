"""Write report.html and report.md from sections of paragraphs, tables and figures."""

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
class ReportFigure:
    """A figure of a report.

    Attributes:
        path: PNG file.
        caption: Text below the figure, also its alternative text.
        narrow: The figure in an arrangement for narrow windows, as PNG; empty if there is none.
    """

    path: Path
    caption: str
    narrow: bytes = b""


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        title: Heading.
        texts: Paragraphs; two or more are formatted as a list.
        tables: Tables, which are also written as .md, .tex and .csv files.
        figures: Figures.
    """

    title: str
    texts: Sequence[str] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)
    figures: Sequence[ReportFigure] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        """HTML identifier of the section."""
        return "".join(character if character.isalnum() else "-" for character in self.title.lower())

    @property
    def is_empty(self) -> bool:
        """Whether the section has no content."""
        return not (self.texts or self.tables or self.figures)


def write_report(title: str, sections: Sequence[Section], folder: Path) -> Path:
    """Write report.html, report.md and the tables of all sections into `folder`.

    Args:
        title: Title of the report.
        sections: Sections of the report; empty sections are omitted. The figures must already exist in `folder`.
        folder: Output folder.

    Returns:
        Path of report.html.
    """
    nonempty = [section for section in sections if not section.is_empty]
    for table in (table for section in nonempty for table in section.tables):
        table.write(folder)
    atomic_write_text(folder / "report.md", render_markdown(title, nonempty))
    atomic_write_text(folder / "report.html", render_html(title, nonempty))
    return folder / "report.html"


def render_html(title: str, sections: Sequence[Section]) -> str:
    """Render the report as a self-contained HTML page with embedded figures.

    Args:
        title: Title of the report.
        sections: Sections of the report.

    Returns:
        The HTML page.
    """
    return render(TEMPLATE, title=title, sections=sections, data_uri=png_data_uri)


def png_data_uri(png: bytes) -> str:
    """Return the content of a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def render_markdown(title: str, sections: Sequence[Section]) -> str:
    """Render the report as Markdown with links to the figures.

    Args:
        title: Title of the report.
        sections: Sections of the report.

    Returns:
        Markdown.
    """
    blocks = [f"# {title}"]
    for section in sections:
        blocks.append(f"## {section.title}")
        blocks += [f"- {text}" if len(section.texts) > 1 else text for text in section.texts]
        blocks += [f"**{table.title}**\n\n{table.markdown().rstrip()}" for table in section.tables]
        blocks += [f"![{figure.caption}]({figure.path.name})" for figure in section.figures]
    return "\n\n".join(blocks) + "\n"
