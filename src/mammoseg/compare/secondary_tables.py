"""Tables of secondary outcomes and of ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mammoseg.reports.run_summary import format_auc
from mammoseg.reports.table import MISSING, Table, format_signed, percent
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.negative_outcomes import outcomes_of_method
from mammoseg.statistics.ranking import mean_ranks
from mammoseg.statistics.secondary_outcomes import SecondaryOutcomes

MIN_BLOCKS = 2  # a rank in a single block has no mean


def three_decimals(value: float) -> str:
    """Return a fraction as a percentage with three decimals."""
    return MISSING if value != value else f"{100 * value:.3f}"


def two_decimals(value: float) -> str:
    """Return a number with two decimals."""
    return MISSING if value != value else f"{value:.2f}"


# Attribute of SecondaryOutcomes: heading and format of the mean, and format of the standard deviation
OUTCOMES: dict[str, tuple[str, Callable[[float], str], Callable[[float], str]]] = {
    "signed_area_difference": ("Signed ΔA", format_signed, percent),
    "masses_found": ("Masses found ↑", percent, percent),
    "false_positives": ("False positives per image ↓", two_decimals, two_decimals),
    "images_missed": ("Images missed ↓", percent, percent),
    "calibration_error": ("ECE ↓", three_decimals, three_decimals),
    "breast_calibration_error": ("ECE in the breast ↓", three_decimals, three_decimals),
}


def secondary_tables(comparison: Comparison, names: Mapping[str, str]) -> list[Table]:
    """Create the tables of secondary outcomes, with that of `negatives_tables`.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
    """
    return [secondary_table(comparison, names), *negatives_tables(comparison, names)]


def secondary_table(comparison: Comparison, names: Mapping[str, str]) -> Table:
    """Create the table of secondary outcomes.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The table.
    """
    rows = []
    for method, runs in comparison.data.runs.items():
        mean, std = SecondaryOutcomes.of_runs(list(runs.values()))
        cells = [names.get(method, method)]
        for attribute, (_, format_mean, format_std) in OUTCOMES.items():
            value, spread = getattr(mean, attribute), getattr(std, attribute)
            cells.append(format_mean(value) + (f" ± {format_std(spread)}" if spread == spread else ""))
        rows.append(cells)
    note = (
        "In %, except false positives; mean ± standard deviation over folds and seeds (if there is more than one run). "
        "Signed ΔA: predicted minus true area, divided by the true area; its sign shows whether areas are too large or "
        "too small. Masses found: fraction of the masses that contain the centroid of a predicted region. Images "
        "missed: fraction of the images with a mass in which no pixel of a mass is predicted (DSC 0). ECE: expected "
        "calibration error; over all pixels, it is dominated by the background."
    )
    columns = ["Method", *(heading for heading, *_ in OUTCOMES.values())]
    return Table("secondary", "Secondary outcomes", columns, rows, notes=[note], csv_columns=["Method", *OUTCOMES])


def negatives_tables(comparison: Comparison, names: Mapping[str, str]) -> list[Table]:
    """Create the table of the outcomes for images without a mass; none if all test images have a mass.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
    """
    if comparison.has_mass.all():
        return []
    rows = []
    for method, runs in comparison.data.runs.items():
        outcomes = outcomes_of_method(runs, comparison.n_resamples, comparison.confidence_level, comparison.seed)
        cells = [percent(outcomes.specificity), two_decimals(outcomes.false_positives)]
        aucs = (outcomes.image_auc, outcomes.patient_auc)
        rows.append([names.get(method, method), *cells, *map(format_auc, aucs)])
    note = (
        f"{int((~comparison.has_mass).sum())} of the {len(comparison.rows)} test images have no mass. Specificity, in "
        "%: fraction of them in which no pixel is predicted. False positives: predicted regions per image without a "
        "mass. AUC: area under the ROC curve; the score of an image is its highest probability, that of a patient the "
        "highest of its images. Means over folds and seeds; in brackets, "
        f"{100 * comparison.confidence_level:.0f} % intervals over patients, for these trained networks."
    )
    columns = ["Method", "Specificity ↑", "False positives ↓", "AUC of images ↑", "AUC of patients ↑"]
    csv_columns = ["Method", "specificity", "false_positives", "image_auc", "patient_auc"]
    return [Table("negatives", "Images without a mass", columns, rows, notes=[note], csv_columns=csv_columns)]


def ranking_tables(comparison: Comparison, names: Mapping[str, str]) -> list[Table]:
    """Create the table of mean ranks, sorted from best to worst.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The table; none for a single method, or fewer than two pairs of fold and seed for which all methods have a run.
    """
    blocks, scores = comparison.fold_seed_scores
    if len(comparison.methods) < 2 or len(blocks) < MIN_BLOCKS:
        return []
    ranks = mean_ranks(scores).tolist()
    # Ties count for all tied methods, unless all methods are tied.
    is_first = (scores == scores.max(axis=1, keepdims=True)) & (scores != scores.min(axis=1, keepdims=True))
    n_first = is_first.sum(axis=0).tolist()
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    rows = [
        [names.get(comparison.methods[i], comparison.methods[i]), f"{ranks[i]:.2f}", f"{n_first[i]} of {len(blocks)}"]
        for i in order
    ]
    note = (
        f"Descriptive: ranks by pooled DSC in the {len(blocks)} pairs of fold and seed for which all methods have a "
        "run. Ranks do not show how large the differences are, nor whether they exceed the variation between trainings."
    )
    n_runs = sum(map(len, comparison.data.runs.values()))
    if excluded := n_runs - len(blocks) * len(comparison.methods):
        note += (
            f" Runs without a counterpart in every method ({excluded} of {n_runs}) are included in the results above, "
            "but not in the ranks."
        )
    columns, csv_columns = ["Method", "Mean rank", "Ranked first"], ["Method", "mean rank", "ranked first"]
    return [Table("ranking", "Mean ranks by pooled DSC", columns, rows, notes=[note], csv_columns=csv_columns)]
