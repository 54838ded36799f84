"""A comparison as tables: the paper's Table 1 or 2 with our results, and tables that the paper does not give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mammoseg.metrics import expected_calibration_error
from mammoseg.reports.run_summary import HEADINGS
from mammoseg.reports.table import Table, format_effect, format_p, format_signed, percent
from mammoseg.statistics import functions as statistics
from mammoseg.statistics.comparison import METRICS, Comparison, best

SHORT = {"dsc": "DSC", "area_difference": "ΔA", "sensitivity": "Sens.", "accuracy": "Acc."}
ROUNDING = 0.1  # in %, what two decimals can move an implied Delta A by


def main_table(comparison: Comparison, names: Mapping[str, str], paper: Mapping[str, Any] | None) -> Table:
    """The paper's table: ours, the paper's number, and the difference, for each metric."""
    rows_of = (paper or {}).get("rows", {})
    columns = ["Method"]
    for metric in METRICS:
        columns += [HEADINGS[metric], *([f"paper {SHORT[metric]}", f"diff. {SHORT[metric]}"] if rows_of else [])]
    rows, bold = [], set[tuple[int, int]]()
    for method in comparison.methods:
        row = [names.get(method, method)]
        for metric in METRICS:
            estimate = comparison.overall[method][metric]
            row.append(percent(estimate.value))
            if rows_of:
                printed = rows_of.get(method, {}).get(metric)
                row += (
                    ["–", "–"] if printed is None else [f"{printed:.2f}", format_signed(estimate.value - printed / 100)]
                )
        rows.append(row)
    step = 3 if rows_of else 1
    for place, metric in enumerate(METRICS):
        ours = [comparison.overall[method][metric].value for method in comparison.methods]
        bold |= {(row, 1 + step * place) for row in best(ours, metric)}
        printed = [rows_of.get(method, {}).get(metric, float("nan")) for method in comparison.methods]
        if rows_of:
            bold |= {(row, 2 + step * place) for row in best([value / 100 for value in printed], metric)}
    notes = ["In %. " + how(comparison)]
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
    level = f"{100 * comparison.level:.0f} %"
    rows, bold = [], set[tuple[int, int]]()
    for method in comparison.methods:
        cells = []
        for metric in METRICS:
            e = comparison.overall[method][metric]
            over = "" if e.deviation != e.deviation else f" ± {100 * e.deviation:.2f}"
            cells.append(f"{percent(e.value)}{over} [{percent(e.low)}, {percent(e.high)}]")
        rows.append([names.get(method, method), *cells])
    for place, metric in enumerate(METRICS, start=1):
        values = [comparison.overall[method][metric].value for method in comparison.methods]
        bold |= {(row, place) for row in best(values, metric)}
    note = (
        f"In %: mean ± standard deviation over folds and seeds (where there are several) and, in brackets, the {level} "
        f"bootstrap interval over patients ({comparison.resamples} resamples)."
    )
    return Table(
        "uncertainty", "How sure the values are", ["Method", *HEADINGS.values()], rows, frozenset(bold), [note]
    )


def pairs_table(comparison: Comparison, names: Mapping[str, str], metrics: Sequence[str] = METRICS) -> Table:
    level = f"{100 * comparison.level:.0f} %"
    rows = [
        [
            HEADINGS[d.metric],
            names.get(d.first, d.first),
            names.get(d.second, d.second),
            format_signed(d.mean),
            f"[{format_signed(d.low)}, {format_signed(d.high)}]",
            format_signed(d.test.median),
            format_effect(d.test.effect),
            format_p(d.test.p),
            format_p(d.p_holm),
        ]
        for d in comparison.differences
        if d.metric in metrics
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


def density_table(comparison: Comparison, names: Mapping[str, str], metric: str) -> Table:
    columns = ["Method"]
    for category in comparison.by_density:
        columns.append(f"ACR {category} (n = {int((comparison.density == category).sum())})")
    rows, bold = [], set[tuple[int, int]]()
    for method in comparison.methods:
        cells = [found[method][metric] for found in comparison.by_density.values()]
        rows.append(
            [names.get(method, method), *(f"{percent(e.value)} [{percent(e.low)}, {percent(e.high)}]" for e in cells)]
        )
    for place, found in enumerate(comparison.by_density.values(), start=1):
        values = [found[method][metric].value for method in comparison.methods]
        bold |= {(row, place) for row in best(values, metric)}
    missing = [c for c in (1, 2, 3, 4) if c not in comparison.by_density]
    notes = ["In %, pooled over the test images of that density."]
    if missing:
        notes.append(
            f"ACR {', '.join(map(str, missing))}: not in the test part of every fold, so without a mean over folds."
        )
    title = f"{HEADINGS[metric]} by density"
    return Table(f"density_{metric}", title, columns, rows, frozenset(bold), notes)


def size_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    groups = comparison.size_groups
    columns = ["Method", *(f"{label} px (n = {int(chosen.sum())})" for label, chosen in groups)]
    values = [[float(comparison.by_image[m][chosen, 0].mean()) for _, chosen in groups] for m in comparison.methods]
    rows = [
        [names.get(method, method), *(percent(value) for value in line)]
        for method, line in zip(comparison.methods, values, strict=True)
    ]
    columns_of = enumerate(zip(*values, strict=True), start=1)
    bold = frozenset((row, place) for place, column in columns_of for row in best(column, "dsc"))
    return Table(
        "mass_size", "DSC by mass size", columns, rows, bold, ["In %, mean over the images of that mass size."]
    )


def ranking_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    parts, scores = comparison.blocks
    ranks = statistics.mean_ranks(scores) if len(parts) else [float("nan")] * len(comparison.methods)
    first = scores.argmax(axis=1).tolist() if len(parts) else []
    lines = sorted(
        (rank, names.get(m, m), f"{first.count(place)} of {len(parts)}", f"{100 * comparison.best_share[m]:.0f} %")
        for place, (m, rank) in enumerate(zip(comparison.methods, ranks, strict=True))
    )
    rows = [[name, "–" if rank != rank else f"{rank:.2f}", wins, share] for rank, name, wins, share in lines]
    p = statistics.friedman(scores)
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
