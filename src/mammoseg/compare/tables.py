"""A comparison as tables: the paper's Table 1 or 2 with our results, and tables that the paper does not give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mammoseg.metrics import DSC, PIXEL_METRICS, PooledPixelMetric, expected_calibration_error
from mammoseg.reports.run_summary import metric_headings, units_note
from mammoseg.reports.table import Table, format_effect, format_p, format_signed, percent
from mammoseg.statistics import significance
from mammoseg.statistics.comparison import Comparison, Estimate, argbest

ROUNDING = 0.1  # in %, what two decimals can move an implied Delta A by


def signed(value: float, metric: type[PooledPixelMetric] = DSC) -> str:
    """A difference of two values of a metric, in percentage points if its unit is %."""
    return format_signed(value, metric.scale())


def with_interval(metric: type[PooledPixelMetric], estimate: Estimate, spread: str = "") -> str:
    """An estimate and its bootstrap interval."""
    ends = f"{metric.show(estimate.low)}, {metric.show(estimate.high)}"
    return f"{metric.show(estimate.value)}{spread} [{ends}]"


def main_table(comparison: Comparison, names: Mapping[str, str], paper: Mapping[str, Any] | None) -> Table:
    """The paper's table: ours, the paper's number, and the difference, for each metric."""
    rows_of = (paper or {}).get("rows", {})
    columns = ["Method"]
    for metric in PIXEL_METRICS.values():
        short = metric.short_name
        columns += [metric.heading, *([f"paper {short}", f"diff. {short}"] if rows_of else [])]
    rows, bold = [], set[tuple[int, int]]()
    for method in comparison.methods:
        row = [names.get(method, method)]
        for key, metric in PIXEL_METRICS.items():
            value = comparison.overall[method][key].value
            row.append(metric.show(value))
            if rows_of:
                printed = rows_of.get(method, {}).get(key)
                difference = float("nan") if printed is None else value - printed / metric.scale()
                row += ["–" if printed is None else f"{printed:.2f}", signed(difference, metric)]
        rows.append(row)
    step = 3 if rows_of else 1
    for number, (key, metric) in enumerate(PIXEL_METRICS.items()):
        ours = [comparison.overall[method][key].value for method in comparison.methods]
        bold |= {(row, 1 + step * number) for row in argbest(ours, key)}
        published = [rows_of.get(method, {}).get(key, float("nan")) for method in comparison.methods]
        if rows_of:
            bold |= {(row, 2 + step * number) for row in argbest([v / metric.scale() for v in published], key)}
    notes = [f"{units_note()}. {how(comparison)}"]
    if paper and rows_of:
        notes += [
            f"The paper's numbers are of {paper['dataset']}, these runs' of the dataset '{comparison.data.dataset}'. "
            f"Paper: {paper['source']}.",
            *contradictions(paper, names),
        ]
    title = title_of(comparison, paper)
    return Table(str((paper or {}).get("name", "table")), title, columns, rows, frozenset(bold), notes)


def title_of(comparison: Comparison, paper: Mapping[str, Any] | None) -> str:
    number = f"{paper['title']} of the paper, repeated" if paper else "Methods compared"
    return f"{number} on {comparison.data.dataset}"


def how(comparison: Comparison) -> str:
    parts = {part for runs in comparison.data.runs.values() for part in runs}
    folds, seeds = len({fold for fold, _ in parts}), len({seed for _, seed in parts})
    images, patients = len(comparison.rows), len({row["patient"] for row in comparison.rows})
    spread = f", the mean of {folds} folds" if folds > 1 else ""
    spread += f", the mean of up to {seeds} seeds" if seeds > 1 else ""
    return f"Metrics are pooled over the pixels of the test part{spread}; {images} images of {patients} patients."


def contradictions(paper: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Rows whose Delta A does not follow from their DSC and sensitivity, as pooled values on one test set must."""
    if not paper["pooled"]:
        return [
            "The paper averages over folds, so its ΔA need not equal |2·sensitivity/DSC − 2|, as it must within one."
        ]
    notes = []
    for method, row in paper["rows"].items():
        implied = 100 * abs(2 * row["sensitivity"] / row["dsc"] - 2)
        if abs(implied - row["area_difference"]) > ROUNDING:
            notes.append(
                f"The paper's row of {names.get(method, method)} contradicts itself: its DSC and sensitivity imply "
                f"ΔA = |2·sensitivity/DSC − 2| = {implied:.2f}, it prints {row['area_difference']:.2f}."
            )
    return notes


def uncertainty_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    level = f"{100 * comparison.confidence_level:.0f} %"
    rows, bold = [], set[tuple[int, int]]()
    for method in comparison.methods:
        cells = []
        for key, metric in PIXEL_METRICS.items():
            estimate = comparison.overall[method][key]
            deviation = metric.scale() * estimate.std
            cells.append(with_interval(metric, estimate, "" if deviation != deviation else f" ± {deviation:.2f}"))
        rows.append([names.get(method, method), *cells])
    for column, key in enumerate(PIXEL_METRICS, start=1):
        values = [comparison.overall[method][key].value for method in comparison.methods]
        bold |= {(row, column) for row in argbest(values, key)}
    note = (
        f"{units_note()}: mean ± standard deviation over folds and seeds (where there are several) and, in "
        f"brackets, the {level} bootstrap interval over patients ({comparison.n_resamples} resamples)."
    )
    return Table(
        "uncertainty", "How sure the values are", ["Method", *metric_headings()], rows, frozenset(bold), [note]
    )


