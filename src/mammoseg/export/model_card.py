"""Model card of an exported network: intended use, limitations, training data and evaluation."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from mammoseg.data.input_range import InputRange
from mammoseg.data.known_datasets import PHANTOM
from mammoseg.data.negatives import uses_negatives
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.split_result import HALVES, read_parts
from mammoseg.ensemble import preprocessing_settings
from mammoseg.export.card_evaluation import evaluation_section, read_evaluation
from mammoseg.export.card_metadata import StoredWeights, make_metadata
from mammoseg.export.card_sources import find_sources
from mammoseg.export.further_evaluations import FurtherEvaluation, further_evaluations_section
from mammoseg.export.half_precision import describe_rounding
from mammoseg.exported_model import format_card
from mammoseg.runs.checkpoint import INPUT_RANGE_KEY, SELECTED_ON_KEY
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import Role, flatten, select
from mammoseg.statistics.comparison import Comparison

INTENDED_USE = (
    "Research on the segmentation of masses in digital or digitised mammograms, for example as a baseline or in "
    "comparisons of losses and networks."
)
# Preprocessing in words, by setting and value.
STEPS = {
    "crop": {
        "breast": "cropped to the breast, with the pixels outside the breast blanked",
        "film": "blanked outside the breast without a crop",
        "none": "used without a crop",
    },
    "aspect": {"stretch": "stretched to a square", "pad": "padded to a square"},
    "normalise": {
        "minmax": "scaled to grey values from 0 to 1",
        "percentile": "scaled so that percentiles 0.5 and 99.5 of the grey values are 0 and 1",
        "zscore": "scaled to grey values of mean 0 and standard deviation 1",
    },
    "flip": {
        "none": "not mirrored",
        "left": "mirrored so that the chest wall is on the left side",
        "right": "mirrored so that the chest wall is on the right side",
    },
}
SINGLE_PRECISION = (None, 32, "32", "32-true")  # values of trainer.precision; that of mammoseg.predict
PART_LABELS = {"train": "training", "val": "validation (used for model selection)", "test": "test"}


def make_model_card(
    provenance: Mapping[str, Any],
    weights: StoredWeights,
    ckpt_path: Path,
    onnx: bool,
    license_name: str | None,
    further: Sequence[FurtherEvaluation] = (),
    data_description: str | None = None,
) -> str:
    """Create the model card.

    Args:
        provenance: Content of config.yaml, see `export.exported_provenance`.
        weights: The exported weights.
        ckpt_path: The checkpoint. Split and results are read from its run folder if available.
        onnx: Whether the export includes model.onnx.
        license_name: Identifier of the license; None for that of the datasets of the training.
        further: Further evaluations of the checkpoint.
        data_description: Text on the training data, such as how the images were prepared before.

    Returns:
        The model card as Markdown, with metadata at the top.
    """
    folder = RunFolder.of_checkpoint(ckpt_path.resolve())
    evaluation = read_evaluation(provenance, ckpt_path, folder)
    comparison = evaluation if isinstance(evaluation, Comparison) else None
    values = [other.metadata() for other in further]
    metadata = make_metadata(provenance, weights, comparison, count_training_images(folder), license_name, values)
    sections = {
        **network_sections(provenance, weights, onnx, folder, data_description),
        **evaluation_sections(provenance["config"], evaluation, weights, further),
        "Credit": credit_section(provenance["config"]),
    }
    blocks = [
        f"# {provenance['run_info']['run']}",
        introduction(provenance["run_info"], weights),
        "**For research only; not a medical device.** Not for diagnostic or clinical use.",
        *(f"## {title}\n\n{text}" for title, text in sections.items()),
    ]
    return format_card(metadata, "\n\n".join(blocks) + "\n")


def count_training_images(folder: RunFolder) -> int | None:
    """Return the number of training images of a run; None if its split.csv is not available."""
    parts = [row["part"] for row in read_parts(folder.split)] if folder.split.is_file() else []
    return parts.count("train") or None


def credit_section(config: Mapping[str, Any]) -> str:
    """Return the credit of the datasets of the training, and of its initial weights."""
    return "\n\n".join(find_sources(config).credits)


def network_sections(
    provenance: Mapping[str, Any],
    weights: StoredWeights,
    onnx: bool,
    folder: RunFolder,
    data_description: str | None,
) -> dict[str, str]:
    """Return the sections on the network and its training by title.

    Args:
        provenance: As for `make_model_card`.
        weights: The exported weights.
        onnx: Whether the export includes model.onnx.
        folder: Run folder of the checkpoint.
        data_description: As for `make_model_card`.
    """
    data = [training_data_section(provenance, folder), *([data_description.strip()] if data_description else [])]
    return {
        "Intended use": INTENDED_USE,
        "Limitations": limitations_section(provenance["config"]),
        "How to use": usage_section(provenance, weights, onnx),
        "Training data": "\n\n".join(data),
        "Training procedure": training_section(provenance["config"]),
    }


def evaluation_sections(
    config: Mapping[str, Any],
    evaluation: Comparison | str,
    weights: StoredWeights,
    further: Sequence[FurtherEvaluation],
) -> dict[str, str]:
    """Return the sections on test results by title.

    Args:
        config: Config of the run.
        evaluation: Test results of the run, or the reason why they are not available.
        weights: The exported weights.
        further: Further evaluations of the checkpoint.
    """
    paragraphs = [evaluation if isinstance(evaluation, str) else evaluation_section(evaluation)]
    if weights.half_precision:
        paragraphs.append(describe_rounding(weights.rounding))
    precision = (config.get("trainer") or {}).get("precision")
    if precision not in SINGLE_PRECISION and (further or not isinstance(evaluation, str)):
        paragraphs.append(
            f"Results were computed with trainer.precision={precision}. mammoseg.predict computes in single precision, "
            "so its predictions can differ slightly."
        )
    more = {"Further evaluations": further_evaluations_section(further)} if further else {}
    return {"Evaluation": "\n\n".join(paragraphs), **more}


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
    sources = find_sources(config)
    if sources.datasets == (PHANTOM,) and not sources.has_unknown_weights:
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
    settings = preprocessing_settings(config)
    size = settings.size
    command = "```\npython -m mammoseg.predict ckpt_path=<this folder> input=<mammograms> output=<folder>\n```"
    paragraphs = [
        command,
        f"Input: one greyscale image of {size}x{size} pixels, float32, with denser tissue brighter. "
        f"{describe_preprocessing(settings)} mammoseg.predict applies this preprocessing. Output: one logit "
        f"per pixel; its sigmoid is the probability of mass, with a threshold of {config['threshold']}.",
        input_range_note(provenance.get(INPUT_RANGE_KEY), size),
    ]
    if weights.half_precision:
        paragraphs.append("The parameters are stored in half precision, and converted to single precision on loading.")
    if onnx:
        paragraphs.append(f"model.onnx: `image` (batch, 1, {size}, {size}) -> `logits` of the same shape.")
    return "\n\n".join(paragraphs)


def describe_preprocessing(settings: PreprocessingSettings) -> str:
    """Describe the preprocessing in a sentence."""
    steps = [words[getattr(settings, name)] for name, words in STEPS.items()]
    return f"Images are {', '.join(steps[:-1])} and {steps[-1]}."


def input_range_note(input_range: Mapping[str, Any] | None, size: int) -> str:
    """Describe the training images.

    Args:
        input_range: An `InputRange` as plain values, or None if it is unknown.
        size: Side of the network's input in pixels.
    """
    if input_range is None:
        return "The range of the training images is unknown, so mammoseg.predict does not warn about unlike images."
    return InputRange.from_plain(input_range, INPUT_RANGE_KEY).describe(size)


def training_section(config: Mapping[str, Any]) -> str:
    """Return a Markdown table of the method and replicate settings, except those of dataset and split."""
    settings = select(config, Role.METHOD, Role.REPLICATE)
    lines = [
        f"| {key} | {value} |"
        for key, value in settings.items()
        if value is not None and not key.startswith(("dataset.", "split."))
    ]
    return "\n".join(["| setting | value |", "|---|---|", *lines])
