"""Contract of the encoder that every network in conf/model declares."""

from __future__ import annotations

import pytest
import torch
from choices import build, options
from torch import Tensor, nn

from mammoseg.models.encoder import encoder_stages


def outputs_of(stages: list[nn.ModuleList], net: nn.Module, image: Tensor) -> list[list[Tensor]]:
    """Outputs of all layers of each stage."""
    outputs: list[list[Tensor]] = [[] for _ in stages]
    handles = [
        module.register_forward_hook(lambda _module, _args, output, layers=layers: layers.append(output.clone()))
        for stage, layers in zip(stages, outputs, strict=True)
        for module in stage.modules()
        if not list(module.children())
    ]
    with torch.inference_mode():
        net(image)
    for handle in handles:
        handle.remove()
    return outputs


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(before, after) for before, after in zip(first, second, strict=True))


@pytest.mark.parametrize("name", options("model"))
def test_stages_are_in_the_order_of_computation_and_do_not_depend_on_the_decoder(name: str) -> None:
    torch.manual_seed(0)
    net = build("model", name, "width=2").eval()
    image = torch.randn(1, 1, 64, 64)
    stages = encoder_stages(net, "test")
    parameters = [list(stage.parameters()) for stage in stages]
    encoder = {parameter for stage in parameters for parameter in stage}
    decoder = [parameter for parameter in net.parameters() if parameter not in encoder]
    assert all(parameters)
    assert decoder
    assert len(encoder) == sum(map(len, parameters))
    before = outputs_of(stages, net, image)
    assert all(before)
    for changed, group in [(len(stages), decoder), *enumerate(parameters)]:
        saved = [parameter.detach().clone() for parameter in group]
        for parameter in group:
            parameter.data += torch.rand_like(parameter)
        after = outputs_of(stages, net, image)
        is_equal = [equal(*pair) for pair in zip(before, after, strict=True)]
        assert is_equal == [stage < changed for stage in range(len(stages))]
        for parameter, value in zip(group, saved, strict=True):
            parameter.data.copy_(value)


@pytest.mark.parametrize("name", options("model"))
def test_without_the_decoder_every_layer_before_the_first_skip_connection_is_part_of_the_encoder(name: str) -> None:
    """The first convolution of the network belongs to the first stage."""
    net = build("model", name, "width=2")
    order: list[nn.Module] = []
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    handles = [module.register_forward_pre_hook(lambda module, _args: order.append(module)) for module in layers]
    net(torch.zeros(2, 1, 64, 64))
    for handle in handles:
        handle.remove()
    assert order[0] in set(encoder_stages(net, "test")[0].modules())
