"""Datasets and published weights from which a network was trained, including those of its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mammoseg.data.known_datasets import UNKNOWN_LICENSE, KnownDataset, common_license, find_datasets
from mammoseg.exported_model import CONFIG_FILE
from mammoseg.models.known_weights import find_weights
from mammoseg.pretrained.registry import list_models
from mammoseg.safe_yaml import load_yaml_file


@dataclass(frozen=True)
class Sources:
    """Sources of a network.

    Attributes:
        datasets: Datasets of the training, and of the initial weights as far as they are known.
        credits: Credits, as Markdown.
        has_unknown_weights: Whether the training started from weights of an unknown network.
    """

    datasets: tuple[KnownDataset, ...]
    credits: tuple[str, ...]
    has_unknown_weights: bool = False

    @property
    def license(self) -> str:
        """License of all sources, or `UNKNOWN_LICENSE` if they differ or one is unknown."""
        return UNKNOWN_LICENSE if self.has_unknown_weights else common_license([*self.datasets])


def find_sources(config: Mapping[str, Any]) -> Sources:
    """Return the sources of a network.

    Args:
        config: Config of the run, in which `init_from` and `encoder_weights` are SHA-256 hashes of files.

    Returns:
        The sources. Initial weights are known if they are those of a pretrained model of the package.
    """
    datasets = find_datasets(config)
    credits = [dataset.credit for dataset in datasets]
    if (encoder := find_weights(config)) is not None:
        credits.append(encoder.credit)
    digest = config.get("init_from")
    if digest is None:
        return Sources((*datasets,), (*credits,))
    for model in list_models():
        if model.metadata.get("sha256") == digest:
            initial = find_sources(load_yaml_file(model.folder / CONFIG_FILE)["config"])
            introduction = f"The training started from the weights of the pretrained model {model.name} of mammoseg:"
            added = tuple(dataset for dataset in initial.datasets if dataset not in datasets)
            return Sources((*datasets, *added), (*credits, introduction, *initial.credits), initial.has_unknown_weights)
    note = (
        "The training started from the weights of another network, whose license and credit are not known to mammoseg."
    )
    return Sources((*datasets,), (*credits, note), has_unknown_weights=True)
