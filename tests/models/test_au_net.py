"""AU-Net: published number of parameters, gradient checkpointing and compilation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mammoseg.errors import UserError
from mammoseg.models.au_net import AUNet, ResUnit


def n_parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_number_of_parameters_equals_the_published_one() -> None:
    with torch.device("meta"):
        assert n_parameters(AUNet(64)) == 75_493_945


def test_number_of_parameters_of_each_stage_equals_the_published_one() -> None:
    with torch.device("meta"):
        net = AUNet()
    assert [n_parameters(stage) for stage in net.encoder] == [74_880, 369_792, 1_476_864, 5_902_848, 23_602_176]
    assert [n_parameters(stage) for stage in net.decoder] == [33_174_592, 8_296_992, 2_075_920, 519_816]
    assert n_parameters(net.head) == 65


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_narrow_networks_keep_the_size_of_the_image(width: int) -> None:
    assert AUNet(width)(torch.zeros(1, 1, 32, 48)).shape == (1, 1, 32, 48)


def test_width_0_raises() -> None:
    with pytest.raises(UserError, match=r"model\.width must be .*, got 0"):
        AUNet(0)


def test_shortcut_starts_after_the_first_convolution() -> None:
    unit = ResUnit(3, 4).eval()
    last = unit.residual[-1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    image = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(unit(image), unit.enter(image))


def train_steps(net: AUNet, compiled: bool = False, sizes: tuple[int, ...] = (2, 2)) -> dict[str, torch.Tensor]:
    """Return the state after training steps on batches of these sizes, each followed by an inference step."""
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


def plain_and_checkpointed(width: int = 2) -> tuple[AUNet, AUNet]:
    plain, checkpointed = AUNet(width), AUNet(width, gradient_checkpointing=True)
    checkpointed.load_state_dict(plain.state_dict())
    return plain, checkpointed


def test_checkpointing_gives_identical_weights_and_running_statistics() -> None:
    plain, checkpointed = map(train_steps, plain_and_checkpointed())
    assert plain.keys() == checkpointed.keys()
    for name, value in plain.items():
        assert torch.equal(value, checkpointed[name]), name
    n_batches = [value for name, value in checkpointed.items() if name.endswith("num_batches_tracked")]
    assert n_batches
    assert all(value == 2 for value in n_batches)


def test_checkpointing_saves_fewer_activations() -> None:
    def saved_bytes(net: AUNet) -> int:
        sizes = []

        def pack(value: torch.Tensor) -> torch.Tensor:
            sizes.append(value.nbytes)
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            net(torch.rand(1, 1, 64, 64))
        return sum(sizes)

    plain, checkpointed = map(saved_bytes, plain_and_checkpointed(4))
    assert checkpointed < plain / 4


def test_checkpointing_does_not_change_inference() -> None:
    plain, checkpointed = plain_and_checkpointed()
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(plain.eval()(image), checkpointed.eval()(image))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_training_equals_eager_training(checkpointing: bool) -> None:
    torch.compiler.reset()
    plain, compiled = plain_and_checkpointed(1)
    compiled.gradient_checkpointing = checkpointing
    expected, actual = train_steps(plain.double()), train_steps(compiled.double(), compiled=True)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-6, atol=1e-8)
