"""Tables of differences between methods: primary comparison, all pairs, statistical power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mammoseg.metrics import PIXEL_METRICS, PooledPixelMetric
from mammoseg.reports.table import MISSING, Table, format_effect, format_p, format_signed
from mammoseg.statistics.comparison import Comparison, Difference
from mammoseg.statistics.power import MAX_SEEDS, POWER, VarianceComponents, variance_components

N_SEEDS = (2, 3, 5, 10, 20, 50)  # rows of the power table
DIFFERENCES = (1.0, 2.0, 3.0, 5.0)  # rows of the table of required seeds, in percentage points
CSV_COLUMNS = (
    "metric",
    "first",
    "second",
    "difference",
    "interval",
    "standard_error",
    "degrees_of_freedom",
    "p",
    "p_holm",
    "median",
    "effect_size",
)


def primary_pairs(comparison: Comparison, baseline: str, method: str | None) -> list[tuple[str, str]]:
    """Return the pairs of the primary comparison.

    Args:
        comparison: The comparison.
        baseline: Name of the baseline, with or without the settings that distinguish methods of the same name.
        method: Name of the method that is compared with the baseline; None compares every other method.

    Returns:
        Pairs (method, baseline); empty if there is no run of one of them, or if a name matches several methods.
    """
    references = comparison.data.variants(baseline)
    candidates = comparison.methods if method is None else comparison.data.variants(method)
    if len(references) != 1:
        return []
    return [(candidate, references[0]) for candidate in candidates if candidate != references[0]]


def primary_table(
    comparison: Comparison, names: Mapping[str, str], metric: str, pairs: Sequence[tuple[str, str]]
) -> Table:
    """Create the table of the primary comparison.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        metric: Key of the primary metric.
        pairs: Result of `primary_pairs`.

    Returns:
        The table.
    """
    title = f"Primary comparison: {PIXEL_METRICS[metric].title}"
    return _differences_table("primary", title, comparison, names, comparison.differences(metric, pairs))


def pairs_table(
    comparison: Comparison, names: Mapping[str, str], metrics: Sequence[str] | None = None, name: str = "pairs"
) -> Table:
    """Create the table of the differences between all pairs of methods.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        metrics: Keys of the metrics to include; None includes all.
        name: File name without suffix.

    Returns:
        The table.
    """
    differences = [d for d in comparison.all_differences if metrics is None or d.metric in metrics]
    return _differences_table(name, "All pairs of methods (exploratory)", comparison, names, differences)


def _differences_table(
    name: str, title: str, comparison: Comparison, names: Mapping[str, str], differences: Sequence[Difference]
) -> Table:
    interval = f"{100 * comparison.confidence_level:.0f} % CI"
    columns = [
        "Metric",
        "Method A",
        "Method B",
        "A − B",
        interval,
        "SE",
        "df",
        "p",
        "p (Holm)",
        "Median",
        "Effect size",
    ]
    rows = [_difference_row(difference, names) for difference in differences]
    return Table(name, title, columns, rows, notes=[differences_note(comparison)], csv_columns=CSV_COLUMNS)


def _difference_row(difference: Difference, names: Mapping[str, str]) -> list[str]:
    metric, inference = PIXEL_METRICS[difference.metric], difference.inference
    freedom = inference.degrees_of_freedom
    return [
        metric.heading,
        names.get(difference.first, difference.first),
        names.get(difference.second, difference.second),
        format_difference(difference.value, metric),
        f"[{format_difference(inference.low, metric)}, {format_difference(inference.high, metric)}]",
        metric.format(inference.standard_error),
        f"{freedom:.1f}" if freedom == freedom else MISSING,
        format_p(inference.p),
        format_p(difference.p_holm),
        format_difference(difference.median, metric),
        format_effect(difference.effect_size),
    ]


def format_difference(value: float, metric: type[PooledPixelMetric]) -> str:
    """Return the difference between two values of a metric as text, in percentage points if its unit is %."""
    return format_signed(value, metric.scale())


def differences_note(comparison: Comparison) -> str:
    """Describe the columns of a table of differences."""
    if comparison.is_about_methods:
        inference = (
            "SE: standard error from the bootstrap over patients and the variance between trainings; df: Satterthwaite "
            "degrees of freedom; p: two-sided t-test; p (Holm): corrected for all comparisons of the metric in this "
            "table"
        )
    else:
        inference = (
            "SE: bootstrap standard error over patients. Intervals apply to these trained networks; p-values for "
            "methods require several seeds or folds"
        )
    return (
        "A − B: difference of the pooled metrics, in percentage points for metrics in %, with confidence interval "
        f"(CI). {inference}. Median: median difference over patients. Effect size: rank-biserial correlation over "
        "patients in [−1, 1]."
    )


def power_tables(comparison: Comparison, metric: str, pairs: Sequence[tuple[str, str]]) -> list[Table]:
    """Create tables of the difference that a number of seeds detects, and of the seeds that a difference requires.

    Args:
        comparison: The comparison.
        metric: Key of the primary metric.
        pairs: Pairs of methods over which the variance is averaged.

    Returns:
        The two tables; none if the components of the variance cannot be estimated, see `variance_components`.
    """
    components = variance_components(comparison, metric, pairs)
    if components is None:
        return []
    scale, level, title = PIXEL_METRICS[metric].scale(), comparison.confidence_level, PIXEL_METRICS[metric].title
    detectable = {n_seeds: scale * components.detectable_difference(n_seeds, level) for n_seeds in N_SEEDS}
    required = {difference: components.required_seeds(difference / scale, level) for difference in DIFFERENCES}
    return [
        Table(
            "power",
            f"Smallest detectable difference in {title}",
            ["Seeds per method", "Detectable difference"],
            [[str(n_seeds), f"{difference:.2f}"] for n_seeds, difference in detectable.items()],
            notes=[_power_note(components, metric, level, comparison.resampler.n_patients())],
            csv_columns=["seeds", "detectable_difference"],
        ),
        Table(
            "required_seeds",
            f"Seeds per method that are required to detect a difference in {title}",
            ["Difference", "Seeds per method"],
            [[f"{difference:g}", str(n or f"> {MAX_SEEDS}")] for difference, n in required.items()],
            notes=[
                "Difference in the unit of the metric. Level, power and variances are those of the smallest detectable "
                "difference."
            ],
            csv_columns=["difference", "seeds"],
        ),
    ]


def _power_note(components: VarianceComponents, metric: str, level: float, n_patients: int) -> str:
    scale = PIXEL_METRICS[metric].scale()
    one_seed, many_seeds = components.patients + components.patients_by_seed, components.patients
    return (
        f"Difference between two methods, in the unit of the metric, that a single test at level {1 - level:.2g} "
        f"detects with a probability of {100 * POWER:.0f} %, for the variances estimated from these runs: standard "
        f"error due to the {n_patients} test patients {scale * one_seed**0.5:.2f} with one seed and "
        f"{scale * many_seeds**0.5:.2f} with many seeds, and standard deviation between seeds beyond that due to the "
        f"patients {scale * components.training**0.5:.2f}. Estimates from few seeds are imprecise, in particular "
        "components near 0 and numbers of seeds beyond those of the runs."
    )
