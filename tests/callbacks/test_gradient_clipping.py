"""Statistics of gradient norms and clipping at a percentile, compared with plain PyTorch and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.tiny_training import LR, MetricsOfEpochs, fit, gradient_norm, make_batches, make_segmenter
from mammoseg.batch import Batch
from mammoseg.callbacks.gradient_clipping import GradientClipping
from mammoseg.errors import UserError
from mammoseg.segmenter import Segmenter

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:The `srun` command.*")


def reference(
    batches: list[Batch],
    clip: float | None = None,
    percentile: float | None = None,
    window: int = 0,
    accumulated: int = 1,
) -> tuple[Segmenter, list[list[tuple[float, float]]]]:
    """Train in plain PyTorch; returns the module, and (norm, threshold) of each step of each epoch."""
    segmenter = make_segmenter().train()
    parameters = list(segmenter.net.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR)
    history: list[float] = []
    epochs = []
    for _ in range(2):
        steps = []
        for first in range(0, len(batches), accumulated):
            optimizer.zero_grad()
            for batch in batches[first : first + accumulated]:
                loss = segmenter.criterion(segmenter(batch["image"]), batch["mask"], batch["density"]).mean()
                (loss / accumulated).backward()
            norm = gradient_norm(parameters)
            history.append(norm)
            threshold = np.inf if clip is None else clip
            if percentile is not None:  # the authors' code, with a window
                threshold = float(np.percentile(history[-window:], percentile))
            torch.nn.utils.clip_grad_norm_(parameters, threshold)
            optimizer.step()
            steps.append((norm, threshold))
        epochs.append(steps)
    return segmenter, epochs


def assert_same_weights(first: Segmenter, second: Segmenter) -> None:
    for (name, actual), expected in zip(first.net.state_dict().items(), second.net.state_dict().values(), strict=True):
        torch.testing.assert_close(actual, expected, msg=name)


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({}, {"clip": 0.3}),
        ({}, {"clip": None}),
        ({}, {"clip": 0.3, "accumulated": 2}),
        ({"percentile": 60.0}, {}),
        ({"percentile": 30.0, "window": 4}, {}),
        ({"percentile": 30.0, "window": 4}, {"accumulated": 3}),
    ],
)
def test_statistics_and_weights_are_those_of_a_plain_loop(settings: dict[str, Any], arguments: dict[str, Any]) -> None:
    batches = make_batches(12)
    segmenter, metrics = make_segmenter(), MetricsOfEpochs()
    fit(segmenter, batches, [GradientClipping(**settings), metrics], **arguments)
    expected_segmenter, epochs = reference(batches, **settings, **arguments)
    assert_same_weights(segmenter, expected_segmenter)
    assert len(metrics.epochs) == 2
    for logged, steps in zip(metrics.epochs, epochs, strict=True):
        norms, thresholds = np.array(steps).T
        assert logged["train/grad_norm"] == pytest.approx(norms.mean(), rel=1e-5)
        assert logged["train/clipped"] == pytest.approx((norms > thresholds).mean())
        assert logged["train/clip_factor"] == pytest.approx(np.minimum(1, thresholds / norms).mean(), rel=1e-4)
        assert logged.keys() >= {"train/loss", "train/rmi"}
    shares = [logged["train/clipped"] for logged in metrics.epochs]
    assert (max(shares) > 0) == (arguments.get("clip", 0) is not None)


def test_measuring_does_not_change_training() -> None:
    measured, other = make_segmenter(), make_segmenter()
    fit(measured, make_batches(4), [GradientClipping()], clip=0.3)
    fit(other, make_batches(4), [], clip=0.3)
    for name, value in measured.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_clipping_by_value_has_no_factor() -> None:
    metrics = MetricsOfEpochs()
    fit(make_segmenter(), make_batches(2), [GradientClipping(), metrics], clip=0.1, algorithm="value")
    assert "train/grad_norm" in metrics.epochs[0]
    assert not metrics.epochs[0].keys() & {"train/clipped", "train/clip_factor"}


def test_steps_without_a_finite_gradient_are_not_counted() -> None:
    callback = GradientClipping(percentile=50)
    for norm in (1.0, float("inf"), 3.0, float("nan")):
        threshold = callback._percentile_of(torch.tensor(norm))
        callback.steps.append((torch.tensor(norm), threshold))
    steps, norms, clipped, _ = callback.epoch_sums().tolist()
    assert (steps, norms, clipped) == (2, 4.0, 1)
    assert threshold == 2.0


@given(
    norms=st.lists(st.floats(2.0**-10, 2.0**10, width=32), min_size=1, max_size=40),
    percentile=st.floats(0, 100),
    window=st.none() | st.integers(1, 50),
    stop=st.integers(0, 40),
)
def test_percentiles_are_those_of_numpy_also_after_resuming(
    norms: list[float], percentile: float, window: int | None, stop: int
) -> None:
    callback = GradientClipping(percentile, window)
    for index, norm in enumerate(norms):
        if index == stop:
            resumed = GradientClipping(percentile, window)
            resumed.load_state_dict(callback.state_dict())
            callback = resumed
        threshold = callback._percentile_of(torch.tensor(norm))
        used = norms[: index + 1] if window is None else norms[max(0, index + 1 - window) : index + 1]
        assert float(threshold) == pytest.approx(np.percentile(used, percentile), rel=1e-5)


def test_a_constant_scale_of_the_loss_does_not_change_the_clipped_share() -> None:
    norms = np.random.default_rng(0).lognormal(size=2000)
    shares = []
    for scale in (1.0, 50.0):
        callback = GradientClipping(percentile=90, window=300)
        for norm in torch.tensor(scale * norms, dtype=torch.float32):
            callback.steps.append((norm, callback._percentile_of(norm)))
        sums = callback.epoch_sums()
        shares.append(float(sums[2] / sums[0]))
    assert shares[0] == pytest.approx(0.1, abs=0.02)
    assert shares[1] == shares[0]


@given(norms=st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=30), stop=st.integers(0, 30))
def test_sums_do_not_depend_on_interruptions(norms: list[float], stop: int) -> None:
    uninterrupted, callback = GradientClipping(), GradientClipping()
    for index, norm in enumerate(norms):
        step = torch.tensor(norm), torch.tensor(1.0)
        uninterrupted.steps.append(step)
        if index == stop:
            resumed = GradientClipping()
            resumed.load_state_dict(callback.state_dict())
            callback = resumed
        callback.steps.append(step)
    assert torch.equal(uninterrupted.epoch_sums(), callback.epoch_sums())
    assert uninterrupted.epoch_sums()[1] == pytest.approx(sum(norms))


@pytest.mark.parametrize(("percentile", "window"), [(-1, None), (101, None), (50, 0)])
def test_invalid_arguments_raise(percentile: float, window: int | None) -> None:
    with pytest.raises(UserError, match=r"callbacks\.gradient_clipping\.(percentile|window) must be .*, got"):
        GradientClipping(percentile, window)


def test_two_kinds_of_clipping_raise() -> None:
    with pytest.raises(UserError, match=r"gradient_clip_val must be null with .*percentile, got 0\.5"):
        fit(make_segmenter(), make_batches(1), [GradientClipping(percentile=50)], clip=0.5)
