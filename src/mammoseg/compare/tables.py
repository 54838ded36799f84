"""Tables of a comparison: Table 1 or 2 of the paper with our results, and further tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mammoseg.density import ACRDensity
from mammoseg.metrics import DSC, PIXEL_METRICS, PooledPixelMetric, expected_calibration_error
from mammoseg.reports.run_summary import metric_headings, units_note
from mammoseg.reports.table import MISSING, Table, format_effect, format_p, format_signed, percent
from mammoseg.statistics import significance
from mammoseg.statistics.comparison import Comparison, Estimate, argbest

MAX_ROUNDING_ERROR = 0.1  # of ΔA in %, if it is computed from DSC and sensitivity with two decimals
PAIR_COLUMNS = ("metric", "first", "second", "difference", "interval", "median", "effect_size", "p", "p_holm")


def format_difference(value: float, metric: type[PooledPixelMetric] = DSC) -> str:
    """Format a difference of two values of a metric, in percentage points if its unit is %."""
    return format_signed(value, metric.scale())


def format_estimate(metric: type[PooledPixelMetric], estimate: Estimate, with_std: bool = False) -> str:
    """Format an estimate with its bootstrap interval and, if requested and defined, its standard deviation."""
    interval = f"[{metric.format(estimate.low)}, {metric.format(estimate.high)}]"
    std = metric.scale() * estimate.std
    spread = f" ± {std:.2f}" if with_std and std == std else ""
    return f"{metric.format(estimate.value)}{spread} {interval}"


def main_table(comparison: Comparison, names: Mapping[str, str], published: Mapping[str, Any] | None) -> Table:
    """Create the table of results: for each metric our value, the published value and their difference.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        published: A table of conf/published; None shows our values alone.
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
            f"Published values are for {published['dataset']}, ours for the dataset '{comparison.data.dataset}'. "
            f"Source: {published['source']}.",
            *inconsistent_published_rows(published, names),
        ]
    name = str((published or {}).get("name", "table"))
    return Table(
        name, report_title(comparison, published), columns, rows, _best_cells(comparison, published_rows), notes
    )


def _best_cells(comparison: Comparison, published_rows: Mapping[str, Any]) -> frozenset[tuple[int, int]]:
    """(row, column) indices of the best values in `main_table`, ours and published."""
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
    """Return the title of the report and of its main table."""
    subject = f"{published['title']} of the paper, reproduced" if published else "Comparison of methods"
    return f"{subject} on {comparison.data.dataset}"


def protocol_text(comparison: Comparison) -> str:
    """Describe in a sentence how the metrics are aggregated, and over how many images and patients."""
    fold_seeds = {fold_seed for runs in comparison.data.runs.values() for fold_seed in runs}
    n_folds, n_seeds = len({fold for fold, _ in fold_seeds}), len({seed for _, seed in fold_seeds})
    n_images, n_patients = len(comparison.rows), len({row["patient"] for row in comparison.rows})
    averages = [f"{n_folds} folds"] * (n_folds > 1) + [f"up to {n_seeds} seeds"] * (n_seeds > 1)
    averaged = f" and averaged over {' and '.join(averages)}" if averages else ""
    return f"Metrics are pooled over the pixels of the test set{averaged}; {n_images} images of {n_patients} patients."