def pairs_table(comparison: Comparison, names: Mapping[str, str], metrics: Sequence[str] | None = None) -> Table:
    """All pairs of methods, in the given metrics or in all."""
    level = f"{100 * comparison.confidence_level:.0f} %"
    rows = [
        [
            metric.heading,
            names.get(d.first, d.first),
            names.get(d.second, d.second),
            signed(d.mean, metric),
            f"[{signed(d.low, metric)}, {signed(d.high, metric)}]",
            signed(d.test.median, metric),
            format_effect(d.test.effect_size),
            format_p(d.test.p),
            format_p(d.p_holm),
        ]
        for d, metric in ((d, PIXEL_METRICS[d.metric]) for d in comparison.differences)
        if metrics is None or d.metric in metrics
    ]
    units = f"{comparison.unit}s"
    note = (
        "Difference, first minus second, of the pooled metric in percentage points, with its paired bootstrap "
        f"interval over patients; median of the differences between {units}; rank-biserial correlation (effect size, "
        f"−1 to 1) and p of the two-sided Wilcoxon signed-rank test over the same {units}, corrected by Holm over all "
        "pairs of methods within a metric."
    )
    if comparison.unit == "image":
        note += (
            " Images of one patient are not independent, so these p are somewhat too small; unit=patient avoids that."
        )
    columns = ["metric", "first", "second", "difference", level, "median", "effect", "p", "p, Holm"]
    return Table("pairs", "Paired tests between methods", columns, rows, notes=[note])


def density_table(comparison: Comparison, names: Mapping[str, str], key: str) -> Table:
    """The metric `key` by ACR category."""
    metric = PIXEL_METRICS[key]
    columns = ["Method"]
    for category in comparison.by_density:
        columns.append(f"ACR {category} (n = {int((comparison.density == category).sum())})")
    rows, bold = [], set[tuple[int, int]]()
    for method in comparison.methods:
        estimates = [found[method][key] for found in comparison.by_density.values()]
        rows.append([names.get(method, method), *(with_interval(metric, estimate) for estimate in estimates)])
    for column, found in enumerate(comparison.by_density.values(), start=1):
        values = [found[method][key].value for method in comparison.methods]
        bold |= {(row, column) for row in argbest(values, key)}
    missing = [c for c in (1, 2, 3, 4) if c not in comparison.by_density]
    notes = [("In %, pooled" if metric.unit else "Pooled") + " over the test images of that density."]
    if missing:
        notes.append(
            f"ACR {', '.join(map(str, missing))}: not in the test part of every fold, so without a mean over folds."
        )
    title = f"{metric.heading} by density"
    return Table(f"density_{key}", title, columns, rows, frozenset(bold), notes)


def size_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    groups = comparison.size_groups
    columns = ["Method", *(f"{label} px (n = {int(chosen.sum())})" for label, chosen in groups)]
    values = [[float(comparison.by_image[m]["dsc"][chosen].mean()) for _, chosen in groups] for m in comparison.methods]
    rows = [
        [names.get(method, method), *(percent(value) for value in line)]
        for method, line in zip(comparison.methods, values, strict=True)
    ]
    columns_of = enumerate(zip(*values, strict=True), start=1)
    bold = frozenset((row, place) for place, column in columns_of for row in argbest(column, "dsc"))
    return Table(
        "mass_size", "DSC by mass size", columns, rows, bold, ["In %, mean over the images of that mass size."]
    )


def ranking_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    parts, scores = comparison.fold_seed_scores
    ranks = significance.mean_ranks(scores) if len(parts) else [float("nan")] * len(comparison.methods)
    first = scores.argmax(axis=1).tolist() if len(parts) else []
    lines = sorted(
        (rank, names.get(m, m), f"{first.count(place)} of {len(parts)}", f"{100 * comparison.win_rate[m]:.0f} %")
        for place, (m, rank) in enumerate(zip(comparison.methods, ranks, strict=True))
    )
    rows = [[name, "–" if rank != rank else f"{rank:.2f}", wins, share] for rank, name, wins, share in lines]
    p = significance.friedman(scores)
    note = (
        f"By pooled DSC, over the folds and seeds that all methods have ({len(parts)}). Friedman's test: "
        f"p {format_p(p, '= ')}. Last column: share of the bootstrap resamples of patients in which a method is the "
        "best."
    )
    return Table("ranking", "Ranking", ["Method", "mean rank", "first", "best in resamples"], rows, notes=[note])


def calibration_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    rows = [
        [names.get(method, method), f"{100 * expected_calibration_error(sums):.3f}"]
        for method, sums in comparison.reliability.items()
    ]
    note = "In %, over all pixels of the test part; most are background with a probability near 0. Lower is better."
    return Table(
        "calibration", "Calibration of the heat-map", ["Method", "expected calibration error"], rows, notes=[note]
    )
