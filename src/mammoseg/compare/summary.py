"""Summary of a comparison in sentences: what was compared and how, and the primary comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from mammoseg.compare.difference_tables import format_difference
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.table import format_count, format_p
from mammoseg.statistics.comparison import Comparison, Difference


def summary_sentences(
    comparison: Comparison,
    names: Mapping[str, str],
    metric: str,
    baseline: str,
    method: str | None,
    pairs: Sequence[tuple[str, str]],
) -> list[str]:
    """Summarise the comparison: the primary comparison, and the variation between runs.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        metric: Key of the primary metric.
        baseline: Name of the baseline method.
        method: Name of the method that is compared with the baseline; None for all methods.
        pairs: Pairs of the primary comparison.

    Returns:
        Sentences of the summary.
    """
    differences = comparison.differences(metric, pairs)
    n_tests = sum(difference.inference.is_test for difference in differences)
    sentences = [_difference_sentence(difference, comparison, names, n_tests) for difference in differences]
    if len(comparison.methods) > 1 and not pairs:
        sentences.append(_missing_method_sentence(comparison, names, baseline, method))
    primary = PIXEL_METRICS[metric]
    stds = {name: primary.scale() * comparison.overall[name][metric].std for name in comparison.methods}
    if listed := ", ".join(f"{names[name]} {std:.2f}" for name, std in stds.items() if std == std):
        sentences.append(f"Standard deviation of the pooled {primary.title} over folds and seeds: {listed}.")
    further = _unequal_variation_sentence(comparison, metric), _training_sentence(comparison, names)
    return [*sentences, *filter(None, further)]


def _unequal_variation_sentence(comparison: Comparison, metric: str) -> str:
    """State that the variation between seeds differs between methods; empty if Bartlett's test finds no difference."""
    values = [runs[metric] for runs in comparison.run_values.values() if len(runs[metric]) > 1]
    if comparison.is_cross_validation or len(values) < 2 or not any(np.ptp(runs) for runs in values):
        return ""
    with np.errstate(divide="ignore"):  # methods whose runs are equal
        p = float(stats.bartlett(*values).pvalue)
    if not p < 1 - comparison.confidence_level:
        return ""
    title, p_value = PIXEL_METRICS[metric].title, format_p(p, "= ")
    return (
        f"The variation of the {title} between seeds differs between the methods (Bartlett's test, p {p_value}), while "
        "the confidence intervals and tests assume that it is equal. They are inaccurate, unless two methods with "
        "equal numbers of seeds are compared: p-values are too small for differences between methods that vary more "
        "than the others, and too large for those that vary less."
    )


def _training_sentence(comparison: Comparison, names: Mapping[str, str]) -> str:
    """Describe what is known about the variation between trainings of methods with a single run; empty without them."""
    if not comparison.is_about_methods:
        if len(comparison.methods) == 1:
            return "There is a single run, so the results below are about this trained network."
        return (
            "Each method has a single run, so the results below are about these trained networks: another seed could "
            "change or reverse their order. Train at least two seeds, better five, to compare methods."
        )
    single = [names[name] for name, runs in comparison.data.runs.items() if len(runs) == 1]
    if not single or len(comparison.methods) == 1:
        return ""
    return (
        f"Methods with a single run: {', '.join(single)}. Their variance between trainings is unknown, so the "
        "intervals of these methods and of their differences from others are about the trained networks, without "
        "p-values."
    )


def _missing_method_sentence(
    comparison: Comparison, names: Mapping[str, str], baseline: str, method: str | None
) -> str:
    """Explain why there is no primary comparison: a method has no runs, or several variants."""
    setting, missing = "baseline", baseline
    if len(comparison.data.variants(baseline)) == 1 and method is not None:
        setting, missing = "primary_method", method
    variants = comparison.data.variants(missing)
    name = names.get(missing, missing)
    if not variants:
        return f"No runs of the method {name} ({setting}) were found, so there is no primary comparison."
    listed = ", ".join(names[variant] for variant in variants)
    return (
        f"The runs of the method {name} ({setting}) differ in their settings ({listed}), so there is no primary "
        f"comparison; select one of these methods with '{setting}=\"{variants[0]}\"'. The section Exploratory "
        "comparisons contains all pairs of methods."
    )


