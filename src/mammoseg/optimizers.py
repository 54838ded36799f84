"""Construction of the optimizer: parameter groups with their learning rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mammoseg.errors import UserError
from mammoseg.models.encoder import encoder_stages

LAYER_DECAY = "layer_decay"
LR_SCALE = "lr_scale"  # key of parameter groups, as in timm: factor of the learning rate


def check_layer_decay(net: nn.Module, layer_decay: float) -> float:
    """Check the setting `layer_decay`; a factor other than 1 requires a network that declares its encoder.

    Raises:
        UserError: If it is not in (0, 1], or the network declares no encoder.
    """
    if not 0 < layer_decay <= 1:
        raise UserError(f"{LAYER_DECAY} must be above 0 and at most 1, got {layer_decay}")
    if layer_decay != 1:
        encoder_stages(net, LAYER_DECAY)
    return layer_decay


def build_optimizer(
    build: Callable[[Iterable[Any]], Optimizer], net: nn.Module, criterion: nn.Module, layer_decay: float = 1.0
) -> Optimizer:
    """Build the optimizer of a network and of the trainable parameters of its criterion, such as `LearnedByRatio`.

    Args:
        build: Function that builds the optimizer from parameters or parameter groups.
        net: The network.
        criterion: The loss.
        layer_decay: Layer-wise learning-rate decay. The learning rate of stage k of n of the encoder, counted from 0 at
            the input, is multiplied by layer_decay^(n - k); that of the decoder is not changed. With 1, the network is
            a single parameter group.

    Returns:
        The optimizer. With a factor below 1, its parameter groups have a name and an "lr_scale".

    Raises:
        UserError: If the optimizer rejects its arguments.

    Source of layer-wise decay: Clark et al., "ELECTRA", ICLR 2020; Bao et al., "BEiT", ICLR 2022.
    """
    try:
        optimizer = build(net.parameters() if layer_decay == 1 else parameter_groups(net, layer_decay))
    except (ValueError, TypeError) as error:
        raise UserError(f"optimizer: {error}; correct the optimizer.* settings, such as lr") from error
    if isinstance(optimizer, torch.optim.LBFGS):
        raise UserError(
            "optimizer must evaluate the loss once per step, got LBFGS, which evaluates it several times; use "
            "another optimizer, such as torch.optim.Adam"
        )
    for group in optimizer.param_groups:
        if LR_SCALE in group:
            group["lr"] *= group[LR_SCALE]
    if parameters := list(criterion.parameters()):
        named = {} if layer_decay == 1 else {"name": "loss"}
        optimizer.add_param_group({"params": parameters, "weight_decay": 0.0, **named})
    # Lightning does not clip the gradients of a fused optimizer, which can unscale AMP gradients itself. Clearing this
    # flag makes Lightning unscale, clip and step as for any other optimizer.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer


def parameter_groups(net: nn.Module, layer_decay: float) -> list[dict[str, Any]]:
    """Return the parameter groups of a network for layer-wise learning-rate decay, see `build_optimizer`.

    Raises:
        UserError: If the network declares no encoder.

    Example:
        >>> from mammoseg import AUNet
        >>> [(group["name"], group["lr_scale"]) for group in parameter_groups(AUNet(width=1), 0.5)][3:]
        [('encoder_stage4', 0.25), ('encoder_stage5', 0.5), ('decoder', 1.0)]
    """
    stages = encoder_stages(net, LAYER_DECAY)
    groups: list[dict[str, Any]] = [
        {
            "name": f"encoder_stage{stage}",
            "params": list(modules.parameters()),
            LR_SCALE: layer_decay ** (len(stages) - stage + 1),
        }
        for stage, modules in enumerate(stages, start=1)
    ]
    encoder = {parameter for group in groups for parameter in group["params"]}
    decoder = [parameter for parameter in net.parameters() if parameter not in encoder]
    return [*groups, {"name": "decoder", "params": decoder, LR_SCALE: 1.0}]
