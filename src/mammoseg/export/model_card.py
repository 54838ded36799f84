"""Model card of an exported network: intended use, limitations, training data and evaluation."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammoseg.data.input_range import INTERVALS, PERCENTILES
from mammoseg.data.known_datasets import PHANTOM, find_datasets
from mammoseg.data.negatives import uses_negatives
from mammoseg.data.split_result import HALVES, read_parts
from mammoseg.export.card_metadata import Group, StoredWeights, groups_by_density, groups_by_mass_size, make_metadata
from mammoseg.exported_model import format_card
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.run_summary import metric_headings, negatives_markdown, units_note
from mammoseg.runs.checkpoint import INPUT_RANGE_KEY, SELECTED_ON_KEY
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import Role, flatten, select
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison

N_RESAMPLES, CONFIDENCE_LEVEL, SEED = 5000, 0.95, 0  # the defaults of conf/compare.yaml
INTENDED_USE = (
    "Research on the segmentation of masses in digital or digitised mammograms, for example as a baseline or in "
    "comparisons of losses and networks."
)
NEGATIVES_NOTE = (
    "Specificity: fraction of the images without a mass in which no pixel is predicted. AUC: area under the ROC curve; "
    "the score of an image is its highest probability, that of a patient the highest of its images. Intervals are from "
    "a bootstrap over patients."
)
PART_LABELS = {"train": "training", "val": "validation (used for model selection)", "test": "test"}


def make_model_card(
    provenance: Mapping[str, Any], weights: StoredWeights, ckpt_path: Path, onnx: bool, license_name: str | None
) -> str:
    """Create the model card.

    Args:
        provenance: Content of config.yaml, see `export.exported_provenance`.
        weights: The exported weights.
        ckpt_path: The checkpoint. Split and results are read from its run folder if available.
        onnx: Whether the export includes model.onnx.
        license_name: Identifier of the license; None for that of the datasets of the training.

    Returns:
        The model card as Markdown, with metadata at the top.
    """
    run_info, config = provenance["run_info"], provenance["config"]
    folder = RunFolder.of_checkpoint(ckpt_path.resolve())
    evaluation = read_evaluation(provenance, ckpt_path, folder)
    comparison = evaluation if isinstance(evaluation, Comparison) else None
    parts = [row["part"] for row in read_parts(folder.split)] if folder.split.is_file() else []
    metadata = make_metadata(provenance, weights, comparison, parts.count("train") or None, license_name)
    sections = {
        "Intended use": INTENDED_USE,
        "Limitations": limitations_section(config),
        "How to use": usage_section(provenance, weights, onnx),
        "Training data": training_data_section(provenance, folder),
        "Training procedure": training_section(config),
        "Evaluation": evaluation if isinstance(evaluation, str) else evaluation_section(evaluation),
        "Credit": "\n\n".join(dataset.credit for dataset in find_datasets(config)),
    }
    blocks = [
        f"# {run_info['run']}",
        introduction(run_info, weights),
        "**For research only; not a medical device.** Not for diagnostic or clinical use.",
        *(f"## {title}\n\n{text}" for title, text in sections.items()),
    ]
    return format_card(metadata, "\n\n".join(blocks) + "\n")


def introduction(run_info: Mapping[str, Any], weights: StoredWeights) -> str:
    """Return a sentence on architecture, dataset and loss; `run_info` is the identity of the run."""
    return (
        f"A network for the segmentation of breast masses in full mammograms (architecture {run_info['model']}, "
        f"{weights.parameters:,} parameters), trained with mammoseg on the dataset {run_info['dataset']} with the loss "
        f"{run_info['loss']}."
    )


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
    if half is not None:  # the other checkpoint has tested the images of this half
        if not folder.split.is_file():
            return "Not available: the run's split.csv was not available at export."
        tested = {row["case"] for row in read_parts(folder.split) if row["part"] != half}
        run = replace(run, rows=[row for row in run.rows if row["case"] in tested])
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
        return "All test images contain a mass, so false positives in mammograms without a mass were not measured."
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


def limitations_section(config: Mapping[str, Any]) -> str:
    """Return the limitations of the network as a Markdown list."""
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
    if PHANTOM in find_datasets(config):
        limitations.insert(0, "The network was trained on synthetic mammograms and has never seen a real one.")
    return "\n".join(f"- {limitation}" for limitation in limitations)


def usage_section(provenance: Mapping[str, Any], weights: StoredWeights, onnx: bool) -> str:
    """Describe how to run the network, and its input and output.

    Args:
        provenance: As for `make_model_card`.
        weights: The exported weights.
        onnx: Whether the export includes model.onnx.

    Returns:
        Markdown.
    """
    config = provenance["config"]
    dataset = config["dataset"]
    size = dataset["size"]
    command = "```\npython -m mammoseg.predict ckpt_path=<this folder> input=<mammograms> output=<folder>\n```"
    preprocessing = ", ".join(f"{key}={dataset[key]}" for key in ("crop", "aspect", "normalise", "flip"))
    mirrored = "are not mirrored" if dataset["flip"] == "none" else f"are mirrored to the {dataset['flip']} side"
    paragraphs = [
        command,
        f"Input: one greyscale image of {size}x{size} pixels, float32, with denser tissue brighter, preprocessed with "
        f"{preprocessing}; breasts {mirrored}. mammoseg.predict applies this preprocessing. Output: one logit "
        f"per pixel; its sigmoid is the probability of mass, with a threshold of {config['threshold']}.",
        input_range_note(provenance.get(INPUT_RANGE_KEY)),
    ]
    if weights.half_precision:
        paragraphs.append("The parameters are stored in half precision, and converted to single precision on loading.")
    if onnx:
        paragraphs.append(f"model.onnx: `image` (batch, 1, {size}, {size}) -> `logits` of the same shape.")
    return "\n\n".join(paragraphs)


def input_range_note(input_range: Mapping[str, Any] | None) -> str:
    """Describe the training images; `input_range` is an `InputRange` as plain values, or None if it is unknown."""
    if input_range is None:
        return "The range of the training images is unknown, so mammoseg.predict does not warn about unlike images."
    low, high = PERCENTILES
    stated = [f"{name} {value[0]:g} to {value[1]:g}" for name in INTERVALS if (value := input_range[name]) is not None]
    kinds = ", ".join(input_range["acquisitions"]) or "unknown"
    return (
        f"Training images, percentiles {low} to {high}: {', '.join(stated)}; acquisition: {kinds}. mammoseg.predict "
        "warns about images that are unlike them."
    )


def training_section(config: Mapping[str, Any]) -> str:
    """Return a Markdown table of the method and replicate settings, except those of dataset and split."""
    settings = select(config, Role.METHOD, Role.REPLICATE)
    lines = [
        f"| {key} | {value} |"
        for key, value in settings.items()
        if value is not None and not key.startswith(("dataset.", "split."))
    ]
    return "\n".join(["| setting | value |", "|---|---|", *lines])