def _difference_sentence(difference: Difference, comparison: Comparison, names: Mapping[str, str], n_tests: int) -> str:
    """Describe the difference between a method and the baseline in the primary metric."""
    metric, inference = PIXEL_METRICS[difference.metric], difference.inference
    unit = " percentage points" if metric.unit else ""
    subject = (
        f"{names[difference.first]} vs. {names[difference.second]}: difference in pooled {metric.title} "
        f"{format_difference(difference.value, metric)}{unit}"
    )
    if math.isnan(inference.low):
        return f"{subject} (confidence interval undefined)."
    level = f"{100 * comparison.confidence_level:.0f} %"
    relation = "includes" if inference.low <= 0 <= inference.high else "excludes"
    limits = f"[{format_difference(inference.low, metric)}, {format_difference(inference.high, metric)}]"
    if not inference.is_test:
        return f"{subject} between these trained networks ({level} CI over patients {limits}, which {relation} 0)."
    p = f"p {format_p(inference.p, '= ')}"
    if n_tests > 1:
        p += f"; p {format_p(difference.p_holm, '= ')} after Holm's correction for {n_tests} comparisons"
    return f"{subject} ({level} CI {limits}, which {relation} 0; {p})."


def methods_sentences(
    comparison: Comparison, names: Mapping[str, str], metric: str, pairs: Sequence[tuple[str, str]]
) -> list[str]:
    """Describe the statistical methods: unit of analysis, sources of variation, number of tests and error rate.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        metric: Key of the primary metric.
        pairs: Pairs of the primary comparison.

    Returns:
        Sentences.
    """
    n_patients = comparison.resampler.n_patients()
    sentences = [
        "The unit of analysis is the patient: all images of a patient are resampled together "
        f"({format_count(n_patients, 'test patient')}), and all methods are evaluated on the same resamples.",
        _variation_sentence(comparison),
    ]
    n_tests = sum(difference.inference.is_test for difference in comparison.all_differences)
    if not n_tests:
        return sentences
    level = f"{100 * (1 - comparison.confidence_level):.0f} %"
    title = PIXEL_METRICS[metric].title
    n_primary = sum(difference.inference.is_test for difference in comparison.differences(metric, pairs))
    if n_primary:
        baseline = names.get(pairs[0][1], pairs[0][1])
        family = f"{format_count(n_primary, 'comparison')} with {baseline} in {title}"
        correction, corrected = (", with Holm's correction", "corrected ") if n_primary > 1 else ("", "")
        sentences.append(
            f"The primary comparison was specified by the settings primary and baseline: {family}{correction}. If no "
            f"method differs from the baseline, the probability of at least one {corrected}p-value below {level} in it "
            f"is about {level}."
        )
    return [*sentences, *_exploratory_sentences(n_tests - n_primary, n_primary > 0, comparison.confidence_level)]


def _exploratory_sentences(n_differences: int, has_primary: bool, confidence_level: float) -> list[str]:
    """Describe the error rate of the comparisons of all pairs of methods in all metrics, and name the simulations.

    Args:
        n_differences: Number of tests that are not part of the primary comparison.
        has_primary: Whether there is a primary comparison.
        confidence_level: Level of the confidence intervals.
    """
    subject, further = ("All other differences", " further") if has_primary else ("All differences", "")
    percent = 100 * (1 - confidence_level)
    at_most = min(100, percent * len(PIXEL_METRICS))
    return [
        f"{subject} between methods are exploratory: {n_differences}{further} differences (of pairs of "
        "methods in all metrics) are tested, with Holm's correction within each metric. If nothing differs, the "
        f"probability of at least one corrected p-value below {percent:.0f} % is about {percent:.0f} % for each "
        f"metric, and at most about {at_most:.0f} % for the {len(PIXEL_METRICS)} metrics together.",
        "docs/methods.md (Statistical methods) contains the error rates that were observed in simulated studies.",
    ]


def _variation_sentence(comparison: Comparison) -> str:
    if not comparison.is_about_methods:
        return (
            "The sampling of test patients is the only source of variation in the confidence intervals. There are no "
            "p-values, since the variation between trainings is unknown."
        )
    if comparison.is_cross_validation:
        return (
            "Sources of variation in the confidence intervals and tests: the sampling of test patients, and the "
            "variation of differences between methods over the folds (training sets and seeds), estimated from the "
            "residuals of an additive model of methods and folds. Training sets of different folds overlap, which is "
            "not accounted for."
        )
    pooled = "whose variance is pooled over the methods, as if all methods varied equally"
    if any(run.training is not None for run in comparison.data.all_runs):
        return (
            "Sources of variation in the confidence intervals and tests: the sampling of test patients, and the "
            "training (the folds of a cross-validation on another dataset and the random seeds), "
            f"{pooled}. Training sets of different folds overlap, which is not accounted for."
        )
    return (
        "Sources of variation in the confidence intervals and tests: the sampling of test patients, and the random "
        f"seed of the training, {pooled}. The training data are considered as fixed."
    )
