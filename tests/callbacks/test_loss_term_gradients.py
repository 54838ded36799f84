"""Gradient norms of the loss terms, compared with a backward pass of each term in plain PyTorch."""

from __future__ import annotations

from functools import partial

import lightning
import numpy as np
import pytest
import torch

from helpers.tiny_training import MetricsOfEpochs, fit, gradient_norm, make_batches, make_segmenter
from mammoseg.callbacks.loss_term_gradients import LossTermGradients
from mammoseg.errors import UserError
from mammoseg.losses import DensityASP
from mammoseg.models.au_net import AUNet
from mammoseg.segmenter import Segmenter

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:The `srun` command.*")


def test_norms_are_those_of_separate_backward_passes() -> None:
    segmenter, metrics, batches = make_segmenter(), MetricsOfEpochs(), make_batches(5)
    segmenter.optimizer = partial(torch.optim.SGD, lr=0.0)
    fit(segmenter, batches, [LossTermGradients(every_n_steps=2), metrics])
    network = make_segmenter().train()
    parameters = list(network.net.parameters())
    for epoch, logged in enumerate(metrics.epochs):
        measured = [batch for index, batch in enumerate(batches) if (5 * epoch + index) % 2 == 0]
        assert len(measured) == (3, 2)[epoch]
        for name in ("dice", "bce", "rmi", "ssim"):
            norms = []
            for batch in measured:
                network.zero_grad()
                terms = network.criterion.weighted_terms(network(batch["image"]), batch["mask"], batch["density"])
                torch.autograd.backward(terms[name].mean())
                norms.append(gradient_norm(parameters))
            assert min(norms) > 0
            assert logged[f"train/grad_norm_{name}"] == pytest.approx(np.mean(norms), rel=1e-4)


def test_measuring_changes_neither_weights_nor_statistics_nor_random_numbers() -> None:
    measured, other = make_segmenter(dropout=0.5), make_segmenter(dropout=0.5)
    states = []
    for segmenter, callbacks in ((measured, [LossTermGradients(every_n_steps=1)]), (other, [])):
        torch.manual_seed(1)
        fit(segmenter, make_batches(4), callbacks, clip=0.3)
        states.append(torch.get_rng_state())
        assert segmenter.weighted_terms == {}
    for name, value in measured.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert torch.equal(*states)


def test_measuring_changes_nothing_with_memory_saving_terms() -> None:
    """RMI and SSIM have backward passes of their own, which run twice here."""
    states = []
    for callbacks in ([LossTermGradients(every_n_steps=1)], []):
        torch.manual_seed(0)
        segmenter = Segmenter(AUNet(width=1), DensityASP((0.25, 0.25, 0.85, 0.95)))
        fit(segmenter, make_batches(3), callbacks)
        states.append(segmenter.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("obstacle", ["compile", "model.gradient_checkpointing"])
def test_networks_without_a_reusable_graph_raise(obstacle: str) -> None:
    network = AUNet(width=1, gradient_checkpointing="checkpointing" in obstacle)
    segmenter = Segmenter(network, DensityASP((1, 1, 1, 1)), compile="default" if obstacle == "compile" else None)
    with pytest.raises(UserError, match=rf"loss_term_gradients cannot be used with {obstacle};"):
        fit(segmenter, make_batches(1), [LossTermGradients()])


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [("precision", "16-mixed", "trainer.precision=16-mixed"), ("world_size", 2, "several processes")],
)
def test_trainers_with_scaled_or_partial_gradients_raise(
    attribute: str, value: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These trainers cannot be built on one CPU."""
    monkeypatch.setattr(lightning.Trainer, attribute, value)
    with pytest.raises(UserError, match=rf"loss_term_gradients cannot be used with {message};"):
        fit(make_segmenter(), make_batches(1), [LossTermGradients()])


def test_invalid_interval_raises() -> None:
    with pytest.raises(UserError, match=r"every_n_steps must be .*, got 0"):
        LossTermGradients(every_n_steps=0)
