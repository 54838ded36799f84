"""Tables of text cells as Markdown, LaTeX and CSV, and the formats of numbers in them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mammoseg.files import atomic_write_text

MISSING = "–"  # an undefined value; never 0
LATEX = {
    **{"\\": r"\textbackslash ", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#"},
    **{"Δ": r"$\Delta$", "θ": r"$\theta$", "α": r"$\alpha$", "ρ": r"$\rho$"},
    **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "−": "$-$", "–": "--", "<": "$<$"},
}


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        name: Stem of its files.
        title: Caption.
        columns: Column headings; the first column holds the row labels.
        rows: Cells, each row as long as `columns`.
        bold: (row, column) indices of highlighted cells.
        notes: Sentences below the table.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()
    notes: Sequence[str] = field(default_factory=tuple)

    def markdown(self) -> str:
        lines = ["| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        for i, row in enumerate(self.rows):
            cells = [f"**{text}**" if (i, j) in self.bold else text for j, text in enumerate(row)]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n" + "".join(f"\n{note}\n" for note in self.notes)

    def latex(self) -> str:
        r"""A complete table environment for \input; requires the package booktabs."""
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_escape(self.title)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
            r"\toprule",
            " & ".join(latex_escape(name) for name in self.columns) + r" \\",
            r"\midrule",
        ]
        for i, row in enumerate(self.rows):
            cells = [latex_escape(text) for text in row]
            cells = [rf"\textbf{{{text}}}" if (i, j) in self.bold else text for j, text in enumerate(cells)]
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [rf"\par\smallskip\footnotesize {latex_escape(note)}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def csv(self) -> str:
        """With ASCII minus signs, so that the numbers can be parsed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue().replace("−", "-")

    def write(self, folder: Path) -> None:
        """Write `name`.md, .tex and .csv into `folder`."""
        for suffix, text in (("md", self.markdown()), ("tex", self.latex()), ("csv", self.csv())):
            atomic_write_text(folder / f"{self.name}.{suffix}", text)


def latex_escape(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def percent(value: float) -> str:
    """A fraction in percent with the paper's two decimals."""
    return MISSING if math.isnan(value) else f"{100 * value:.2f}"


def format_signed(value: float, scale: float = 100) -> str:
    """A difference with its sign, by default of fractions in percentage points."""
    return MISSING if math.isnan(value) else f"{scale * value:+.2f}".replace("-", "−")


def format_p(value: float, equals: str = "") -> str:
    """A p value; `equals`, such as "= ", precedes one that is given exactly."""
    return MISSING if math.isnan(value) else "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"


def format_effect(value: float) -> str:
    """An effect size between −1 and 1, with its sign."""
    return f"{value:+.2f}".replace("-", "−")
