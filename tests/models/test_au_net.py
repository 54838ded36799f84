"""AU-Net has the published size, stage by stage."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mammoseg.errors import UserError
from mammoseg.models.au_net import AUNet, ResUnit


def parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert parameters(AUNet(64)) == 75_493_945


def test_the_published_number_of_parameters_of_each_stage() -> None:
    with torch.device("meta"):
        net = AUNet()
    assert [parameters(stage) for stage in net.encoder] == [74_880, 369_792, 1_476_864, 5_902_848, 23_602_176]
    assert [parameters(stage) for stage in net.decoder] == [33_174_592, 8_296_992, 2_075_920, 519_816]
    assert parameters(net.head) == 65


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_narrow_networks_work(width: int) -> None:
    assert AUNet(width)(torch.zeros(1, 1, 32, 48)).shape == (1, 1, 32, 48)


def test_a_width_of_0_is_told() -> None:
    with pytest.raises(UserError, match=r"model\.width must be .*, got 0"):
        AUNet(0)


def test_the_shortcut_starts_after_the_first_convolution() -> None:
    unit = ResUnit(3, 4).eval()
    last = unit.residual[-1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    image = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(unit(image), unit.enter(image))


def two_steps(net: AUNet, compiled: bool = False, sizes: tuple[int, ...] = (2, 2)) -> dict[str, torch.Tensor]:
    """The state after steps on batches of these sizes, the network's use in between included."""
    torch.manual_seed(1)
    if compiled:
        net.compile(backend="aot_eager")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for size in sizes:
        net.train()
        optimizer.zero_grad()
        net(torch.rand(size, 1, 64, 64, dtype=net.head.weight.dtype)).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            net.eval()(torch.rand(size, 1, 64, 64, dtype=net.head.weight.dtype))
    return net.state_dict()


def pair(width: int = 2) -> tuple[AUNet, AUNet]:
    plain, checkpointed = AUNet(width), AUNet(width, gradient_checkpointing=True)
    checkpointed.load_state_dict(plain.state_dict())
    return plain, checkpointed


def test_checkpointing_changes_no_bit_of_weights_and_running_statistics() -> None:
    plain, checkpointed = map(two_steps, pair())
    assert plain.keys() == checkpointed.keys()
    for name, value in plain.items():
        assert torch.equal(value, checkpointed[name]), name
    counted = [value for name, value in checkpointed.items() if name.endswith("num_batches_tracked")]
    assert counted
    assert all(value == 2 for value in counted)


def test_checkpointing_keeps_less() -> None:
    def kept(net: AUNet) -> int:
        sizes = []

        def pack(value: torch.Tensor) -> torch.Tensor:
            sizes.append(value.nbytes)
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            net(torch.rand(1, 1, 64, 64))
        return sum(sizes)

    plain, checkpointed = map(kept, pair(4))
    assert checkpointed < plain / 4


def test_checkpointing_does_not_reach_a_network_in_use() -> None:
    plain, checkpointed = pair()
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(plain.eval()(image), checkpointed.eval()(image))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_compiled_network_learns_the_same_under_the_same_names(checkpointing: bool) -> None:
    torch.compiler.reset()
    plain, other = pair(1)
    other.gradient_checkpointing = checkpointing
    wanted, found = two_steps(plain.double()), two_steps(other.double(), compiled=True)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)
