"""A model card: what a network is, what it was trained on, how well it does, what it is for and what not."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mammoseg.density import ACRDensity
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.run_summary import metric_headings, units_note
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import Role, select
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison

RESAMPLES, LEVEL, SEED = 5000, 0.95, 0  # as conf/compare.yaml has them
PARTS = {"train": "training", "val": "validation, by which the checkpoint was chosen", "test": "test"}


def markdown(carried: Mapping[str, Any], parameters: int, path: Path, onnx: bool) -> str:
    """`carried`: the checkpoint's config and run_info. `path`: of the checkpoint, around which its run may lie."""
    run_info, config = carried["run_info"], carried["config"]
    folder = RunFolder.of_checkpoint(path.resolve())
    parts = [
        f"# {run_info['run']}",
        f"A network ({run_info['model']}, {parameters:,} parameters) that outlines breast masses in whole mammograms, "
        f"trained with mammoseg on {run_info['dataset']} with the loss {run_info['loss']}.",
        "**Research only; not a medical device.** Nobody may be diagnosed or treated by what it says.",
        "## Data\n\n" + data(run_info, config, folder),
        "## How well it does\n\n" + metrics(run_info, path, folder),
        "## What it is for\n\n"
        "Research on the segmentation of masses in digital or digitised mammograms: as a baseline, for comparisons of "
        "losses and networks, for studies whose readers know the truth by other means.",
        "## What it is not for, and where it fails\n\n" + limits(run_info),
        "## How to use it\n\n" + use(config, onnx),
        "## Training\n\n" + settings(config),
    ]
    return "\n\n".join(parts) + "\n"


def data(run_info: Mapping[str, Any], config: Mapping[str, Any], folder: RunFolder) -> str:
    split = config["split"]["_target_"].rsplit(".", 1)[-1]
    fold = f", fold {run_info['fold']}" if run_info["fold"] != "" else ""
    told = f"{run_info['dataset']}, split by {split}{fold}."
    file = folder.split
    if not file.is_file():
        return (
            f"{told} How many images there were is not known: the run's split.csv does not lie beside the checkpoint."
        )
    patients: dict[str, list[str]] = defaultdict(list)
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            patients[row["part"]].append(row["patient"])
    table = ["| part | images | patients |", "|---|---|---|"]
    table += [f"| {text} | {len(patients[part])} | {len(set(patients[part]))} |" for part, text in PARTS.items()]
    return told + "\n\n" + "\n".join(table)


def metrics(run_info: Mapping[str, Any], path: Path, folder: RunFolder) -> str:
    """A table with intervals, or why there is none."""
    if not folder.results.is_file():
        return "Not known: the run's results.csv does not lie beside the checkpoint. `mammoseg.evaluate` makes one."
    run = read_run(folder)
    if run.rows[0]["run"] != run_info["run"] or path.stem != "best":
        return "Not known: the results.csv of the run is that of its best checkpoint, and this is another."
    comparison = Comparison(align_runs([run]), RESAMPLES, LEVEL, SEED)
    (method,) = comparison.methods
    density = comparison.density
    lines = [("all", None), *((f"ACR {category}", density == category) for category in ACRDensity)]
    headings = metric_headings()
    table = ["| test images | n | " + " | ".join(headings) + " |", "|---|---|" + "---|" * len(headings)]
    for what, chosen in lines:
        number = len(density) if chosen is None else int(chosen.sum())
        if number:
            estimates = comparison.estimates(method, chosen)
            cells = [
                f"{metric.show(one.value)} [{metric.show(one.low)}, {metric.show(one.high)}]"
                for metric, one in ((metric, estimates[key]) for key, metric in PIXEL_METRICS.items())
            ]
            table.append(f"| {what} | {number} | " + " | ".join(cells) + " |")
    healthy = sum(row["tp"] + row["fn"] == 0 for row in comparison.rows)
    return "\n".join(table) + (
        f"\n\n{units_note()}, pooled over the pixels of the test images at the network's resolution; "
        f"in brackets the {LEVEL:.0%} interval of {RESAMPLES} bootstrap resamples over patients, a dash where there is "
        f"one patient only. One training run: another seed gives other numbers. {healthy} of the test images "
        "have no mass" + ("." if healthy else ", so nothing is said run_info false alarms in healthy breasts.")
    )


def limits(run_info: Mapping[str, Any]) -> str:
    synthetic = ["It was trained on synthetic mammograms and has never seen a real one."] * (
        run_info["dataset"] == "phantom"
    )
    points = [
        *synthetic,
        "It was trained on images that have a mass: in healthy breasts it may well see one.",
        "It looks for masses; calcifications, distortions and asymmetries without a mass are not what it learned.",
        "Images of another scanner, population, age group or processing than in its training data may be beyond it.",
        "Its probabilities are not calibrated, and the disagreement of several networks is no error bar.",
        "It sees the whole breast at a coarse resolution; small masses and fine margins are lost.",
    ]
    return "\n".join(f"- {point}" for point in points)


def use(config: Mapping[str, Any], onnx: bool) -> str:
    size, how = config["dataset"]["size"], config["dataset"]
    command = "```\npython -m mammoseg.predict ckpt_path=<this folder> input=<mammograms> output=<folder>\n```"
    prepared = (
        f"Input: one grey image of {size}x{size} pixels, float32, brighter is denser; prepared with "
        f"crop={how['crop']}, aspect={how['aspect']}, normalise={how['normalise']}, flip={how['flip']}, which "
        f"mammoseg.predict does by itself. Output: one logit per pixel; its sigmoid is the probability of mass, cut at "
        f"{config['threshold']}."
    )
    shape = f"\n\nmodel.onnx: `image` (batch, 1, {size}, {size}) -> `logits` of the same shape." if onnx else ""
    return f"{command}\n\n{prepared}{shape}"


def settings(config: Mapping[str, Any]) -> str:
    """The settings that define the method and the replicate; the data are described above."""
    shown = select(config, Role.METHOD, Role.REPLICATE)
    lines = [
        f"| {key} | {value} |"
        for key, value in shown.items()
        if value is not None and not key.startswith(("dataset.", "split."))
    ]
    return "\n".join(["| setting | value |", "|---|---|", *lines])