def inconsistent_published_rows(published: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Find published rows whose ΔA does not follow from their DSC and sensitivity.

    For values pooled over one test set, ΔA = |2·sensitivity/DSC − 2|.

    Args:
        published: A table of conf/published.
        names: Display names of the methods.

    Returns:
        One sentence per inconsistent row; one sentence in all if the paper averages over folds.
    """
    if not published["pooled"]:
        return ["The paper averages over folds; ΔA = |2·sensitivity/DSC − 2| holds only within a fold."]
    notes = []
    for method, row in published["rows"].items():
        implied = 100 * abs(2 * row["sensitivity"] / row["dsc"] - 2)
        if abs(implied - row["area_difference"]) > MAX_ROUNDING_ERROR:
            notes.append(
                f"The paper's values for {names.get(method, method)} are inconsistent: DSC and sensitivity imply "
                f"ΔA = |2·sensitivity/DSC − 2| = {implied:.2f}, but {row['area_difference']:.2f} is printed."
            )
    return notes


def uncertainty_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    """Create the table of all metrics with standard deviations and bootstrap intervals."""
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
    note = (
        f"{units_note()}: mean ± standard deviation over folds and seeds (if there are several) and, in brackets, the "
        f"{100 * comparison.confidence_level:.0f} % bootstrap interval over patients ({comparison.n_resamples} "
        "resamples)."
    )
    columns = ["Method", *metric_headings()]
    return Table("uncertainty", "Confidence intervals", columns, rows, frozenset(bold), [note])


def pairs_table(comparison: Comparison, names: Mapping[str, str], metrics: Sequence[str] | None = None) -> Table:
    """Create the table of paired tests between all pairs of methods.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        metrics: Keys of the metrics to include; None includes all.
    """
    rows = [
        [
            metric.heading,
            names.get(d.first, d.first),
            names.get(d.second, d.second),
            format_difference(d.value, metric),
            f"[{format_difference(d.low, metric)}, {format_difference(d.high, metric)}]",
            format_difference(d.test.median, metric),
            format_effect(d.test.effect_size),
            format_p(d.test.p),
            format_p(d.p_holm),
        ]
        for d, metric in ((d, PIXEL_METRICS[d.metric]) for d in comparison.differences)
        if metrics is None or d.metric in metrics
    ]
    units = f"{comparison.unit}s"
    note = (
        "Difference: first minus second method, in the pooled metric, in percentage points, with its paired bootstrap "
        f"interval over patients. Median: of the differences over {units}. Effect: rank-biserial correlation, from −1 "
        f"to 1. p: two-sided Wilcoxon signed-rank test over {units}, before and after Holm's correction over all pairs "
        "of methods within a metric."
    )
    if comparison.unit == "image":
        note += " Images of one patient are not independent, so p is somewhat too small; unit=patient avoids this."
    interval = f"{100 * comparison.confidence_level:.0f} % interval"
    columns = ["Metric", "first", "second", "difference", interval, "median", "effect", "p", "p, Holm"]
    return Table("pairs", "Paired tests", columns, rows, notes=[note], csv_columns=PAIR_COLUMNS)


def density_table(comparison: Comparison, names: Mapping[str, str], key: str) -> Table:
    """Create the table of the metric `key` by ACR category."""
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
    missing = [str(category) for category in map(int, ACRDensity) if category not in by_density]
    notes = [("In %, pooled" if metric.unit else "Pooled") + " over the test images of each ACR category."]
    if missing:
        notes.append(f"ACR {', '.join(missing)} is omitted, as it does not occur in the test set of every fold.")
    return Table(f"density_{key}", f"{metric.heading} by density", columns, rows, frozenset(bold), notes)


def size_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    """Create the table of DSC by mass size."""
    groups = comparison.size_groups
    dsc = {
        method: [float(comparison.by_image[method]["dsc"][subset].mean()) for _, subset in groups]
        for method in comparison.methods
    }
    columns = ["Method", *(f"{label} px (n = {int(subset.sum())})" for label, subset in groups)]
    rows = [[names.get(method, method), *map(percent, values)] for method, values in dsc.items()]
    by_group = enumerate(zip(*dsc.values(), strict=True), start=1)
    bold = frozenset((row, column) for column, values in by_group for row in argbest(values, "dsc"))
    note = "In %, mean over the images whose mass has that many pixels in the prepared image."
    return Table("mass_size", "DSC by mass size", columns, rows, bold, [note])


def ranking_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    """Create the table of mean ranks, sorted from best to worst."""
    fold_seeds, scores = comparison.fold_seed_scores
    n_blocks = len(fold_seeds)
    ranks = significance.mean_ranks(scores).tolist() if n_blocks else [float("nan")] * len(comparison.methods)
    winners = scores.argmax(axis=1).tolist() if n_blocks else []
    ranked = sorted(
        (rank, names.get(m, m), f"{winners.count(i)} of {n_blocks}", f"{100 * comparison.win_rate[m]:.0f} %")
        for i, (m, rank) in enumerate(zip(comparison.methods, ranks, strict=True))
    )
    rows = [[name, MISSING if rank != rank else f"{rank:.2f}", wins, win_rate] for rank, name, wins, win_rate in ranked]
    p = significance.friedman(scores)
    note = (
        f"By pooled DSC, over the {n_blocks} pairs of fold and seed that all methods have in common. Friedman test: "
        f"p {format_p(p, '= ')}. P(best): fraction of bootstrap resamples over patients in which the method has the "
        "highest DSC."
    )
    return Table("ranking", "Ranking", ["Method", "mean rank", "ranked first", "P(best)"], rows, notes=[note])


def calibration_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    """Create the table of expected calibration errors."""
    rows = [
        [names.get(method, method), f"{100 * expected_calibration_error(sums):.3f}"]
        for method, sums in comparison.reliability.items()
    ]
    note = "In %, over all test pixels, most of which are background with a probability near 0. Lower is better."
    columns = ["Method", "expected calibration error ↓"]
    return Table("calibration", "Calibration of the probabilities", columns, rows, notes=[note])
