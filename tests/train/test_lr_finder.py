"""Learning-rate range test: schedule, recorded losses, stop at divergence, suggestion."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from helpers.tiny_training import make_batches, make_segmenter
from mammoseg.errors import UserError
from mammoseg.train.lr_finder import MAX_LR, MIN_LR, N_STEPS, SKIPPED_STEPS, LearningRateRangeTest, suggest


def run_losses(
    losses: list[float], lrs: tuple[float, ...] = (0.1, 0.02)
) -> tuple[LearningRateRangeTest, list[Any], Any]:
    """Feed losses to a range test until it stops; also returns the learning rates of the groups, and the trainer."""
    groups = [{"lr": lr} for lr in lrs]
    trainer: Any = SimpleNamespace(optimizers=[SimpleNamespace(param_groups=groups)], should_stop=False)
    test, used = LearningRateRangeTest(), []
    for loss in losses:
        test.on_train_batch_start(trainer)
        used.append([group["lr"] for group in groups])
        test.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)})
        if trainer.should_stop:
            break
    return test, used, trainer


def test_learning_rates_are_a_geometric_sequence_and_groups_keep_their_ratio() -> None:
    test, used, trainer = run_losses([1.0] * N_STEPS)
    np.testing.assert_allclose(test.lrs, np.geomspace(MIN_LR, MAX_LR, N_STEPS))
    np.testing.assert_allclose(np.array(used)[:, 0], test.lrs)
    np.testing.assert_allclose(np.array(used)[:, 1], np.multiply(test.lrs, 0.2))
    np.testing.assert_allclose(test.losses, 1.0)
    assert not trainer.should_stop


def test_the_losses_are_a_bias_corrected_moving_average() -> None:
    values = [3.0, 1.0, 2.0, 5.0]
    weights = [[0.9 ** (last - index) for index in range(last + 1)] for last in range(4)]
    expected = [float(np.average(values[: len(weight)], weights=weight)) for weight in weights]
    np.testing.assert_allclose(run_losses(values)[0].losses, expected, rtol=1e-6)


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_the_test_stops_when_the_loss_diverges(value: float) -> None:
    test, _, trainer = run_losses([1.0] * 20 + [value] * 20)
    assert trainer.should_stop
    assert len(test.losses) == 21


@given(st.integers(SKIPPED_STEPS + 3, 90), st.floats(0.1, 5.0))
def test_the_suggestion_is_the_steepest_descent_or_a_tenth_of_the_minimum(step: int, height: float) -> None:
    """A falling logistic curve is steepest at its centre and lowest at the end."""
    lrs = np.geomspace(MIN_LR, MAX_LR, N_STEPS)
    losses = height * (2 - 1 / (1 + np.exp(-(np.arange(N_STEPS) - step) / 2)))
    assert suggest(list(lrs), list(losses)) == pytest.approx(min(lrs[step], MAX_LR / 10))


def test_too_few_finite_losses_raise() -> None:
    with pytest.raises(UserError, match="at least 3 finite losses"):
        suggest([1.0] * 20, [1.0] * (SKIPPED_STEPS + 2) + [float("nan")] * 8)


def test_lightning_trains_with_the_learning_rates_of_the_test() -> None:
    test = LearningRateRangeTest()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        max_steps=12,
        limit_val_batches=0,
        callbacks=[test],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: Any = DataLoader(make_batches(5), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(make_segmenter(), loader, loader)
    assert len(test.losses) == 12
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(test.lrs[-1])
