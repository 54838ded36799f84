"""Table of the ranks of the methods over folds and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mammoseg.reports.table import MISSING, Table, format_p
from mammoseg.statistics import significance
from mammoseg.statistics.comparison import Comparison

MIN_BLOCKS = 2  # a rank in a single block has no mean


def ranking_tables(comparison: Comparison, names: Mapping[str, str]) -> list[Table]:
    """Create the table of mean ranks, sorted from best to worst; methods without mean ranks are sorted by pooled DSC.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The table; none for a single method.
    """
    if len(comparison.methods) < 2:
        return []
    blocks, scores = comparison.fold_seed_scores
    n_blocks = len(blocks)
    is_ranked = n_blocks >= MIN_BLOCKS
    n_methods = len(comparison.methods)
    ranks = significance.mean_ranks(scores).tolist() if is_ranked else [math.nan] * n_methods
    # Ties count for all tied methods.
    n_first = (scores == scores.max(axis=1, keepdims=True)).sum(axis=0).tolist()
    mean_dsc = [comparison.overall[method]["dsc"].value for method in comparison.methods]
    order = sorted(range(n_methods), key=lambda i: (ranks[i] if is_ranked else 0.0, -mean_dsc[i]))
    rows = []
    for i in order:
        method = comparison.methods[i]
        win_rate = comparison.win_rate[method]
        rows.append(
            [
                names.get(method, method),
                f"{ranks[i]:.2f}" if is_ranked else MISSING,
                f"{n_first[i]} of {n_blocks}" if is_ranked else MISSING,
                MISSING if math.isnan(win_rate) else f"{100 * win_rate:.0f} %",
            ]
        )
    columns = ["Method", "Mean rank", "Ranked first", "P(best)"]
    csv_columns = ["Method", "mean rank", "ranked first", "P(best)"]
    notes = ranking_notes(comparison, significance.friedman(scores))
    return [Table("ranking", "Ranking by pooled DSC", columns, rows, notes=notes, csv_columns=csv_columns)]


def ranking_notes(comparison: Comparison, p_friedman: float) -> list[str]:
    """Describe over which runs the methods are ranked.

    Args:
        comparison: The comparison.
        p_friedman: p-value of the Friedman test; NaN if undefined.

    Returns:
        Sentences below the table.
    """
    n_blocks = len(comparison.data.common_fold_seeds)
    win_rate_note = (
        "P(best): fraction of bootstrap resamples over patients in which the method has the highest DSC, averaged over "
        "its runs; ties are divided equally."
    )
    if n_blocks < MIN_BLOCKS:
        return [
            f"Ranks require at least {MIN_BLOCKS} pairs of fold and seed for which all methods have a run, got "
            f"{n_blocks}; the methods are sorted by pooled DSC. {win_rate_note}"
        ]
    notes = [f"Ranks by pooled DSC over the {n_blocks} pairs of fold and seed for which all methods have a run."]
    n_runs = sum(map(len, comparison.data.runs.values()))
    if excluded := n_runs - n_blocks * len(comparison.methods):
        notes[0] += (
            f" Runs without a counterpart in every method ({excluded} of {n_runs}) are included in the results above, "
            "but not in the ranks."
        )
    notes[0] += f" {win_rate_note}"
    if not math.isnan(p_friedman):
        notes.append(f"Friedman test of equal ranks: p {format_p(p_friedman, '= ')}.")
    return notes
