"""Section of the model card with the test results of the run of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammoseg.data.split_result import read_parts
from mammoseg.export.card_metadata import Group, groups_by_density, groups_by_mass_size
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.run_summary import metric_headings, negatives_markdown, units_note
from mammoseg.runs.checkpoint import SELECTED_ON_KEY
from mammoseg.runs.discovery import RunResults, read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison

N_RESAMPLES, CONFIDENCE_LEVEL, SEED = 5000, 0.95, 0  # the defaults of conf/compare.yaml
NEGATIVES_NOTE = (
    "Specificity: fraction of the images without a mass in which no pixel is predicted. AUC: area under the ROC curve; "
    "the score of an image is its highest probability, that of a patient the highest of its images. Intervals are from "
    "a bootstrap over patients."
)


def read_evaluation(provenance: Mapping[str, Any], ckpt_path: Path, folder: RunFolder) -> Comparison | str:
    """Read the test results of a checkpoint.

    Args:
        provenance: As for `make_model_card`.
        ckpt_path: The checkpoint; results are used only for a best checkpoint.
        folder: Run folder of the checkpoint.

    Returns:
        The test results, or the reason why they are not available, a sentence.
    """
    if not folder.results.is_file():
        return (
            "Not available: the run's results.csv was not available at export. `python -m mammoseg.evaluate` tests the "
            "checkpoint."
        )
    run, half = read_run(folder), provenance.get(SELECTED_ON_KEY)
    best = folder.best_checkpoint_of(half or "")
    if run.rows[0]["run"] != provenance["run_info"]["run"] or ckpt_path.name != best.name:
        return "Not available: the run's results.csv belongs to its best checkpoint, but another one was exported."
    if half is not None and not folder.split.is_file():
        return "Not available: the run's split.csv was not available at export."
    return compare_single(without_half(run, half, folder))


def without_half(run: RunResults, half: str | None, folder: RunFolder) -> RunResults:
    """Return results without the images of the half that selected a checkpoint, which another checkpoint has tested.

    Args:
        run: Results of the test of a run.
        half: The half; None returns the results unchanged.
        folder: Run folder, with split.csv.
    """
    if half is None:
        return run
    tested = {row["case"] for row in read_parts(folder.split) if row["part"] != half}
    return replace(run, rows=[row for row in run.rows if row["case"] in tested])


def compare_single(run: RunResults) -> Comparison:
    """Return the estimates and intervals of a single run."""
    return Comparison(align_runs([run]), N_RESAMPLES, CONFIDENCE_LEVEL, SEED)


def evaluation_section(comparison: Comparison) -> str:
    """Tabulate the test metrics with bootstrap intervals and, if there are any, the outcomes for images without a mass.

    Args:
        comparison: Test results of the checkpoint.

    Returns:
        Markdown.
    """
    tables = (
        metrics_table("test images", groups_by_density(comparison)),
        metrics_table("mass pixels", groups_by_mass_size(comparison)),
    )
    outcomes = negatives_markdown(comparison.rows)
    text = (
        f"{tables[0]}\n\n{tables[1]}\n\n"
        f"{units_note()}, pooled over the pixels of the test images at the network's input resolution; in brackets, "
        f"{CONFIDENCE_LEVEL:.0%} bootstrap intervals over patients ({N_RESAMPLES} resamples; undefined for a single "
        "patient). The second table groups the images by the number of mass pixels at that resolution. Results are "
        f"from a single training run and vary with the seed. {negatives_note(comparison, bool(outcomes))}"
    )
    return f"{text}\n\n{outcomes}\n\n{NEGATIVES_NOTE}" if outcomes else text


def negatives_note(comparison: Comparison, has_outcomes: bool) -> str:
    """State the number of test images without a mass, and if there are no outcomes, that these are unknown."""
    n_negative = int((~comparison.has_mass).sum())
    if not n_negative:
        return "All test images contain a mass, so the results do not show false positives in mammograms without one."
    note = f"{n_negative} of the {len(comparison.rows)} test images contain no mass"
    unknown = "" if has_outcomes else "; the number of false positives in them is unknown"
    return f"{note}{unknown}."


def metrics_table(title: str, groups: Sequence[Group]) -> str:
    """Return the metrics of groups of images as a Markdown table; `title` is the heading of the first column."""
    headings = metric_headings()
    lines = [f"| {title} | n | " + " | ".join(headings) + " |", "|---|---|" + "---|" * len(headings)]
    for label, n_images, estimates in groups:
        cells = [
            f"{metric.format(estimate.value)} [{metric.format(estimate.low)}, {metric.format(estimate.high)}]"
            for metric, estimate in ((metric, estimates[key]) for key, metric in PIXEL_METRICS.items())
        ]
        lines.append(f"| {label} | {n_images} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
