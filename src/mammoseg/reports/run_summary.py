"""Summary of the test results of a run, as a Markdown table and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mammoseg.density import ACRDensity
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.table import MISSING, percent
from mammoseg.runs.results import (
    FALSE_POSITIVES,
    SOURCE_COLUMN,
    ResultRow,
    has_mass,
    mean_image_metrics,
    pooled_metrics,
)
from mammoseg.statistics.negative_outcomes import CONFIDENCE_LEVEL, contains_negatives, outcomes_of_rows
from mammoseg.statistics.roc import AucEstimate

NEGATIVES_TITLE = "images with and without a mass"


def _summary_rows(rows: Sequence[ResultRow]) -> list[tuple[str, int, dict[str, float]]]:
    """Summarise test results over all images and by ACR category.

    Args:
        rows: Rows of results.csv.

    Returns:
        (label, number of images, metrics by key) of each row of the summary: pooled, averaged over the images with a
        mass, pooled within each dataset of a union, and pooled within each ACR category.
    """
    n_with_mass = sum(map(has_mass, rows))
    by_density = {category: [row for row in rows if row["density"] == category] for category in ACRDensity}
    sources = sorted({str(row.get(SOURCE_COLUMN) or "") for row in rows} - {""})
    by_source = {source: [row for row in rows if row.get(SOURCE_COLUMN) == source] for source in sources}
    return [
        ("all, pooled over pixels", len(rows), pooled_metrics(rows)),
        (
            f"{'all' if n_with_mass == len(rows) else 'with a mass'}, mean over images",
            n_with_mass,
            mean_image_metrics(rows),
        ),
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


def notes_markdown(notes: Sequence[str]) -> str:
    r"""Return notes as the paragraphs that follow the tables of summary.md.

    Example:
        >>> notes_markdown(["First.", "Second."])
        '\nFirst.\n\nSecond.\n'
    """
    return "".join(f"\n{note}\n" for note in notes)


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
    if negatives := negatives_markdown(rows):
        lines += ["", negatives]
    return "\n".join(lines) + "\n"


def negatives_markdown(rows: Sequence[ResultRow]) -> str:
    """Return the outcomes for images without a mass as a Markdown table; empty if there are none.

    Args:
        rows: Rows of results.csv.
    """
    negatives = _negative_rows(rows)
    lines = [f"| {NEGATIVES_TITLE} | |", "|---|---|", *(f"| {label} | {value} |" for label, value in negatives)]
    return "\n".join(lines) if negatives else ""


def _negative_rows(rows: Sequence[ResultRow]) -> list[tuple[str, str]]:
    """Summarise the outcomes for images without a mass as (label, value).

    Args:
        rows: Rows of results.csv.

    Returns:
        The rows; empty if all images have a mass, or if the table has no detections, as at native resolution.
    """
    if FALSE_POSITIVES not in rows[0] or not contains_negatives(rows):
        return []
    outcomes = outcomes_of_rows(rows)
    level = f"{100 * CONFIDENCE_LEVEL:.0f} % CI"
    return [
        ("images without a mass", f"{sum(not has_mass(row) for row in rows)} of {len(rows)}"),
        ("specificity, in %", percent(outcomes.specificity)),
        ("false positives per image without a mass", f"{outcomes.false_positives:.2f}"),
        (f"AUC of the images [{level}]", format_auc(outcomes.image_auc)),
        (f"AUC of the patients [{level}]", format_auc(outcomes.patient_auc)),
    ]


def format_auc(estimate: AucEstimate) -> str:
    """Format an area under the ROC curve with its confidence interval; undefined values become dashes.

    Example:
        >>> format_auc(AucEstimate(0.9, float("nan"), float("nan")))
        '0.900 [–, –]'
    """
    value, low, high = (
        MISSING if number != number else f"{number:.3f}" for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


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
    if negatives := _negative_rows(rows):
        table = Table(title=NEGATIVES_TITLE, show_header=False)
        for cells in negatives:
            table.add_row(*cells)
        console.print(table)
    console.print(f"written to {folder}", soft_wrap=True)
