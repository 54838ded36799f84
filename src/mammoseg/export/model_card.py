"""Model card of an exported network: intended use, limitations, training data and evaluation."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammoseg.data.negatives import uses_negatives
from mammoseg.data.split_result import HALVES, read_parts
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.run_summary import metric_headings, negatives_markdown, units_note
from mammoseg.runs.checkpoint import SELECTED_ON_KEY
from mammoseg.runs.discovery import RunResults, read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import Role, flatten, select
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison

N_RESAMPLES, CONFIDENCE_LEVEL, SEED = 5000, 0.95, 0  # the defaults of conf/compare.yaml
NEGATIVES_NOTE = (
    "Specificity: fraction of the images without a mass in which no pixel is predicted. AUC: area under the ROC curve; "
    "the score of an image is its highest probability, that of a patient the highest of its images. Intervals are from "
    "a bootstrap over patients."
)
PART_LABELS = {"train": "training", "val": "validation (used for model selection)", "test": "test"}


def make_model_card(provenance: Mapping[str, Any], n_parameters: int, ckpt_path: Path, onnx: bool) -> str:
    """Create the model card.

    Args:
        provenance: Config and run information stored in the checkpoint, under the keys `config` and `run_info`, and
            under `selected_on` the half of the held-out fold that selected it, if both halves are tested.
        n_parameters: Number of parameters of the network.
        ckpt_path: The checkpoint. Split and results are read from its run folder if available.
        onnx: Whether the export includes model.onnx.

    Returns:
        The model card as Markdown.
    """
    run_info, config = provenance["run_info"], provenance["config"]
    folder = RunFolder.of_checkpoint(ckpt_path.resolve())
    sections = {
        "Intended use": (
            "Research on the segmentation of masses in digital or digitised mammograms, for example as a baseline or "
            "in comparisons of losses and networks."
        ),
        "Limitations": limitations_section(run_info, config),
        "How to use": usage_section(config, onnx),
        "Training data": training_data_section(provenance, folder),
        "Training procedure": training_section(config),
        "Evaluation": evaluation_section(provenance, ckpt_path, folder),
    }
    blocks = [
        f"# {run_info['run']}",
        f"A network for the segmentation of breast masses in full mammograms (architecture {run_info['model']}, "
        f"{n_parameters:,} parameters), trained with mammoseg on the dataset {run_info['dataset']} with the loss "
        f"{run_info['loss']}.",
        "**For research only; not a medical device.** Not for diagnostic or clinical use.",
        *(f"## {title}\n\n{text}" for title, text in sections.items()),
    ]
    return "\n\n".join(blocks) + "\n"


def training_data_section(provenance: Mapping[str, Any], folder: RunFolder) -> str:
    """Describe dataset and split, with the numbers of images and patients if split.csv is available.

    Args:
        provenance: As for `make_model_card`.
        folder: Run folder of the checkpoint.

    Returns:
        Markdown.
    """
    config, run_info = provenance["config"], provenance["run_info"]
    split = dict(flatten(config)).get("split._target_", "an unknown splitter").rpartition(".")[2]
    fold = f", fold {run_info['fold']}" if run_info["fold"] != "" else ""
    description = f"Dataset {run_info['dataset']}, split with {split}{fold}."
    if not folder.split.is_file():
        return f"{description} The number of images is unknown, as the run's split.csv was not available at export."
    patients: dict[str, list[str]] = {}
    for row in read_parts(folder.split):
        patients.setdefault(row["part"], []).append(row["patient"])
    lines = ["| part | images | patients |", "|---|---|---|"]
    lines += [
        f"| {label} | {len(patients.get(part, []))} | {len(set(patients.get(part, [])))} |"
        for part, label in part_labels(provenance.get(SELECTED_ON_KEY), patients).items()
    ]
    return description + "\n\n" + "\n".join(lines)


def part_labels(selected_on: str | None, parts: Container[str]) -> dict[str, str]:
    """Return the label of each part in the model card.

    Args:
        selected_on: Half of the held-out fold that selected the checkpoint, or None.
        parts: Names of the parts in split.csv.
    """
    if HALVES[0] not in parts:
        return PART_LABELS
    selected = {} if selected_on is None else {selected_on: PART_LABELS["val"]}
    tested = {half: PART_LABELS["test"] for half in HALVES if half != selected_on}
    return {"train": PART_LABELS["train"], **selected, **tested}


def evaluation_section(provenance: Mapping[str, Any], ckpt_path: Path, folder: RunFolder) -> str:
    """Tabulate the test metrics with bootstrap intervals, or state why they are not available.

    Args:
        provenance: As for `make_model_card`.
        ckpt_path: The checkpoint; metrics are reported only for a best checkpoint.
        folder: Run folder of the checkpoint.

    Returns:
        Markdown.
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
    if half is not None:  # the other checkpoint has tested the images of this half
        if not folder.split.is_file():
            return "Not available: the run's split.csv was not available at export."
        tested = {row["case"] for row in read_parts(folder.split) if row["part"] != half}
        run = replace(run, rows=[row for row in run.rows if row["case"] in tested])
    return results_text(run)


