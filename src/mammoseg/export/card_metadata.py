"""Metadata of a model card, in the format of the Hugging Face Hub.

Source:
    https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import mammoseg
from mammoseg.data.known_datasets import find_datasets
from mammoseg.ensemble import preprocessing_settings
from mammoseg.export.card_sources import find_sources
from mammoseg.export.half_precision import RoundingEffect
from mammoseg.exported_model import METADATA_KEY
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.statistics.comparison import Comparison, Estimate

TAGS = ["mammography", "breast-cancer", "medical-imaging", "image-segmentation", "safetensors"]
ALL_IMAGES = "all"  # label of the group of all test images
Group = tuple[str, int, Mapping[str, Estimate]]  # label, number of images, estimates by metric


@dataclass(frozen=True)
class StoredWeights:
    """Weights in a file.

    Attributes:
        parameters: Number of parameters of the network.
        file_size: Size of the file in bytes.
        sha256: SHA-256 hash of the file in hexadecimal digits.
        half_precision: Whether the parameters are stored in half precision.
        rounding: Effect of the half precision on the predictions; None if it was not measured.
    """

    parameters: int
    file_size: int
    sha256: str
    half_precision: bool
    rounding: RoundingEffect | None = None


def groups_by_density(comparison: Comparison) -> list[Group]:
    """Return the estimates of a single method over all test images and over each ACR category."""
    (method,) = comparison.methods
    by_density = [
        (f"ACR {category}", int((comparison.density == category).sum()), by_method[method])
        for category, by_method in comparison.by_density.items()
    ]
    return [(ALL_IMAGES, len(comparison.rows), comparison.overall[method]), *by_density]


def groups_by_mass_size(comparison: Comparison) -> list[Group]:
    """Return the estimates of a single method over groups of images with similar numbers of mass pixels."""
    (method,) = comparison.methods
    return [
        (label, int(subset.sum()), comparison.estimates_of(subset)[method]) for label, subset in comparison.size_groups
    ]


def make_metadata(
    provenance: Mapping[str, Any],
    weights: StoredWeights,
    comparison: Comparison | None,
    n_training_images: int | None,
    license_name: str | None,
    further: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Create the metadata of a model card.

    Args:
        provenance: Config and run information stored in the checkpoint.
        weights: The exported weights.
        comparison: Test results of the run; None if they are not available.
        n_training_images: Number of training images; None if it is unknown.
        license_name: Identifier of the license; None for that of the datasets of the training.
        further: Values of further evaluations.

    Returns:
        Plain values. Undefined metrics are omitted, since the Hub does not accept them.
    """
    config, run_info = provenance["config"], provenance["run_info"]
    sources = find_sources(config)
    return {
        "license": license_name or sources.license,
        "library_name": "mammoseg",
        "pipeline_tag": "image-segmentation",
        "tags": TAGS,
        "datasets": [dataset.title for dataset in sources.datasets],
        "metrics": list(PIXEL_METRICS),
        **({} if comparison is None else model_index(run_info, groups_by_density(comparison)[0])),
        METADATA_KEY: {
            **values_of_network(provenance, weights, n_training_images),
            **({} if comparison is None else values_of_test(comparison)),
            **({"evaluations": list(further)} if further else {}),
        },
    }


def model_index(run_info: Mapping[str, Any], group: Group) -> dict[str, Any]:
    """Return the test results of a group of images in the format of the Hub; `run_info` is the identity of the run."""
    metrics = [
        {"type": key, "name": PIXEL_METRICS[key].title, "value": displayed(key, estimate.value)}
        for key, estimate in group[2].items()
        if math.isfinite(estimate.value)
    ]
    dataset = {"type": run_info["dataset"], "name": run_info["dataset"], "split": "test"}
    task = {"type": "image-segmentation", "name": "Segmentation of breast masses"}
    results = [{"task": task, "dataset": dataset, "metrics": metrics}]
    return {"model-index": [{"name": run_info["run"], "results": results}]}


def values_of_network(
    provenance: Mapping[str, Any], weights: StoredWeights, n_training_images: int | None
) -> dict[str, Any]:
    """Return the values that mammoseg reads, except test results; arguments as for `make_metadata`."""
    config, run_info = provenance["config"], provenance["run_info"]
    preprocessing = preprocessing_settings(config)
    width = config["model"].get("width")
    titles = " and ".join(dataset.title for dataset in find_datasets(config))
    return {
        "version": mammoseg.__version__,
        "description": f"{run_info['model']}{f' of width {width}' if width else ''}, loss {run_info['loss']}, "
        f"{preprocessing.size}x{preprocessing.size} pixels",
        "training_data": titles if n_training_images is None else f"{titles} ({n_training_images} images)",
        **{name: value for name, value in asdict(weights).items() if value is not None},
        "preprocessing": asdict(preprocessing),
        "breasts_on_one_side": preprocessing.flip != "none",
        "threshold": config["threshold"],
    }


def values_of_test(comparison: Comparison) -> dict[str, Any]:
    """Return the estimates and intervals of all metrics, in the units of the tables; undefined ones are omitted."""
    groups = groups_by_density(comparison)
    estimates = [
        {"images": label, "n": n_images, **_interval(key, estimate)}
        for label, n_images, by_metric in groups
        for key, estimate in by_metric.items()
        if math.isfinite(estimate.value)
    ]
    return {
        "result": headline(groups[0]),
        "confidence_level": comparison.confidence_level,
        "estimates": estimates,
    }


def headline(group: Group) -> str:
    """Return the first metric of a group of images and its interval, such as "DSC 70.10 [68.20, 72.00] on 9 images"."""
    _, n_images, estimates = group
    key, metric = next(iter(PIXEL_METRICS.items()))
    estimate = estimates[key]
    values = [metric.format(value) for value in (estimate.value, estimate.low, estimate.high)]
    return f"{metric.title} {values[0]} [{values[1]}, {values[2]}] on {n_images} test images"


def _interval(key: str, estimate: Estimate) -> dict[str, Any]:
    limits = [displayed(key, value) if math.isfinite(value) else None for value in (estimate.low, estimate.high)]
    return {"metric": key, "value": displayed(key, estimate.value), "low": limits[0], "high": limits[1]}


def displayed(key: str, value: float) -> float:
    """Return the value of a metric in the unit of the tables, with two decimals."""
    return round(PIXEL_METRICS[key].scale() * value, 2)
