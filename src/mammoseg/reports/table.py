"""Tables in Markdown, LaTeX and CSV format, and the formatting of numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mammoseg.csv_cells import escape_cells
from mammoseg.files import atomic_write_text

MISSING = "–"  # displayed for undefined and unavailable values
HTML_TAG = re.compile("<(?=[a-zA-Z/!?])")
LATEX_ESCAPES = {
    **{"\\": r"\textbackslash ", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$"},
    # ^^5c is another notation for a backslash
    **{"{": r"\{", "}": r"\}", "^": r"\textasciicircum ", "~": r"\textasciitilde "},
    **{"Δ": r"$\Delta$", "θ": r"$\theta$", "α": r"$\alpha$", "ρ": r"$\rho$"},
    **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "−": "$-$", "–": "--", "<": "$<$"},
}


@dataclass(frozen=True)
class Table:
    """A table of formatted cells.

    Attributes:
        name: File name without suffix.
        title: Caption.
        columns: Column headings; the first column holds the row labels.
        rows: Cells, each row as long as `columns`.
        bold: (row, column) indices of bold cells.
        notes: Sentences below the table.
        csv_columns: Column names in the CSV file; `columns` if empty.

    Example:
        >>> print(Table("t", "Results", ["Method", "DSC"], [["U-Net", "70.05"]]).markdown(), end="")
        | Method | DSC |
        |---|---|
        | U-Net | 70.05 |
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()
    notes: Sequence[str] = field(default_factory=tuple)
    csv_columns: Sequence[str] = field(default_factory=tuple)

    def markdown(self) -> str:
        """Return the table and its notes as Markdown."""
        lines = ["| " + " | ".join(map(markdown_escape, self.columns)) + " |", "|" + "---|" * len(self.columns)]
        for i, row in enumerate(self.rows):
            cells = [markdown_escape(text) for text in row]
            cells = [f"**{text}**" if (i, j) in self.bold else text for j, text in enumerate(cells)]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n" + "".join(f"\n{note}\n" for note in self.notes)

    def latex(self) -> str:
        r"""Return the table as a LaTeX table environment, which requires the package booktabs."""
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
        """Return the table as CSV. Minus signs are replaced by hyphens, so that numbers can be parsed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.csv_columns or self.columns)
        writer.writerows(escape_cells(row) for row in self.rows)
        return text.getvalue().replace("−", "-")

    def write(self, folder: Path) -> None:
        """Write `name`.md, `name`.tex and `name`.csv into `folder`."""
        for suffix, text in (("md", self.markdown()), ("tex", self.latex()), ("csv", self.csv())):
            atomic_write_text(folder / f"{self.name}.{suffix}", text)


def markdown_escape(text: str) -> str:
    r"""Return text on one line, with escaped characters that delimit cells or begin HTML elements.

    Example:
        >>> markdown_escape("a|b <br>")
        'a\\|b &lt;br>'
    """
    return " ".join(HTML_TAG.sub("&lt;", text.replace("|", r"\|")).splitlines())


def latex_escape(text: str) -> str:
    r"""Return text with escaped LaTeX characters and without the non-ASCII characters that occur in tables.

    Example:
        >>> latex_escape("50 %")
        '50 \\%'
    """
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)


def percent(value: float) -> str:
    """Return a fraction as a percentage with two decimals, as in the paper.

    Example:
        >>> percent(0.51236)
        '51.24'
    """
    return MISSING if math.isnan(value) else f"{100 * value:.2f}"


def format_signed(value: float, scale: float = 100) -> str:
    """Return a difference as text with its sign and two decimals.

    Args:
        value: The difference.
        scale: Factor by which the difference is multiplied; 100 converts fractions to percentage points.

    Example:
        >>> format_signed(0.0123)
        '+1.23'
    """
    return MISSING if math.isnan(value) else f"{scale * value:+z.2f}".replace("-", "−")


def format_p(value: float, equals: str = "") -> str:
    """Return a p-value as text with three decimals.

    Args:
        value: The p-value.
        equals: Prefix of values of at least 0.001, such as "= " in a sentence.

    Example:
        >>> format_p(0.0002), format_p(0.0123, "= ")
        ('< 0.001', '= 0.012')
    """
    return MISSING if math.isnan(value) else "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"


def format_effect(value: float) -> str:
    """Return an effect size in [−1, 1] as text with its sign and two decimals.

    Example:
        >>> format_effect(0.5)
        '+0.50'
    """
    return format_signed(value, scale=1)


def format_count(n: int, noun: str) -> str:
    """Return a number of objects as text.

    Args:
        n: Number of objects.
        noun: Singular of a noun whose plural ends with -s, or with -es after -s.

    Example:
        >>> format_count(1, "image"), format_count(2, "image"), format_count(0, "mass")
        ('1 image', '2 images', '0 masses')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n} {noun if n == 1 else plural}"
