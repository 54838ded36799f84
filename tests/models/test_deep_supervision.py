"""Deep supervision: outputs of networks, and the loss over several resolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.losses import BCE, Criterion, DensityASP, Dice
from mammoseg.models.deep_supervision import deep_supervision_terms, downsample_mask, list_outputs
from mammoseg.models.monai_nets import seg_res_net
from mammoseg.segmenter import Segmenter

IMAGE = torch.zeros(2, 1, 32, 32)


def random_outputs() -> tuple[list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(2, 1, size, size, generator=generator) for size in (32, 16, 8)]
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, 5:20, 3:17] = 1
    return outputs, mask, torch.tensor([0, 3])


def test_the_loss_is_the_weighted_mean_over_the_outputs() -> None:
    """Weights 4/7, 2/7 and 1/7; a block of pixels belongs to the mask if at least half of its pixels do."""
    outputs, mask, density = random_outputs()
    criterion = Criterion({"dice": Dice(factor=2), "bce": BCE()}, weights={"dice": 2.0})
    terms = deep_supervision_terms(criterion, outputs, mask, density)
    losses = [
        criterion(logits, (nn.functional.avg_pool2d(mask, k) >= 0.5).float(), density)
        for logits, k in zip(outputs, (1, 2, 4), strict=True)
    ]
    expected = (4 * losses[0] + 2 * losses[1] + losses[2]) / 7
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(dim=0), expected)
    assert list(terms) == criterion.summands


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 24), st.integers(0, 24), st.sampled_from([2, 4, 8]))
def test_no_mass_is_lost_at_a_lower_resolution(height: int, width: int, top: int, left: int, factor: int) -> None:
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, 0, top : top + height, left : left + width] = 1
    small = downsample_mask(mask, (32 // factor, 32 // factor))
    assert set(small.flatten().tolist()) == {0.0, 1.0}
    assert small[1].sum() == 0, "a mask without a mass remains empty"
    rows, columns = small[0, 0].nonzero(as_tuple=True)
    assert top // factor <= rows.min() <= rows.max() <= (top + height - 1) // factor
    assert left // factor <= columns.min() <= columns.max() <= (left + width - 1) // factor


def test_one_output_has_the_terms_of_the_criterion() -> None:
    outputs, mask, density = random_outputs()
    criterion = DensityASP(theta=[0.5, 0.5, 0.85, 0.95])
    terms, expected = (
        deep_supervision_terms(criterion, outputs[:1], mask, density),
        criterion.weighted_terms(outputs[0], mask, density),
    )
    assert terms.keys() == expected.keys()
    assert all(torch.equal(terms[name], expected[name]) for name in terms)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.zeros(2, 2, 32, 32), r"one logit per pixel, of the shape \(2, 1, 32, 32\) .*got \(2, 2, 32, 32\)"),
        ([], "got list"),
        ({"out": IMAGE}, "got dict"),
        ([torch.zeros(2, 1, 16, 16), IMAGE], r"got \(2, 1, 16, 16\)"),
        ([IMAGE, torch.zeros(2, 16, 16)], r"deep supervision, got \(2, 16, 16\)"),
        ([IMAGE, None], "deep supervision, got NoneType"),
    ],
)
def test_invalid_outputs_raise(outputs: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_outputs(outputs, IMAGE)


@pytest.mark.parametrize(("patch_size", "heads"), [(1, 1), (1, 3), (2, 3), (4, 2)])
def test_seg_res_net_returns_one_output_per_head_in_training_only(patch_size: int, heads: int) -> None:
    net = seg_res_net(width=2, patch_size=patch_size, deep_supervision=heads, norm="instance")
    image = torch.randn(2, 1, 64, 96)
    outputs = list_outputs(net(image), image)
    assert [tuple(logits.shape) for logits in outputs] == [(2, 1, 64 >> k, 96 >> k) for k in range(heads)]
    torch.testing.assert_close(net.eval()(image), outputs[0])


def test_all_outputs_are_trained() -> None:
    segmenter = Segmenter(seg_res_net(width=2), DensityASP(theta=[0.5, 0.5, 0.85, 0.95]))
    image = torch.randn(2, 1, 64, 64)
    outputs = segmenter.all_logits(image)
    terms = deep_supervision_terms(segmenter.criterion, outputs, (image > 1).float(), torch.tensor([0, 3]))
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in segmenter.net.parameters())


def test_an_output_that_is_smaller_than_the_window_of_the_loss_is_named() -> None:
    outputs, mask, density = random_outputs()
    message = (
        r"^the loss of the 8x8 logits for deep supervision of 32x32 images: .* must be at least window_size=11 pixels, "
        r"got 8x8; .*, or fewer outputs \(model\.deep_supervision\)$"
    )
    criterion = DensityASP(theta=[0.5, 0.5, 0.85, 0.95])
    with pytest.raises(UserError, match=message):
        deep_supervision_terms(criterion, outputs, mask, density)
    small = [torch.zeros(2, 1, size, size) for size in (8, 4)]
    with pytest.raises(UserError, match=r"^height and width of the image must be at least window_size=11"):
        deep_supervision_terms(criterion, small, torch.zeros(2, 1, 8, 8), density)


@given(
    patch_size=st.integers(1, 3),
    stages=st.integers(2, 3),
    height=st.integers(1, 3).map(lambda count: 4 * count),
    width=st.integers(1, 3).map(lambda count: 6 * count),
)
@settings(deadline=None, max_examples=25)
def test_seg_res_net_accepts_multiples_of_its_factor_only(
    patch_size: int, stages: int, height: int, width: int
) -> None:
    net = seg_res_net(width=1, blocks=(1,) * stages, patch_size=patch_size, deep_supervision=1).eval()
    image, factor = torch.zeros(1, 1, height, width), patch_size * 2 ** (stages - 1)
    if height % factor == width % factor == 0:
        assert net(image).shape == image.shape
    else:
        with pytest.raises(UserError, match=f"multiples of {factor} for this network, got {height} x {width}"):
            net(image)


def test_the_number_of_heads_is_limited_by_the_stages() -> None:
    with pytest.raises(UserError, match="deep_supervision must be between 1 and 2"):
        seg_res_net(blocks=(1, 1, 1), deep_supervision=3)
