"""Encoders from files: names, shapes, and the conversion from three input channels to one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import ResNet
from safetensors.torch import load_file, save_file
from torch import Tensor

from helpers.documented_data import write_efficientnet_lite0
from helpers.exported_models import write_model
from mammoseg.errors import UserError
from mammoseg.exported_model import WEIGHTS_FILE
from mammoseg.models.efficientnet_unet import EfficientNetUNet
from mammoseg.models.encoder import encoder_stages
from mammoseg.models.monai_nets import dyn_unet
from mammoseg.models.resnet_unet import ResNetUNet
from mammoseg.models.unet import UNet
from mammoseg.train.encoder_weights import load_encoder_weights, read_tensors

WIDTH = 2


@pytest.fixture
def photograph_net() -> ResNet:
    """A ResNet-18 with three input channels and a classification layer, with random weights and statistics."""
    torch.manual_seed(1)
    widths = [WIDTH * 2**stage for stage in range(4)]
    net = ResNet(
        "basic", [2, 2, 2, 2], widths, spatial_dims=2, n_input_channels=3, conv1_t_stride=2, bias_downsample=False
    ).eval()
    for name, value in net.named_buffers():
        if not name.endswith("num_batches_tracked"):  # negative means, so that most outputs of ReLU are not 0
            value.copy_(torch.rand_like(value) + 0.5 if name.endswith("var") else -torch.rand_like(value))
    return net


def features(net: Any, image: Tensor) -> Tensor:
    stem = net.maxpool(net.act(net.bn1(net.conv1(image))))
    output: Tensor = net.layer4(net.layer3(net.layer2(net.layer1(stem))))
    return output


def test_features_are_those_of_the_original_network_for_repeated_grey_images(
    photograph_net: ResNet, tmp_path: Path
) -> None:
    torch.save(photograph_net.state_dict(), tmp_path / "resnet.pth")
    net = ResNetUNet(WIDTH).eval()
    load_encoder_weights(net, tmp_path / "resnet.pth")
    image = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected, actual = features(photograph_net, image.repeat(1, 3, 1, 1)), features(net.encoder, image)
    assert expected.abs().mean() > 0.01
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.encoder."])
@pytest.mark.parametrize("nested", [None, "state_dict", "model"])
def test_prefixes_and_nested_mappings(
    prefix: str, nested: str | None, photograph_net: ResNet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state: Any = {f"{prefix}{name}": value for name, value in photograph_net.state_dict().items()}
    torch.save({nested: state, "epoch": 3} if nested else state, tmp_path / "file.pt")
    net = ResNetUNet(WIDTH)
    decoder = net.decoder[0][0][0].weight.clone()  # type: ignore[index]
    with caplog.at_level(logging.INFO):
        load_encoder_weights(net, tmp_path / "file.pt")
    for name, value in net.encoder.state_dict().items():
        expected = state[prefix + name]
        assert torch.equal(value, expected.sum(1, keepdim=True) if name == "conv1.weight" else expected), name
    assert torch.equal(decoder, net.decoder[0][0][0].weight)  # type: ignore[index]
    n_tensors = sum(not name.endswith("num_batches_tracked") for name in net.encoder.state_dict())
    assert f"loaded {n_tensors} of {n_tensors} tensors" in caplog.text
    assert "not used: fc.bias, fc.weight" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("prefix", ["", "module.", "_backbone."])
def test_published_names_with_underscores(prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = write_efficientnet_lite0(tmp_path / "published.pth", width=4)
    stored = torch.load(tmp_path / "published.pth", weights_only=True)
    torch.save({f"{prefix}{name}": value for name, value in stored.items()}, tmp_path / "file.pth")
    net = EfficientNetUNet(width=4)
    with caplog.at_level(logging.INFO):
        load_encoder_weights(net, tmp_path / "file.pth")
    assert "loaded 240 of 240 tensors" in caplog.text
    assert "not used: conv_head.weight, fc.bias" in caplog.text
    expected["conv_stem.weight"] = expected["conv_stem.weight"].sum(1, keepdim=True)
    loaded = net.encoder.state_dict()
    assert loaded.keys() == expected.keys()
    assert [name for name, value in expected.items() if not torch.equal(loaded[name], value)] == []


class PrivateModules(torch.nn.Module):
    """A network whose modules have names with leading underscores."""

    encoder_stages = (("_stem",), ("_stage._conv",))

    def __init__(self) -> None:
        super().__init__()
        self._stem = torch.nn.Conv2d(1, 2, 1)
        self._stage = torch.nn.ModuleDict({"_conv": torch.nn.Conv2d(2, 2, 1)})


def test_networks_with_private_modules(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    other, net = PrivateModules(), PrivateModules()
    others = {f"ema.{name.replace('_', '')}": torch.zeros(1) for name in other.state_dict()}
    torch.save({**{f"net.{name}": value for name, value in other.state_dict().items()}, **others}, tmp_path / "file.pt")
    load_encoder_weights(net, tmp_path / "file.pt")
    assert all(map(torch.equal, net.state_dict().values(), other.state_dict().values()))
    assert not caplog.records


def test_names_of_another_network_raise(tmp_path: Path) -> None:
    write_efficientnet_lite0(tmp_path / "file.pth", width=1)
    with pytest.raises(
        UserError, match=r"must have the names of the encoder, such as conv1.*got _conv_stem\.weight, .*"
    ):
        load_encoder_weights(ResNetUNet(WIDTH), tmp_path / "file.pth")


def test_missing_names_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    net, other = UNet(1), UNet(1)
    state = {name: value.half() for name, value in other.encoder.state_dict().items() if not name.startswith("4.")}
    save_file(state, tmp_path / "encoder.safetensors")
    before = [value.clone() for value in net.parameters()]
    load_encoder_weights(net, tmp_path / "encoder.safetensors")
    assert "not in the file, so initialised randomly: 4.0.0.0.weight, 4.0.0.0.bias" in caplog.text
    after = [torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True)]
    names = [name for name, _ in net.named_parameters()]
    loaded = [name for name, is_equal in zip(names, after, strict=True) if not is_equal and name.endswith("0.weight")]
    assert loaded == [f"encoder.{stage}.0.{index}.0.weight" for stage in range(4) for index in range(2)]


def test_encoder_of_a_checkpoint_with_averaged_weights(tmp_path: Path) -> None:
    net, average, current = dyn_unet(WIDTH), dyn_unet(WIDTH), dyn_unet(WIDTH)
    states = {"current_model_state": current, "state_dict": average}
    torch.save(
        {key: {f"net.{name}": value for name, value in saved.state_dict().items()} for key, saved in states.items()},
        tmp_path / "best.ckpt",
    )
    load_encoder_weights(net, tmp_path / "best.ckpt")
    pairs = zip(encoder_stages(net, "test"), encoder_stages(average, "test"), strict=True)
    for stage, expected in pairs:
        for value, other in zip(stage.state_dict().values(), expected.state_dict().values(), strict=True):
            assert torch.equal(value, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features.weight": torch.zeros(2)}, "must have the names of the encoder, such as conv1.weight.*got features"),
        ({"epoch": 3}, "got no tensors"),
        ({"student": {"conv1.weight": torch.zeros(2, 1, 7, 7)}, "teacher": {"conv1.weight": torch.zeros(1)}},
         r"must contain one encoder, got student\., teacher\."),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, r"must have the shape \(2, 1, 7, 7\).*\(64, 1, 7, 7\)"),
        (torch.nn.Conv2d(1, 1, 1), "can be loaded with weights_only=True"),
    ],
)  # fmt: skip
def test_invalid_files_raise_and_load_nothing(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pt")
    net = ResNetUNet(WIDTH)
    before = [value.clone() for value in net.state_dict().values()]
    with pytest.raises(UserError, match=rf"encoder_weights=.*file\.pt.*{message}"):
        load_encoder_weights(net, tmp_path / "file.pt")
    assert all(map(torch.equal, before, net.state_dict().values()))


def test_damaged_safetensors_file_raises(tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="or a safetensors file"):
        read_tensors(tmp_path / "file.safetensors")


def test_exported_models_are_compared_with_their_model_card(tmp_path: Path) -> None:
    path = write_model(tmp_path) / WEIGHTS_FILE
    assert read_tensors(path)
    tensors = {name: value + 1 for name, value in load_file(path).items()}
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"model\.safetensors: its SHA-256 hash must be the one that README\.md states"):
        read_tensors(path)


def test_network_without_encoder_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="encoder_weights requires a network"):
        load_encoder_weights(torch.nn.Conv2d(1, 1, 1), tmp_path / "file.pt")
