"""Tables of a comparison. The argument `names` of each function contains the display names of the methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mammoseg.compare.difference_tables import format_difference
from mammoseg.data.known_datasets import dataset_title
from mammoseg.metrics import PIXEL_METRICS, PooledPixelMetric
from mammoseg.reports.run_summary import metric_headings, units_note
from mammoseg.reports.table import MISSING, Table, format_count, percent
from mammoseg.statistics.comparison import Comparison, Estimate
from mammoseg.statistics.ranking import argbest

MAX_ROUNDING_ERROR = 0.1  # maximum error in % if ΔA is computed from DSC and sensitivity with two decimals


def format_estimate(metric: type[PooledPixelMetric], estimate: Estimate, with_std: bool = False) -> str:
    """Format an estimate with its confidence interval.

    Args:
        metric: The metric.
        estimate: Estimate of the metric.
        with_std: Whether to include the standard deviation, if it is defined.

    Returns:
        Text such as "70.05 ± 1.20 [68.10, 72.00]".
    """
    interval = f"[{metric.format(estimate.low)}, {metric.format(estimate.high)}]"
    std = metric.scale() * estimate.std
    spread = f" ± {std:.2f}" if with_std and std == std else ""
    return f"{metric.format(estimate.value)}{spread} {interval}"


def main_table(comparison: Comparison, names: Mapping[str, str], published: Mapping[str, Any] | None) -> Table:
    """Create the table of results: for each metric, our value, the published value and their difference.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        published: A table of conf/published; None omits published values and differences.

    Returns:
        The table.
    """
    published_rows = (published or {}).get("rows", {})
    columns = ["Method"]
    for metric in PIXEL_METRICS.values():
        short = metric.short_name
        columns += [metric.heading, *([f"paper {short}", f"diff. {short}"] if published_rows else [])]
    rows = []
    for method in comparison.methods:
        cells = [names.get(method, method)]
        for key, metric in PIXEL_METRICS.items():
            value = comparison.overall[method][key].value
            cells.append(metric.format(value))
            if published_rows:
                paper_value = published_rows.get(method, {}).get(key)
                difference = float("nan") if paper_value is None else value - paper_value / metric.scale()
                cells += [MISSING if paper_value is None else f"{paper_value:.2f}"]
                cells += [format_difference(difference, metric)]
        rows.append(cells)
    notes = [f"{units_note()}. {protocol_text(comparison)}"]
    if published and published_rows:
        notes += [
            _sources_of_values(comparison, published),
            *inconsistent_published_rows(published, names),
        ]
    name = str((published or {}).get("name", "table"))
    bold = _best_cells(comparison, published_rows)
    return Table(name, report_title(comparison, published), columns, rows, bold, notes)


def _sources_of_values(comparison: Comparison, published: Mapping[str, Any]) -> str:
    """Return sentences on the datasets of our and the published values, and the publication."""
    theirs, ours = published["dataset"], dataset_title(comparison.data.dataset)
    subject = f"All values are for {ours}" if ours == theirs else f"Published values are for {theirs}, ours for {ours}"
    return f"{subject}. Source of the published values: {published['source']}."


def _best_cells(comparison: Comparison, published_rows: Mapping[str, Any]) -> frozenset[tuple[int, int]]:
    """Return the (row, column) indices of our best and the best published values in `main_table`."""
    cells = set[tuple[int, int]]()
    columns_per_metric = 3 if published_rows else 1
    for i, (key, metric) in enumerate(PIXEL_METRICS.items()):
        column = 1 + columns_per_metric * i
        ours = [comparison.overall[method][key].value for method in comparison.methods]
        cells |= {(row, column) for row in argbest(ours, key)}
        if published_rows:
            theirs = [published_rows.get(method, {}).get(key, float("nan")) for method in comparison.methods]
            cells |= {(row, column + 1) for row in argbest([value / metric.scale() for value in theirs], key)}
    return frozenset(cells)


def report_title(comparison: Comparison, published: Mapping[str, Any] | None) -> str:
    """Return the title of the report and its main table."""
    methods = f"Methods of {published['title']} of the paper" if published else "Comparison of methods"
    return f"{methods} on {dataset_title(comparison.data.dataset)}"


def protocol_text(comparison: Comparison) -> str:
    """Return a sentence on the aggregation of the metrics, and one on the number of images and patients."""
    n_folds = len(comparison.data.cases)
    n_seeds = {len({seed for _, seed in runs}) for runs in comparison.data.runs.values()}
    n_images, n_patients = len(comparison.rows), len({row["patient"] for row in comparison.rows})
    is_complete = all(len(runs) == n_folds * max(n_seeds) for runs in comparison.data.runs.values())
    up_to = "" if is_complete else "up to "
    averages = [f"{n_folds} folds"] * (n_folds > 1) + [f"{up_to}{max(n_seeds)} seeds"] * (max(n_seeds) > 1)
    averaged = f" and averaged over {' and '.join(averages)}" if averages else ""
    return (
        f"Metrics are pooled over the pixels of the test set{averaged}. The test data consist of "
        f"{format_count(n_images, 'image')} of {format_count(n_patients, 'patient')}."
    )


def inconsistent_published_rows(published: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Find published rows in which ΔA is inconsistent with DSC and sensitivity.

    Metrics that are pooled over the same pixels satisfy ΔA = |2·sensitivity/DSC − 2|.

    Args:
        published: A table of conf/published.
        names: Display names of the methods.

    Returns:
        One sentence per inconsistent row. If the paper averages over folds, a single sentence that explains why the
        rows cannot be checked.
    """
    if not published["pooled"]:
        return [
            "The published values are averages over folds and cannot be checked for consistency, since "
            "ΔA = |2·sensitivity/DSC − 2| only holds within a fold."
        ]
    notes = []
    for method, row in published["rows"].items():
        implied = 100 * abs(2 * row["sensitivity"] / row["dsc"] - 2)
        if abs(implied - row["area_difference"]) > MAX_ROUNDING_ERROR:
            notes.append(
                f"The published values of {names.get(method, method)} are inconsistent: DSC and sensitivity imply "
                f"ΔA = |2·sensitivity/DSC − 2| = {implied:.2f}, but the published value is "
                f"{row['area_difference']:.2f}."
            )
    return notes


