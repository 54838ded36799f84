"""Summary of the test results of a run, as a Markdown table and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mammoseg.density import ACRDensity
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.runs.results import SOURCE_COLUMN, ResultRow, mean_image_metrics, pooled_metrics


def _summary_rows(rows: Sequence[ResultRow]) -> list[tuple[str, int, dict[str, float]]]:
    """Summarise test results over all images and by ACR category.

    Args:
        rows: Rows of results.csv.

    Returns:
        (label, number of images, metrics by key) of each row of the summary: pooled, averaged over images, pooled
        within each dataset of a union, and pooled within each ACR category.
    """
    by_density = {category: [row for row in rows if row["density"] == category] for category in ACRDensity}
    sources = sorted({str(row.get(SOURCE_COLUMN) or "") for row in rows} - {""})
    by_source = {source: [row for row in rows if row.get(SOURCE_COLUMN) == source] for source in sources}
    return [
        ("all, pooled over pixels", len(rows), pooled_metrics(rows)),
        ("all, mean over images", len(rows), mean_image_metrics(rows)),
        *((f"{source}, pooled", len(group), pooled_metrics(group)) for source, group in by_source.items()),
        *((f"ACR {category}, pooled", len(group), pooled_metrics(group)) for category, group in by_density.items()),
    ]


def units_note(preposition: str = "In") -> str:
    """Return a phrase that states the units of the metrics in a table.

    Args:
        preposition: "In" at the beginning of a sentence, otherwise "in".

    Example:
        >>> units_note("in")
        'in %'
    """
    unitless = [metric.short_name for metric in PIXEL_METRICS.values() if not metric.unit]
    return f"{preposition} % except {', '.join(unitless)}" if unitless else f"{preposition} %"


def metric_headings() -> list[str]:
    """Return the column headings of all metrics."""
    return [metric.heading for metric in PIXEL_METRICS.values()]


def metric_cells(values: dict[str, float]) -> list[str]:
    """Format the values of all metrics for display.

    Args:
        values: Values by key of the metric.

    Returns:
        One text per metric, in the order of `metric_headings`.
    """
    return [metric.format(values[key]) for key, metric in PIXEL_METRICS.items()]


def summary_markdown(rows: Sequence[ResultRow]) -> str:
    """Return the summary as a Markdown table.

    Args:
        rows: Rows of results.csv.
    """
    headings = metric_headings()
    lines = ["| test images | n | " + " | ".join(headings) + " |", "|---|---|" + "---|" * len(headings)]
    for label, n_images, metrics in _summary_rows(rows):
        lines.append(f"| {label} | {n_images} | " + " | ".join(metric_cells(metrics)) + " |")
    return "\n".join(lines) + "\n"


def print_summary(rows: Sequence[ResultRow], folder: Path, title: str = "test results") -> None:
    """Print the summary and the output folder.

    Args:
        rows: Rows of results.csv.
        folder: Folder of the results.
        title: Title of the table, which follows the name of the run.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{rows[0]['run']}: {title}, {units_note('in')}")
    table.add_column("test images")
    for name in ("n", *metric_headings()):
        table.add_column(name, justify="right")
    for label, n_images, metrics in _summary_rows(rows):
        table.add_row(label, str(n_images), *metric_cells(metrics))
    console = Console()
    console.print(table)
    console.print(f"written to {folder}", soft_wrap=True)
