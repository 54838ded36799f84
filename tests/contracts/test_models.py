"""Contract of every network in conf/model."""

from __future__ import annotations

import pytest
import torch
from choices import build, options

from mammoseg.models.deep_supervision import list_outputs


@pytest.mark.parametrize("name", options("model"))
def test_logits_have_the_shape_of_the_image_and_do_not_depend_on_the_batch(name: str) -> None:
    torch.manual_seed(0)
    net = build("model", name, "width=2").eval()
    image = torch.randn(2, 1, 64, 96)
    with torch.inference_mode():
        logits = net(image)
        single = net(image[:1])
    assert logits.shape == image.shape
    torch.testing.assert_close(logits[:1], single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", options("model"))
def test_every_parameter_has_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    net = build("model", name, "width=4")
    image = torch.randn(2, 1, 64, 64)
    torch.stack([logits.square().mean() for logits in list_outputs(net(image), image)]).sum().backward()  # type: ignore[no-untyped-call]
    untrained = [name for name, value in net.named_parameters() if value.grad is None]
    assert not untrained
