"""Summary of a comparison in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
    candidates = [method for method in comparison.methods if baseline in (method, comparison.data.base_method(method))]
    if len(candidates) != 1:
        return [*sentences, _missing_baseline_sentence(candidates, names, baseline)]
    (reference,) = candidates
    differences = [d for d in comparison.differences if d.metric == "dsc" and reference in (d.first, d.second)]
    return [*sentences, *(_difference_sentence(d, comparison, names, reference) for d in differences)]


def _missing_baseline_sentence(candidates: Sequence[str], names: Mapping[str, str], baseline: str) -> str:
    """Explain why differences from the baseline are not reported: it has no runs, or several variants."""
    name = names.get(baseline, baseline)
    if not candidates:
        return f"No runs of the baseline {name} were found, so differences from it are not reported."
    listed = ", ".join(names[method] for method in candidates)
    return (
        f"The runs of the baseline {name} differ in their settings ({listed}), so differences from it are not reported "
        f"here; select one of these methods with 'baseline=\"{candidates[0]}\"'. The section Significance tests "
        "contains all pairs of methods."
    )


def _difference_sentence(
    difference: Difference, comparison: Comparison, names: Mapping[str, str], baseline: str
) -> str:
    """Describe the difference in pooled DSC between a method and the baseline, and the paired test over images."""
    sign, method = (1, difference.first) if difference.second == baseline else (-1, difference.second)
    low, high = sorted((sign * difference.low, sign * difference.high))
    if math.isnan(low):
        interval = "(confidence interval undefined)"
    else:
        level = f"{100 * comparison.confidence_level:.0f} %"
        relation = "includes" if low <= 0 <= high else "excludes"
        interval = f"({level} CI [{format_signed(low)}, {format_signed(high)}], which {relation} 0)"
    sentence = (
        f"{names[method]} vs. {names[baseline]}: difference in pooled DSC {format_signed(sign * difference.value)} "
        f"percentage points {interval}. Wilcoxon signed-rank test of the DSC of {comparison.unit}s: "
        f"p {format_p(difference.p_holm, '= ')} (Holm-corrected), rank-biserial correlation "
        f"{format_effect(sign * difference.test.effect_size)}."
    )
    if _disagree(difference, 1 - comparison.confidence_level):
        sentence += (
            f" Interval and test can differ, since the pooled DSC weights images by their numbers of mass pixels, and "
            f"the test weights all {comparison.unit}s equally."
        )
    return sentence


def _disagree(difference: Difference, alpha: float) -> bool:
    """Return True if only one of interval and test shows a difference at level `alpha`, or if their signs differ."""
    if math.isnan(difference.low):
        return False
    interval_sign = (difference.low > 0) - (difference.high < 0)
    test_sign = math.copysign(1, difference.test.effect_size) if difference.p_holm < alpha else 0
    return interval_sign != test_sign
