"""Report on the evaluation at native resolution: sections of summary.md, and the FROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mammoseg.density import ACRDensity
from mammoseg.evaluate.native_resolution import read_native_results
from mammoseg.metrics.detection import FP_RATES, Candidate, Froc, MatchingRule
from mammoseg.reports import run_summary
from mammoseg.reports.plotting import save_figure
from mammoseg.reports.table import MISSING, percent
from mammoseg.runs.results import ResultRow, has_mass

FROC_FILE = "froc.png"
DISTANCE_HEADINGS = {"hd95": "HD95 ↓", "asd": "average surface distance ↓"}


def write_native_report(folder: Path, rule: MatchingRule) -> str:
    """Write froc.png, if any image has a mass, and create the sections of summary.md on the native resolution.

    Args:
        folder: Contains native.csv and candidates.csv, and receives froc.png.
        rule: The rule by which candidates were matched.

    Returns:
        The sections as Markdown.
    """
    rows, candidates = read_native_results(folder)
    return "\n".join(
        [
            "\n## Results at native resolution\n",
            "Predictions were resampled to the original pixels and compared with the original annotations. Pooled "
            "metrics weight each image by its number of pixels.\n",
            run_summary.summary_markdown(rows),
            "### Surface distances\n",
            *(distance_table(rows, unit) for unit in sorted({row["unit"] for row in rows})),
            write_detection_section(rows, candidates, folder, rule),
        ]
    )


def write_detection_section(
    rows: Sequence[ResultRow], candidates: Mapping[str, Sequence[Candidate]], folder: Path, rule: MatchingRule
) -> str:
    """Write froc.png, if any image has a mass, and create the section of summary.md on detection.

    Args:
        rows: Values of case, density and masses (number of masses) of each image.
        candidates: Candidates by case.
        folder: Output folder.
        rule: The rule by which candidates were matched.

    Returns:
        The section as Markdown.
    """
    fp_on_negatives = any(row["masses"] == 0 for row in rows)
    curves = {
        label: Froc.from_detections([(candidates[row["case"]], row["masses"]) for row in group], fp_on_negatives)
        for label, group in density_groups(rows).items()
    }
    if len(curves["all"].lesion_scores):
        save_figure(plot_froc(curves, fp_on_negatives), folder / FROC_FILE)
    return "### Detection\n\n" + detection_table(curves, rule, fp_on_negatives)


def density_groups(rows: Sequence[ResultRow]) -> dict[str, list[ResultRow]]:
    """Group rows by label: "all", and each ACR category."""
    by_density = {f"ACR {category}": [row for row in rows if row["density"] == category] for category in ACRDensity}
    return {"all": list(rows), **by_density}


def distance_table(rows: Sequence[ResultRow], unit: str) -> str:
    """Tabulate the surface distances of the images whose pixel spacing is in `unit`, "mm" or "pixels".

    Distances are undefined for images with a mass and without a prediction; these are counted.
    """
    measured = [row for row in rows if row["unit"] == unit and has_mass(row)]
    defined = {name: np.array([row[name] for row in measured if not np.isnan(row[name])]) for name in DISTANCE_HEADINGS}
    n_undefined = len(measured) - len(defined["hd95"])  # either both distances are defined, or neither
    remark = "" if unit == "mm" else " (pixel spacing unknown)"
    lines = [
        f"Distances between predicted and true outlines, in {unit}{remark}:\n",
        "| distance | median | mean | defined | undefined (empty prediction) |",
        "|---|---|---|---|---|",
    ]
    for name, heading in DISTANCE_HEADINGS.items():
        values = defined[name]
        median, mean = (f"{np.median(values):.2f}", f"{values.mean():.2f}") if len(values) else (MISSING, MISSING)
        lines.append(f"| {heading} | {median} | {mean} | {len(values)} | {n_undefined} |")
    return "\n".join(lines) + "\n"


def detection_table(curves: Mapping[str, Froc], rule: MatchingRule, fp_on_negatives: bool = False) -> str:
    """Tabulate lesion sensitivity at fixed rates of false positives.

    Args:
        curves: FROC curves by label.
        rule: The rule by which candidates were matched.
        fp_on_negatives: See `Froc.from_detections`.
    """
    counted_on = (
        "False positives are counted on the test images without a mass only; n is their number."
        if fp_on_negatives
        else "False positives are counted on these test images, most or all of which contain a mass."
    )
    threshold = "the threshold of the run" if rule.prob_threshold is None else f"{rule.prob_threshold:g}"
    lines = [
        "Lesion sensitivity in % at fixed numbers of false positives (FP) per image (FROC). A candidate is a connected "
        f"region with a probability above {threshold}; its score is the highest probability in it. It is a true "
        f"positive if {rule.description}. If there are fewer false positives than a column allows, its value is the "
        f"sensitivity of all candidates. {counted_on}\n",
        f"| test images | n | masses | {' | '.join(f'{rate:g} FP' for rate in FP_RATES)} | all candidates |",
        f"|---|---|---|{'---|' * len(FP_RATES)}---|",
    ]
    for label, froc in curves.items():
        *cells, overall = [percent(froc.sensitivity(rate)) for rate in (*FP_RATES, np.inf)]
        last = f"{overall} at {len(froc.fp_scores) / froc.images:.2f} FP" if froc.images else MISSING
        lines.append(f"| {label} | {froc.images} | {len(froc.lesion_scores)} | {' | '.join(cells)} | {last} |")
    return "\n".join(lines) + "\n"


def plot_froc(curves: Mapping[str, Froc], fp_on_negatives: bool = False) -> Figure:
    """Plot FROC curves by label, without those that have no masses or no images on which false positives are counted.

    Args:
        curves: FROC curves by label.
        fp_on_negatives: See `Froc.from_detections`.
    """
    figure = Figure(figsize=(7.8, 4.4), layout="constrained")
    axis = figure.subplots()
    for label, froc in curves.items():
        if not len(froc.lesion_scores) or not froc.images:
            continue
        fp_rates, sensitivities = froc.curve()
        width, style = (2.2, "-") if label == "all" else (1.0, "--")
        # Steps instead of interpolation: sensitivity is constant up to the next false positive. A dot ends the curve.
        (line,) = axis.step(
            fp_rates,
            sensitivities,
            style,
            where="post",
            linewidth=width,
            label=f"{label} ({len(froc.lesion_scores)} masses)",
        )
        axis.plot(fp_rates[-1], sensitivities[-1], "o", color=line.get_color(), markersize=2 + 2 * width)
    counted_on = "image without a mass" if fp_on_negatives else "image"
    axis.set(
        xlabel=f"false positives per {counted_on}", ylabel="lesion sensitivity", xlim=(0, max(FP_RATES)), ylim=(0, 1)
    )
    axis.set_xticks([0, *FP_RATES])
    axis.set_xticklabels(["0", *(f"{rate:g}" for rate in FP_RATES)], fontsize=8)
    axis.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right upper")
    return figure
