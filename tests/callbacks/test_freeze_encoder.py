"""Training with a frozen encoder, compared with plain PyTorch."""

from __future__ import annotations

from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import nn

from helpers.tiny_training import LR, MetricsOfEpochs, fit, gradient_norm, make_batches, make_segmenter
from mammoseg.callbacks.freeze_encoder import FreezeEncoder
from mammoseg.callbacks.gradient_clipping import GradientClipping
from mammoseg.errors import UserError
from mammoseg.segmenter import Segmenter

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:The `srun` command.*")
BATCHES = make_batches(3)
CLIP = 0.5


def make(dropout: float = 0.0) -> Segmenter:
    """A network whose encoder is a convolution, batch normalisation and dropout."""
    segmenter = make_segmenter(dropout)
    segmenter.net.encoder_stages = [["0"], ["1", "2"]]
    return segmenter


def layers_of(segmenter: Segmenter) -> list[nn.Module]:
    assert isinstance(segmenter.net, nn.Sequential)
    return list(segmenter.net)


def encoder_of(segmenter: Segmenter) -> nn.ModuleList:
    return nn.ModuleList(layers_of(segmenter)[:3])


def reference(frozen_epochs: int) -> tuple[Segmenter, list[float]]:
    """Train in plain PyTorch; returns the module and the mean gradient norm of each epoch."""
    segmenter = make().train()
    norms = []
    for epoch in range(2):
        encoder = encoder_of(segmenter).train(epoch >= frozen_epochs)
        head = [value for name, value in segmenter.net.named_parameters() if name.startswith("4.")]
        parameters = head if epoch < frozen_epochs else [*encoder.parameters(), *head]
        optimizer = torch.optim.SGD(parameters, lr=LR)
        steps = []
        for batch in BATCHES:
            segmenter.zero_grad()
            segmenter.criterion(segmenter(batch["image"]), batch["mask"], batch["density"]).mean().backward()
            steps.append(gradient_norm(parameters))
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
        norms.append(sum(steps) / len(steps))
    return segmenter, norms


class Modes(Callback):
    """Records in which batches the modules of the encoder are in training mode."""

    def __init__(self) -> None:
        self.training: list[set[bool]] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Segmenter)
        self.training.append({module.training for module in list(encoder_of(pl_module))})


@pytest.mark.parametrize(("epochs", "frozen_epochs"), [(None, 2), (1, 1), (5, 2)])
def test_training_equals_plain_pytorch(epochs: int | None, frozen_epochs: int) -> None:
    expected, norms = reference(frozen_epochs)
    segmenter, history, modes = make(), MetricsOfEpochs(), Modes()
    fit(segmenter, BATCHES, [FreezeEncoder(epochs), GradientClipping(), history, modes], clip=CLIP)
    for (name, actual), value in zip(
        segmenter.net.state_dict().items(), expected.net.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(actual, value, msg=name)
    assert [metrics["train/grad_norm"] for metrics in history.epochs] == pytest.approx(norms)
    n_frozen = frozen_epochs * len(BATCHES)
    assert modes.training == [{False}] * n_frozen + [{True}] * (2 * len(BATCHES) - n_frozen)


def test_frozen_encoder_does_not_change() -> None:
    segmenter = make(dropout=0.5)
    segmenter.optimizer = lambda parameters: torch.optim.AdamW(parameters, lr=LR, weight_decay=0.5)
    before = {name: value.clone() for name, value in encoder_of(segmenter).state_dict().items()}
    head = layers_of(segmenter)[4].get_parameter("weight").clone()
    fit(segmenter, BATCHES, [FreezeEncoder()])
    for name, value in encoder_of(segmenter).state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(head, layers_of(segmenter)[4].get_parameter("weight"))


def test_average_of_a_frozen_encoder_is_the_encoder() -> None:
    segmenter = make()
    before = {name: value.clone() for name, value in encoder_of(segmenter).state_dict().items()}
    fit(segmenter, BATCHES, [FreezeEncoder(), EMAWeightAveraging(decay=0.9)])
    for name, value in encoder_of(segmenter).state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)


def test_network_without_encoder_raises() -> None:
    with pytest.raises(UserError, match=r"callbacks\.freeze_encoder requires a network with the attribute"):
        fit(make_segmenter(), BATCHES, [FreezeEncoder()])


def test_number_of_epochs_must_be_positive() -> None:
    with pytest.raises(UserError, match=r"callbacks\.freeze_encoder\.epochs must be .*got 0"):
        FreezeEncoder(0)
