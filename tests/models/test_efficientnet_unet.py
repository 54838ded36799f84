"""The encoder of EfficientNetUNet is EfficientNet-Lite0."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.models.efficientnet_unet import EfficientNetUNet, SamePaddingConv2d

# Mean and standard deviation of the features before each convolution with stride 2 and after the last block, computed
# with efficientnet_lite_pytorch 0.1.0 (convolutions with dynamic padding, in double precision) for the weights of
# `fill` and the image of the test, repeated for its three input channels with a third of the weights.
REFERENCE = [
    ((16, 20, 36), -0.033800027, 10.036357149),
    ((24, 10, 18), -0.084342878, 10.412390635),
    ((40, 5, 9), 0.411823334, 45.803372597),
    ((112, 3, 5), 0.589405545, 13.880346330),
    ((320, 2, 3), -0.017315079, 4.212085615),
]


def fill(net: nn.Module) -> None:
    """Replace weights and statistics by values that depend on their shape only, so large that ReLU6 limits some."""
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        wave = torch.cos(torch.arange(1, value.numel() + 1, dtype=value.dtype)).reshape(value.shape)
        if value.ndim == 4:
            value.copy_(4 * wave * (2 / value[0].numel()) ** 0.5)
        else:
            value.copy_(wave / 4 + (1 if name.endswith(("running_var", "weight")) else 0))


def test_features_are_those_of_the_reference() -> None:
    encoder = EfficientNetUNet().double().eval().encoder
    fill(encoder)
    image = torch.sin(torch.arange(40 * 72, dtype=torch.float64)).reshape(1, 1, 40, 72)
    with torch.inference_mode():
        outputs = encoder(image)
    for features, (shape, mean, std) in zip(outputs, REFERENCE, strict=True):
        assert features.shape == (1, *shape)
        assert features.mean().item() == pytest.approx(mean, abs=1e-8)
        assert features.std().item() == pytest.approx(std, abs=1e-8)


def test_number_of_parameters_of_the_encoder() -> None:
    # 4,652,008 in total as published, less the last convolution, its normalisation and the classification layer.
    published = 4_652_008 - 320 * 1280 - 2 * 1280 - 1000 * 1281
    colours = 2 * 32 * 3 * 3  # weights for the second and third input channel
    with torch.device("meta"):
        net = EfficientNetUNet()
    assert sum(value.numel() for value in net.encoder.parameters()) + colours == published
    assert sum(value.numel() for value in net.parameters()) < 5_000_000


def same_padding(features: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolution with the padding of TensorFlow, by its documentation, at one position at a time."""
    kernel_size = weight.shape[-1]
    padded = []
    for size in features.shape[2:]:
        total = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
        padded.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = padded
    features = nn.functional.pad(features, (left, right, top, bottom))
    rows, columns = ((size - kernel_size) // stride + 1 for size in features.shape[2:])
    output = torch.empty(len(features), len(weight), rows, columns, dtype=features.dtype)
    for row in range(rows):
        for column in range(columns):
            y, x = row * stride, column * stride
            output[:, :, row, column] = (features[:, :, y : y + kernel_size, x : x + kernel_size] * weight[:, 0]).sum(
                dim=(2, 3)
            )
    return output


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (5, 9), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_padding(size: tuple[int, int], stride: int, kernel_size: int) -> None:
    torch.manual_seed(0)
    layer = SamePaddingConv2d(3, 3, kernel_size, stride, groups=3, bias=False).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = same_padding(features, layer.weight, stride)
    assert expected.shape[2:] == tuple(-(-length // stride) for length in size)
    torch.testing.assert_close(layer(features), expected)


def test_depthwise_convolutions_are_computed_in_single_precision_on_a_cpu() -> None:
    features = torch.randn(1, 4, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert SamePaddingConv2d(4, 4, 3, groups=4)(features).dtype == torch.float32
        assert SamePaddingConv2d(4, 4, 3)(features).dtype == torch.bfloat16


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_outputs_in_training_and_evaluation(outputs: int) -> None:
    net = EfficientNetUNet(width=2, deep_supervision=outputs)
    image = torch.rand(2, 1, 64, 32)
    logits = net(image) if outputs > 1 else [net(image)]
    assert [tuple(output.shape) for output in logits] == [(2, 1, 64 >> index, 32 >> index) for index in range(outputs)]
    assert net.eval()(image).shape == image.shape


@pytest.mark.parametrize("outputs", [0, 5])
def test_invalid_number_of_outputs_raises(outputs: int) -> None:
    with pytest.raises(UserError, match=f"model.deep_supervision must be one of 1, 2, 3, 4, got {outputs}"):
        EfficientNetUNet(width=2, deep_supervision=outputs)
