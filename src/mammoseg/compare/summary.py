"""Summary of a comparison in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mammoseg.compare import tables
from mammoseg.reports.table import format_effect, format_p, format_signed
from mammoseg.statistics.comparison import Comparison, Difference


def summary_sentences(comparison: Comparison, names: Mapping[str, str], baseline: str) -> list[str]:
    """Summarise the comparison: test set, variation between runs, and difference of each method from the baseline.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        baseline: Name of the baseline method.

    Returns:
        Sentences of the summary.
    """
    sentences = [tables.protocol_text(comparison)]
    stds = {method: comparison.overall[method]["dsc"].std for method in comparison.methods}
    if listed := ", ".join(f"{names[method]} {100 * std:.2f}" for method, std in stds.items() if std == std):
        sentences.append(f"Standard deviation of the pooled DSC over folds and seeds, in percentage points: {listed}.")
    if single := [names[method] for method, runs in comparison.data.runs.items() if len(runs) == 1]:
        sentences.append(
            f"Methods with a single run: {', '.join(single)}. Their variation between seeds is unknown, since the "
            "confidence intervals only account for the variation between patients."
        )
    if baseline not in comparison.methods:
        name = names.get(baseline, baseline)
        return [*sentences, f"No runs of the baseline {name} were found, so differences from it are not reported."]
    differences = [d for d in comparison.differences if d.metric == "dsc" and baseline in (d.first, d.second)]
    return [*sentences, *(_difference_sentence(d, comparison, names, baseline) for d in differences)]


def _difference_sentence(
    difference: Difference, comparison: Comparison, names: Mapping[str, str], baseline: str
) -> str:
    """Describe the difference in pooled DSC between a method and the baseline.

    A difference is called significant if its confidence interval does not include 0.
    """
    sign, method = (1, difference.first) if difference.second == baseline else (-1, difference.second)
    low, high = sorted((sign * difference.low, sign * difference.high))
    if math.isnan(low):
        interval = "(confidence interval undefined)"
    else:
        verdict = "significantly higher" if low > 0 else "significantly lower" if high < 0 else "not significant"
        level = f"{100 * comparison.confidence_level:.0f} %"
        interval = f"({level} CI [{format_signed(low)}, {format_signed(high)}]), {verdict}"
    return (
        f"{names[method]} vs. {names[baseline]}: difference in pooled DSC {format_signed(sign * difference.value)} "
        f"percentage points {interval}. Wilcoxon signed-rank test over {comparison.unit}s: "
        f"p {format_p(difference.p_holm, '= ')} (Holm-corrected), rank-biserial correlation "
        f"{format_effect(sign * difference.test.effect_size)}."
    )
