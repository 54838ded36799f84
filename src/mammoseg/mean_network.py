"""Mean probability over networks and flips of the image, as a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mammoseg.nested_config import nested_mappings


class MeanNetwork(nn.Module):
    """Network that returns the logits of the mean probability over the members of an ensemble.

    It replaces a single network where logits are expected, as in `Segmenter`. With one network and no flips, the logits
    are those of the network.

    Args:
        networks: Networks that map images (B, 1, H, W) to logits of the same shape.
        flip_dims: Dimensions along which the image is flipped for each member of a network, see `flips_of`.

    Attributes:
        active: Indices of the networks that are used; all by default.

    Example:
        >>> ensemble = MeanNetwork([torch.nn.Identity(), torch.nn.Identity()])
        >>> ensemble(torch.full((1, 1, 16, 16), 2.0))[0, 0, 0, 0].item()
        2.0
    """

    def __init__(self, networks: Sequence[nn.Module], flip_dims: Sequence[tuple[int, ...]] = ((),)) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.flip_dims = list(flip_dims)
        self.active: Sequence[int] = range(len(networks))

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits of images (B, 1, H, W)."""
        members = [(self.networks[index], dims) for index in self.active for dims in self.flip_dims]
        logits = [member_logits(network, dims, image) for network, dims in members]
        return logits[0] if len(logits) == 1 else logits_of_mean(torch.stack(logits).float())


def logits_of_mean(logits: Tensor) -> Tensor:
    """Compute the logits of the mean probability over the first dimension.

    Args:
        logits: (M, ...) finite logits.

    Returns:
        (...) logits, which are finite even where all probabilities round to 0 or 1.

    Example:
        >>> torch.sigmoid(logits_of_mean(torch.logit(torch.tensor([0.2, 0.6])))).item()
        0.4...
    """
    log_mass = torch.logsumexp(functional.logsigmoid(logits), dim=0)
    return log_mass - torch.logsumexp(functional.logsigmoid(-logits), dim=0)


def flips_of(flip: str, mirrored: bool = False) -> list[tuple[int, ...]]:
    """Return the dimensions along which test-time augmentation flips images (B, 1, H, W).

    Args:
        flip: The setting `dataset.flip`. If it mirrors all breasts to one side, there are no horizontal flips, unless
            the training images were mirrored at random.
        mirrored: Whether they were, see `mirrors_at_random`.

    Example:
        >>> flips_of("left")
        [(), (2,)]
    """
    vertical_flips: list[tuple[int, ...]] = [(), (2,)]
    horizontal_flips: list[tuple[int, ...]] = [(), (3,)] if flip == "none" or mirrored else [()]
    return [horizontal + vertical for vertical in vertical_flips for horizontal in horizontal_flips]


def mirrors_at_random(configs: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the augmentation in the config of each checkpoint flips images horizontally.

    These are `HorizontalFlip` of albumentations and `RandFlipd` of MONAI with `spatial_axis` 1, also within other
    transforms. Other transforms are not recognised.

    Args:
        configs: Configs; their section `augment` may be missing or have any structure.

    Example:
        >>> mirrors_at_random([{"augment": {"transforms": [{"_target_": "albumentations.HorizontalFlip"}]}}])
        True
    """
    return all(any(map(_flips_horizontally, nested_mappings(config.get("augment")))) for config in configs)


def _flips_horizontally(transform: Mapping[Any, Any]) -> bool:
    """Return whether the config of a transform is that of a horizontal flip with a probability above 0."""
    name = str(transform.get("_target_")).rpartition(".")[2]
    if name == "HorizontalFlip":
        return bool(transform.get("p", 0.5) != 0)
    return name == "RandFlipd" and transform.get("spatial_axis") in (1, -1, [1], [-1]) and transform.get("prob") != 0


def member_logits(network: nn.Module, flip_dims: tuple[int, ...], image: Tensor) -> Tensor:
    """Compute logits (B, 1, H, W) for images (B, 1, H, W) that are flipped; the result is flipped back."""
    logits: Tensor = network(image.flip(flip_dims)).flip(flip_dims) if flip_dims else network(image)
    return logits