def uncertainty_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    """Return the table of all metrics with standard deviations and confidence intervals."""
    overall = comparison.overall
    rows = [
        [
            names.get(method, method),
            *(format_estimate(metric, overall[method][key], with_std=True) for key, metric in PIXEL_METRICS.items()),
        ]
        for method in comparison.methods
    ]
    bold = set[tuple[int, int]]()
    for column, key in enumerate(PIXEL_METRICS, start=1):
        values = [overall[method][key].value for method in comparison.methods]
        bold |= {(row, column) for row in argbest(values, key)}
    level = f"{100 * comparison.confidence_level:.0f} %"
    sources = "patients, for these trained networks"
    if comparison.is_about_methods:
        single = any(len(runs) == 1 for runs in comparison.data.runs.values())
        sources = f"patients and trainings{' (for methods with a single run, over patients only)' if single else ''}"
    note = (
        f"{units_note()}. Mean ± standard deviation over folds and seeds (if there is more than one run), and {level} "
        f"confidence interval over {sources} ({comparison.n_resamples} bootstrap resamples) in brackets."
    )
    columns = ["Method", *metric_headings()]
    return Table("uncertainty", f"Metrics with {level} confidence intervals", columns, rows, frozenset(bold), [note])


def density_table(comparison: Comparison, names: Mapping[str, str], key: str) -> Table:
    """Create the table of a metric by ACR category.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        key: Key of the metric.

    Returns:
        The table.
    """
    metric = PIXEL_METRICS[key]
    by_density = comparison.by_density
    counts = {category: int((comparison.density == category).sum()) for category in by_density}
    columns = ["Method", *(f"ACR {category} (n = {count})" for category, count in counts.items())]
    rows, bold = [], set[tuple[int, int]]()
    for method in comparison.methods:
        estimates = [by_method[method][key] for by_method in by_density.values()]
        rows.append([names.get(method, method), *(format_estimate(metric, estimate) for estimate in estimates)])
    for column, by_method in enumerate(by_density.values(), start=1):
        values = [by_method[method][key].value for method in comparison.methods]
        bold |= {(row, column) for row in argbest(values, key)}
    notes = [("In %, pooled" if metric.unit else "Pooled") + " over all test images of each ACR category."]
    if comparison.is_cross_validation:
        notes[0] += " The images of all folds are pooled, so the values are not means over folds."
    return Table(f"density_{key}", f"{metric.heading} by ACR category", columns, rows, frozenset(bold), notes)


def size_tables(comparison: Comparison, names: Mapping[str, str]) -> list[Table]:
    """Return the table of DSC by mass size; none if no test image has a mass."""
    groups = comparison.size_groups
    if not groups:
        return []
    dsc = {
        method: [float(comparison.by_image[method]["dsc"][subset].mean()) for _, subset in groups]
        for method in comparison.methods
    }
    columns = ["Method", *(f"{label} px (n = {int(subset.sum())})" for label, subset in groups)]
    rows = [[names.get(method, method), *map(percent, values)] for method, values in dsc.items()]
    by_group = enumerate(zip(*dsc.values(), strict=True), start=1)
    bold = frozenset((row, column) for column, values in by_group for row in argbest(values, "dsc"))
    note = "In %, mean over images. The columns are ranges of the mass area in pixels of the prepared image."
    return [Table("mass_size", "DSC by mass size", columns, rows, bold, [note])]
