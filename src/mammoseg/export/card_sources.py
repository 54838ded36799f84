"""Datasets and published weights from which a network was trained, including those of its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mammoseg.data.known_datasets import UNKNOWN_LICENSE, KnownDataset, common_license, find_datasets
from mammoseg.models.known_weights import find_weights
from mammoseg.pretrained.registry import find_by_digest

INITIALISED = {"init_from": "The network", "encoder_weights": "The encoder"}


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
        The sources. Initial weights are known if they are those of a pretrained model of the package or, for the
        encoder, published weights of `models.known_weights`.
    """
    datasets = list(find_datasets(config))
    credits = [dataset.credit for dataset in datasets]
    has_unknown_weights = False
    encoder = find_weights(config)
    if encoder is not None:
        credits.append(encoder.credit)
    for setting, part in INITIALISED.items():
        if config.get(setting) is None or (setting == "encoder_weights" and encoder is not None):
            continue
        initial = sources_of_weights(config[setting], part)
        datasets += [dataset for dataset in initial.datasets if dataset not in datasets]
        credits += initial.credits
        has_unknown_weights |= initial.has_unknown_weights
    return Sources((*datasets,), (*credits,), has_unknown_weights)


def sources_of_weights(digest: Any, part: str) -> Sources:
    """Return the sources of initial weights, and a sentence on their use before the credits.

    Args:
        digest: SHA-256 hash of the file.
        part: What was initialised, as the subject of a sentence.
    """
    model = find_by_digest(digest)
    if model is None:
        note = f"{part} was initialised with other weights, whose license and credit are not known to mammoseg."
        return Sources((), (note,), has_unknown_weights=True)
    initial = find_sources(model.config)
    introduction = f"{part} was initialised with the weights of the pretrained model {model.name} of mammoseg:"
    return replace(initial, credits=(introduction, *initial.credits))
