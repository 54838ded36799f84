"""report.html: one file that opens from disk, with its pictures inside and no other file or address needed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

from mammoseg.compare.tables import Table


@dataclass(frozen=True)
class Section:
    """`figures`: PNG files with a text that stands for them."""

    title: str
    texts: Sequence[str] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)
    figures: Sequence[tuple[Path, str]] = field(default_factory=tuple)


def page(title: str, sections: Sequence[Section]) -> str:
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    links = "".join(f'<a href="#{anchor(one)}">{escape(one.title)}</a>' for one in sections)
    body = f"<nav>{links}</nav>\n" + "\n".join(map(section, sections))
    return template.substitute(title=escape(title), body=body)


def anchor(one: Section) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in one.title.lower())


def section(one: Section) -> str:
    parts = [f'<section id="{anchor(one)}">', f"<h2>{escape(one.title)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in one.texts]
    parts += [table(each) for each in one.tables]
    parts += [picture(path, text) for path, text in one.figures]
    return "\n".join([*parts, "</section>"])


def table(one: Table) -> str:
    head = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in one.columns)
    lines = []
    for number, row in enumerate(one.rows):
        cells = [
            f"<td><strong>{escape(text)}</strong></td>" if (number, place) in one.bold else f"<td>{escape(text)}</td>"
            for place, text in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in one.notes)
    rows = "\n".join(lines)
    title = f"<h3>{escape(one.title)}</h3>"
    return f'{title}<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{notes}'


def picture(path: Path, text: str) -> str:
    inside = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{inside}"></figure>'