def results_text(run: RunResults) -> str:
    """Tabulate the test metrics with bootstrap intervals and, if there are any, the outcomes for images without a mass.

    Args:
        run: Test results of the checkpoint.

    Returns:
        Markdown.
    """
    comparison = Comparison(align_runs([run]), N_RESAMPLES, CONFIDENCE_LEVEL, SEED)
    n_negative = int((comparison.mass_size == 0).sum())
    negatives = (
        f"{n_negative} of the {len(comparison.rows)} test images contain no mass."
        if n_negative
        else "All test images contain a mass, so false positives in mammograms without a mass were not measured."
    )
    text = (
        f"{metrics_table(comparison)}\n\n{units_note()}, pooled over the pixels of the test images at the network's "
        f"input resolution; in brackets, {CONFIDENCE_LEVEL:.0%} bootstrap intervals over patients ({N_RESAMPLES} "
        "resamples; undefined for a single patient). Results are from a single training run and vary with the seed. "
        f"{negatives}"
    )
    outcomes = negatives_markdown(run.rows)
    return f"{text}\n\n{outcomes}\n\n{NEGATIVES_NOTE}" if outcomes else text


def metrics_table(comparison: Comparison) -> str:
    """Return the metrics of a single method as a Markdown table: all test images, and each ACR category."""
    (method,) = comparison.methods
    headings = metric_headings()
    lines = ["| test images | n | " + " | ".join(headings) + " |", "|---|---|" + "---|" * len(headings)]
    groups = [("all", len(comparison.rows), comparison.overall[method])]
    for category, by_method in comparison.by_density.items():
        groups.append((f"ACR {category}", int((comparison.density == category).sum()), by_method[method]))
    for label, n_images, estimates in groups:
        cells = [
            f"{metric.format(estimate.value)} [{metric.format(estimate.low)}, {metric.format(estimate.high)}]"
            for metric, estimate in ((metric, estimates[key]) for key, metric in PIXEL_METRICS.items())
        ]
        lines.append(f"| {label} | {n_images} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def limitations_section(run_info: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the limitations of the network as a Markdown list.

    Args:
        run_info: Identity of the run.
        config: Config of the checkpoint.
    """
    trained_on = (
        "The network was trained on images with and without a mass, in other proportions than in screening."
        if uses_negatives(config["dataset"].get("negatives", "none"))
        else "The network was trained on images that contain a mass; expect false positives on normal mammograms."
    )
    limitations = [
        trained_on,
        "It segments masses only, not calcifications, architectural distortions or asymmetries without a mass.",
        "Performance may drop for other scanners, populations, age groups or image processing than in the training "
        "data.",
        "The predicted probabilities are not calibrated, and the disagreement of an ensemble is not a confidence "
        "interval.",
        "The input is the entire breast at low resolution, so small masses and fine details of margins are lost.",
    ]
    if run_info["dataset"] == "phantom":
        limitations.insert(0, "The network was trained on synthetic mammograms and has never seen a real one.")
    return "\n".join(f"- {limitation}" for limitation in limitations)


def usage_section(config: Mapping[str, Any], onnx: bool) -> str:
    """Describe how to run the network, and its input and output.

    Args:
        config: Config of the checkpoint.
        onnx: Whether the export includes model.onnx.

    Returns:
        Markdown.
    """
    dataset = config["dataset"]
    size = dataset["size"]
    command = "```\npython -m mammoseg.predict ckpt_path=<this folder> input=<mammograms> output=<folder>\n```"
    preprocessing = ", ".join(f"{key}={dataset[key]}" for key in ("crop", "aspect", "normalise", "flip"))
    interface = (
        f"Input: one greyscale image of {size}x{size} pixels, float32, with denser tissue brighter, preprocessed with "
        f"{preprocessing}; mammoseg.predict applies this preprocessing. Output: one logit per pixel; its sigmoid is "
        f"the probability of mass, with a threshold of {config['threshold']}."
    )
    signature = f"\n\nmodel.onnx: `image` (batch, 1, {size}, {size}) -> `logits` of the same shape." if onnx else ""
    return f"{command}\n\n{interface}{signature}"


def training_section(config: Mapping[str, Any]) -> str:
    """Return a Markdown table of the method and replicate settings, except those of dataset and split."""
    settings = select(config, Role.METHOD, Role.REPLICATE)
    lines = [
        f"| {key} | {value} |"
        for key, value in settings.items()
        if value is not None and not key.startswith(("dataset.", "split."))
    ]
    return "\n".join(["| setting | value |", "|---|---|", *lines])
