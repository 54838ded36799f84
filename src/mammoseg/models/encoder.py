"""Encoder of a network, which fine-tuning can freeze, train with lower learning rates, or load from a file.

A network declares its encoder with the attribute `encoder_stages`: for each stage, from the input to the lowest
resolution, the names of its modules as in `named_modules`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mammoseg.errors import UserError

ATTRIBUTE = "encoder_stages"
Stages = Sequence[Sequence[str]]


def declare_encoder(net: nn.Module, stages: Stages) -> nn.Module:
    """Declare the encoder of a network from another library.

    Args:
        net: The network.
        stages: Names of the modules of each stage, from the input to the lowest resolution.

    Returns:
        The same network.
    """
    net.encoder_stages = stages  # type: ignore[assignment]
    return net


def stage_names(net: nn.Module, setting: str) -> list[list[str]]:
    """Return the names of the modules of each stage of the encoder.

    Args:
        net: The network.
        setting: Setting that needs the encoder, for the error message.

    Raises:
        UserError: If the network declares no encoder, or declares a module that it does not have.
    """
    stages = getattr(net, ATTRIBUTE, None)
    if not stages:
        raise UserError(
            f"{setting} requires a network with the attribute {ATTRIBUTE}, which lists the modules of its encoder, "
            f"got {type(net).__name__}; add the attribute, or use a network of conf/model"
        )
    known = dict(net.named_modules())
    if unknown := [name for stage in stages for name in stage if name not in known]:
        raise UserError(
            f"{type(net).__name__}.{ATTRIBUTE} must contain names of modules of the network, got {unknown[0]}"
        )
    return [list(stage) for stage in stages]


def encoder_stages(net: nn.Module, setting: str) -> list[nn.ModuleList]:
    """Return the modules of each stage of the encoder, from the input to the lowest resolution.

    Args:
        net: The network.
        setting: Setting that needs the encoder, for the error message.

    Raises:
        UserError: If the network declares no encoder, or declares a module that it does not have.

    Example:
        >>> from mammoseg import AUNet
        >>> len(encoder_stages(AUNet(width=1), "layer_decay"))
        5
    """
    return [nn.ModuleList(map(net.get_submodule, names)) for names in stage_names(net, setting)]
