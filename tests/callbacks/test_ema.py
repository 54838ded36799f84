"""Exponential moving average of the weights, compared with a plain loop."""

from __future__ import annotations

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mammoseg.callbacks.ema import EMA
from mammoseg.errors import UserError

N_STEPS = 25


class Regression(lightning.LightningModule):
    """A linear layer and a batch normalisation; records its weights after each step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.weights: list[dict[str, Tensor]] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.net(batch[0]).square().mean()
        return loss

    def on_train_batch_end(self, *_: object) -> None:
        self.weights.append({name: value.clone() for name, value in self.state_dict().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(decay: float) -> Regression:
    module = Regression()
    batches = torch.randn(N_STEPS * 8, 3, generator=torch.Generator().manual_seed(1))
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[EMA(decay)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(batches), batch_size=8))
    return module


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_weights_after_training_are_the_moving_average(decay: float) -> None:
    module = fit(decay)
    assert len(module.weights) == N_STEPS
    average = dict(module.weights[0])
    for step, weights in enumerate(module.weights[1:], start=2):
        current = min(decay, (1 + step) / (10 + step))
        for name, value in weights.items():
            if value.is_floating_point():
                average[name] = current * average[name] + (1 - current) * value
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-6, msg=name)


def test_the_first_weights_have_little_influence_on_a_short_run() -> None:
    remaining = 1.0
    average = EMA(0.999)
    for step in range(2, 101):
        remaining *= average.decay_after(step)
    assert remaining < 1e-6
    assert 0.999**99 > 0.9, "with a constant decay"


@pytest.mark.parametrize("decay", [0, 1, -0.1, 1.5, "0.9"])
def test_an_invalid_decay_is_rejected(decay: object) -> None:
    with pytest.raises(UserError, match=r"callbacks\.ema\.decay must be a number between 0 and 1"):
        EMA(decay)  # type: ignore[arg-type]  # also values of other types
