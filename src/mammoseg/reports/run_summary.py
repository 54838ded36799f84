"""Summary of one run's results: printed as a table, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mammoseg.density import ACRDensity
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.runs.results import ResultRow, mean_image_metrics, pooled_metrics


def summary_rows(rows: Sequence[ResultRow]) -> list[tuple[str, int, dict[str, float]]]:
    """(label, images, metrics): pooled, mean over images, and pooled per ACR category."""
    by_density = {category: [row for row in rows if row["density"] == category] for category in ACRDensity}
    return [
        ("all, pooled over pixels", len(rows), pooled_metrics(rows)),
        ("all, mean over images", len(rows), mean_image_metrics(rows)),
        *((f"ACR {category}, pooled", len(some), pooled_metrics(some)) for category, some in by_density.items()),
    ]


def units_note(preposition: str = "In") -> str:
    """The units of all metrics, for a note below a table or in its title: "In %", with the exceptions named."""
    plain = [metric.short_name for metric in PIXEL_METRICS.values() if not metric.unit]
    return f"{preposition} % except {', '.join(plain)}" if plain else f"{preposition} %"


def metric_headings() -> list[str]:
    """Column headings of all metrics."""
    return [metric.heading for metric in PIXEL_METRICS.values()]


def metric_cells(values: dict[str, float]) -> list[str]:
    """Values of all metrics as displayed."""
    return [metric.show(values[key]) for key, metric in PIXEL_METRICS.items()]


def markdown(rows: Sequence[ResultRow]) -> str:
    """The summary as a Markdown table."""
    headings = metric_headings()
    table = ["| test images | n | " + " | ".join(headings) + " |", "|---|---|" + "---|" * len(headings)]
    for label, count, metrics in summary_rows(rows):
        table.append(f"| {label} | {count} | " + " | ".join(metric_cells(metrics)) + " |")
    return "\n".join(table) + "\n"


def print_table(rows: Sequence[ResultRow], folder: Path, title: str = "test results") -> None:
    """Print the summary, and the folder of its files."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{rows[0]['run']}: {title}, {units_note('in')}")
    table.add_column("test images")
    for name in ("n", *metric_headings()):
        table.add_column(name, justify="right")
    for label, count, metrics in summary_rows(rows):
        table.add_row(label, str(count), *metric_cells(metrics))
    console = Console()
    console.print(table)
    console.print(f"written to {folder}", soft_wrap=True)
