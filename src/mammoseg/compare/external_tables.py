"""Table of the differences between external and internal results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mammoseg.compare.difference_tables import format_difference
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.run_summary import units_note
from mammoseg.reports.table import Table, format_p
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.external_difference import ExternalDifference, external_differences

NOTE = (
    "Internal: test on the dataset of the training; external: test of the same networks on the other dataset; means "
    "over the trainings (folds or seeds). Difference: external minus internal, in percentage points for metrics in %, "
    "with confidence interval (CI). The images of the two tests are different, so their patients are resampled "
    "independently. With several trainings, intervals and p-values (t-test) include the variance between trainings; "
    "otherwise intervals apply to the trained network, and there is no p-value."
)
CSV_COLUMNS = (
    *("method", "trained_on", "tested_on", "metric", "internal", "external", "difference", "interval"),
    *("standard_error", "p", "trainings"),
)


def external_tables(external: Comparison, internals: Sequence[Comparison], names: Mapping[str, str]) -> list[Table]:
    """Create the table of the differences between the results on another dataset and those on that of the training.

    Args:
        external: Comparison on one dataset.
        internals: Comparisons on the other datasets.
        names: Display names of the methods.

    Returns:
        The table; none if no network was tested on both datasets.
    """
    differences = [found for internal in internals for found in external_differences(internal, external)]
    if not differences:
        return []
    interval = f"{100 * external.confidence_level:.0f} % CI"
    columns = ["Method", "Trained on", "Tested on", "Metric", "Internal", "External", "Difference", interval]
    rows = [_row(difference, names) for difference in differences]
    title = f"Differences between external and internal results, {units_note('in')}"
    columns += ["SE", "p", "Trainings"]
    n_tests = sum(difference.inference.is_test for difference in differences)
    tests = f"The {n_tests} p-values are exploratory and not corrected for the number of tests." if n_tests else ""
    return [Table("external", title, columns, rows, notes=[f"{NOTE} {tests}".rstrip()], csv_columns=CSV_COLUMNS)]


def _row(difference: ExternalDifference, names: Mapping[str, str]) -> list[str]:
    metric, inference = PIXEL_METRICS[difference.metric], difference.inference
    return [
        names.get(difference.method, difference.method),
        difference.trained_on,
        difference.tested_on,
        metric.heading,
        metric.format(difference.internal),
        metric.format(difference.external),
        format_difference(difference.value, metric),
        f"[{format_difference(inference.low, metric)}, {format_difference(inference.high, metric)}]",
        metric.format(inference.standard_error),
        format_p(inference.p),
        str(difference.n_trainings),
    ]
