"""results.csv -> tables: for the terminal and as Markdown to paste."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mammoseg.density import ACRDensity
from mammoseg.runs import results
from mammoseg.runs.results import Row

HEADINGS = {
    "dsc": "DSC ↑",
    "area_difference": "ΔA ↓",
    "sensitivity": "Sensitivity ↑",
    "accuracy": "Accuracy ↑",
}


def lines(rows: Sequence[Row]) -> list[tuple[str, int, dict[str, float]]]:
    """(what, images, metrics as fractions): pooled, mean over images, and pooled per ACR category."""
    by_density = {category: [row for row in rows if row["density"] == category] for category in ACRDensity}
    return [
        ("all, pooled over pixels", len(rows), results.pooled(rows)),
        ("all, mean over images", len(rows), results.mean_over_images(rows)),
        *((f"ACR {category}, pooled", len(some), results.pooled(some)) for category, some in by_density.items()),
    ]


def percent(value: float) -> str:
    """The paper's form; a value that does not exist is a dash, never 0."""
    return "–" if value != value else f"{100 * value:.2f}"


def markdown(rows: Sequence[Row]) -> str:
    table = [
        "| test images | n | " + " | ".join(HEADINGS.values()) + " |",
        "|---|---|" + "---|" * len(HEADINGS),
    ]
    for what, count, metrics in lines(rows):
        table.append(f"| {what} | {count} | " + " | ".join(percent(metrics[name]) for name in HEADINGS) + " |")
    return "\n".join(table) + "\n"


def show(rows: Sequence[Row], folder: Path, what: str = "test results, in %") -> None:
    """The table in the terminal, and where the files lie."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{rows[0]['run']}: {what}")
    table.add_column("test images")
    for name in ("n", *HEADINGS.values()):
        table.add_column(name, justify="right")
    for what, count, metrics in lines(rows):
        table.add_row(what, str(count), *(percent(metrics[name]) for name in HEADINGS))
    console = Console()
    console.print(table)
    console.print(f"written to {folder}", soft_wrap=True)
