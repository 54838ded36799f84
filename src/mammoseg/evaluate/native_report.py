"""native.csv and candidates.csv -> tables for summary.md, and the FROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mammoseg.density import ACRDensity
from mammoseg.evaluate import native_resolution
from mammoseg.metrics.detection import FP_RATES, Froc, MatchingRule
from mammoseg.reports import run_summary
from mammoseg.reports.plotting import save_figure
from mammoseg.reports.table import percent
from mammoseg.runs.results import ResultRow

FIGURE = "froc.png"
DISTANCE_HEADINGS = {"hd95": "HD95 ↓", "asd": "average surface distance ↓"}


def write_report(folder: Path, rule: MatchingRule) -> str:
    """Draw froc.png in `folder`, and return the sections of summary.md."""
    rows, candidates = native_resolution.read(folder)
    by_group = density_groups(rows)
    curves = {
        what: Froc.from_detections([(candidates[row["case"]], row["masses"]) for row in some])
        for what, some in by_group.items()
    }
    save_figure(draw(curves), folder / FIGURE)
    return "\n".join(
        [
            "\n## At native resolution\n",
            "Predictions put back onto the original pixels, and compared there with the original outlines. "
            "Pooled numbers weigh an image by its pixels.\n",
            run_summary.markdown(rows),
            *(distances(rows, unit) for unit in sorted({row["unit"] for row in rows})),
            detections(curves, rule),
        ]
    )


def density_groups(rows: Sequence[ResultRow]) -> dict[str, list[ResultRow]]:
    by_density = {f"ACR {number}": [row for row in rows if row["density"] == number] for number in ACRDensity}
    return {"all": list(rows), **by_density}


def distances(rows: Sequence[ResultRow], unit: str) -> str:
    """Of the images whose spacing is in `unit`. An image without a prediction has no distance, and is counted."""
    measured = [row for row in rows if row["unit"] == unit]
    known = {name: np.array([row[name] for row in measured if not np.isnan(row[name])]) for name in DISTANCE_HEADINGS}
    n_missing = len(measured) - len(known["hd95"])  # both distances exist, or neither
    why = "" if unit == "mm" else "; these files do not say how far apart their pixels are"
    lines = [
        f"Distances between outlines, in {unit}{why}:\n",
        "| distance | median | mean | images with one | without, since nothing was predicted |",
        "|---|---|---|---|---|",
    ]
    for name, heading in DISTANCE_HEADINGS.items():
        values = known[name]
        middle, mean = (f"{np.median(values):.2f}", f"{values.mean():.2f}") if len(values) else ("–", "–")
        lines.append(f"| {heading} | {middle} | {mean} | {len(values)} | {n_missing} |")
    return "\n".join(lines) + "\n"


def detections(curves: dict[str, Froc], rule: MatchingRule) -> str:
    above = "the run's threshold" if rule.prob_threshold is None else f"{rule.prob_threshold:g}"
    lines = [
        "Detection: the sensitivity, in % of the masses, that is x_maxed with at most so many false positives per "
        f"image (FROC). A candidate is a connected region of pixels with a probability above {above}, scored by the "
        f"highest in it; it is a hit if {rule.description}. Where fewer false positives exist than are allowed, the "
        "value is that of all candidates. They are those in images like these, with a mass in most or all.\n",
        f"| test images | n | masses | {' | '.join(f'{rate:g} FP' for rate in FP_RATES)} | all candidates |",
        f"|---|---|---|{'---|' * len(FP_RATES)}---|",
    ]
    for what, froc in curves.items():
        cells = [percent(froc.sensitivity(rate)) for rate in (*FP_RATES, np.inf)]
        everything = f"{cells[-1]} at {len(froc.fp_scores) / froc.images:.2f} FP" if froc.images else "–"
        lines.append(
            f"| {what} | {froc.images} | {len(froc.lesion_scores)} | {' | '.join(cells[:-1])} | {everything} |"
        )
    return "\n".join(lines) + "\n"


def draw(curves: dict[str, Froc]) -> Figure:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axis = figure.subplots()
    x_max = max(FP_RATES)
    for what, froc in curves.items():
        if not len(froc.lesion_scores):
            continue
        false, found = froc.curve()
        width, style = (2.2, "-") if what == "all" else (1.0, "--")
        # No interpolation: until the next false positive is afforded, nothing more is found. A dot ends the curve.
        (line,) = axis.step(
            false, found, style, where="post", linewidth=width, label=f"{what} ({len(froc.lesion_scores)} masses)"
        )
        axis.plot(false[-1], found[-1], "o", color=line.get_color(), markersize=2 + 2 * width)
    axis.set(xlabel="false positives per image", ylabel="sensitivity: share of the masses that is hit")
    axis.set(xlim=(0, x_max), ylim=(0, 1))
    axis.set_xticks([0, *FP_RATES])
    axis.set_xticklabels(["0", *(f"{rate:g}" for rate in FP_RATES)], fontsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    return figure
