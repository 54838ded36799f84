"""ASP: weights by mass ratio, compared with explicit formulas and with the quantiles and k-means of other libraries."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from mammoseg.errors import UserError
from mammoseg.losses import ASP, BCE, ByRatio, Criterion, Dice, LearnedByRatio, UncertaintyByRatio
from mammoseg.losses.term import Term

TABLE = {"dice": [1.5, 1.2, 0.8, 0.5], "bce": [0.5, 0.8, 1.2, 1.5]}
SIDES = (3, 6, 10, 20)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    logits = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.zeros(4, 1, 32, 32, dtype=torch.float64)
    for sample, side in enumerate(SIDES):
        mask[sample, :, :side, :side] = 1
    return logits, mask, torch.zeros(4, dtype=torch.long)


def ratios() -> Tensor:
    return torch.tensor([side**2 / 32**2 for side in SIDES] * 5, dtype=torch.float64)


@pytest.mark.parametrize("grouping", ["quantile", "cluster"])
def test_each_group_has_its_own_weights(grouping: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    loss = ASP(ByRatio(TABLE, grouping), alpha=2.0, beta=3.0)
    loss.fit(ratios())
    logits, mask, density = batch
    expected = torch.tensor(TABLE["dice"]) * 2 * Dice()(logits, mask) + torch.tensor(TABLE["bce"]) * 3 * BCE()(
        logits, mask
    )
    torch.testing.assert_close(loss(logits, mask, density), expected)


def test_quantile_groups_have_equal_size() -> None:
    priority = ByRatio(TABLE, "quantile")
    sampled = torch.rand(1000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    priority.fit(sampled)
    groups = torch.bucketize(sampled, priority.edges, right=True)
    assert torch.bincount(groups).tolist() == [250] * 4
    np.testing.assert_allclose(priority.edges, np.quantile(sampled.numpy(), [0.25, 0.5, 0.75]))


def test_cluster_groups_equal_those_of_scikit_learn() -> None:
    sampled = np.random.default_rng(2).lognormal(-5, 1, 400)
    priority = ByRatio(TABLE, "cluster")
    priority.fit(torch.from_numpy(sampled))
    centres = np.sort(KMeans(4, n_init=20, random_state=0).fit(sampled[:, None]).cluster_centers_.ravel())
    groups = torch.bucketize(torch.from_numpy(sampled), priority.edges, right=True).numpy()
    nearest = np.abs(sampled[:, None] - centres).argmin(axis=1)
    assert (groups == nearest).mean() > 0.99  # Lloyd's iterations may converge to different local optima


def test_fit_with_fewer_mass_sizes_than_groups_raises() -> None:
    for grouping in ("quantile", "cluster"):
        with pytest.raises(UserError, match=r"at least 4 different mass sizes.*got 3"):
            ByRatio(TABLE, grouping).fit(torch.tensor([0.1, 0.2, 0.3, 0.3, 0.1]))


def test_unfitted_asp_warns_and_equals_hybrid_loss(
    batch: tuple[Tensor, Tensor, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    logits, mask, density = batch
    with caplog.at_level(logging.WARNING):
        value = ASP(ByRatio(TABLE))(logits, mask, density)
    torch.testing.assert_close(value, 2 * Dice()(logits, mask) + BCE()(logits, mask))
    assert "not fitted" in caplog.text


def test_edges_are_saved_in_the_state_dict(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    fitted, fresh = ASP(ByRatio(TABLE)), ASP(ByRatio(TABLE))
    fitted.fit(ratios())
    fresh.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(fresh(*batch), fitted(*batch))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"dice": [1.0, 2.0], "bce": [1.0, 2.0, 3.0]}, "same number of weights"),
        ({"dice": [1.0, -2.0]}, "numbers >= 0"),
        ({"dice": ["a", "b"]}, "numbers >= 0"),
        ({"dice": [1.0]}, "two or more"),
    ],
)
def test_invalid_table_raises(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ByRatio(table)


def test_learned_weights_decrease_for_the_larger_term_within_bounds(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    priority = LearnedByRatio(span=0.5)
    loss = ASP(priority)
    loss.fit(ratios())
    logits, mask, density = batch
    torch.testing.assert_close(loss(*batch), 2 * Dice()(logits, mask) + BCE()(logits, mask))
    optimiser = torch.optim.SGD(loss.parameters(), lr=10)
    for _ in range(50):
        optimiser.zero_grad()
        loss(logits, mask, density).mean().backward()
        optimiser.step()
    weights = priority(mask, density)
    assert priority.slope != 0
    torch.testing.assert_close(weights["dice"] + weights["bce"], torch.full((4,), 2.0))
    for weight in weights.values():
        assert ((weight >= 0.5) & (weight <= 1.5)).all()
    larger = 2 * Dice()(logits, mask) > BCE()(logits, mask)
    assert (weights["dice"][larger] < 1).all()


def test_learned_weights_depend_on_the_standardised_log_ratio() -> None:
    priority = LearnedByRatio(span=0.5)
    priority.fit(ratios())
    with torch.no_grad():
        priority.slope.fill_(1.0)
        priority.shift.fill_(0.25)
    logs = np.log(ratios().numpy())
    z = (np.log(10**2 / 32**2) - logs.mean()) / logs.std()
    mask = torch.zeros(1, 1, 32, 32)
    mask[:, :, :10, :10] = 1
    assert priority(mask, torch.zeros(1))["dice"].item() == pytest.approx(1 + 0.5 * np.tanh(z + 0.25), rel=1e-6)


class PowerLaw(Term):
    """A term that depends on the mass ratio only: factor * ratio^exponent."""

    def __init__(self, factor: float, exponent: float) -> None:
        super().__init__()
        self.factor = factor
        self.exponent = exponent

    def value(self, logits: Tensor, mask: Tensor) -> Tensor:
        values: Tensor = self.factor * mask.mean(dim=(1, 2, 3)) ** self.exponent
        return values


def masks_of(ratios: Tensor, side: int = 100) -> Tensor:
    masks = torch.zeros(len(ratios), side * side)
    for mask, ratio in zip(masks, ratios.tolist(), strict=True):
        mask[: round(ratio * side * side)] = 1
    return masks.view(-1, 1, side, side)


def test_uncertainty_weights_become_the_inverse_of_the_terms() -> None:
    """Terms that depend on the mass size by different power laws are weighted to the same size."""
    masks = masks_of(torch.tensor([0.001, 0.003, 0.01, 0.03, 0.1]))
    priority = UncertaintyByRatio(max_log_weight=20)
    loss = ASP(priority, alpha=1.0, dice=PowerLaw(0.5, -0.1), bce=PowerLaw(3.0, 0.7))
    loss.fit(masks.mean(dim=(1, 2, 3)))
    logits, density = torch.zeros_like(masks), torch.zeros(5, dtype=torch.int64)
    dice, bce = (term(logits, masks) for term in loss.terms.values())
    torch.testing.assert_close(loss(logits, masks, density), dice + bce)
    optimiser = torch.optim.LBFGS(loss.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value: Tensor = loss(logits, masks, density).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    weights = priority(masks, density)
    torch.testing.assert_close(weights["dice"] * dice, torch.ones(5), rtol=0.02, atol=0)
    torch.testing.assert_close(weights["bce"] * bce, torch.ones(5), rtol=0.02, atol=0)


def test_uncertainty_weights_are_bounded_and_their_penalty_is_a_summand(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, mask, density = batch
    priority = UncertaintyByRatio(max_log_weight=0.5)
    loss = ASP(priority)
    loss.fit(ratios())
    with torch.no_grad():
        priority.slope.copy_(torch.tensor([30.0, -30.0]))
    assert all(((weight > 0.6) & (weight < 1.7)).all() for weight in priority(mask, density).values())
    summands = loss.weighted_terms(logits, mask, density)
    assert list(summands) == loss.summands == ["dice", "bce", "weight_penalty"]
    torch.testing.assert_close(summands["weight_penalty"], -sum(w.log() for w in priority(mask, density).values()))
    torch.testing.assert_close(loss(*batch), torch.stack([*summands.values()]).sum(dim=0))
    assert ASP(LearnedByRatio()).summands == ["dice", "bce"]


def test_constant_ratio_warns_and_gives_finite_loss(caplog: pytest.LogCaptureFixture) -> None:
    loss = ASP(LearnedByRatio())
    with caplog.at_level(logging.WARNING):
        loss.fit(torch.full((5,), 0.1))
    assert "same size" in caplog.text
    assert loss(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16), torch.zeros(1)).isfinite().all()


def test_fit_does_not_change_a_criterion_without_priority(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, mask, density = batch
    criterion = Criterion({"dice": Dice()})
    criterion.fit(ratios())
    assert criterion.state_dict() == {}
    torch.testing.assert_close(criterion(logits, mask, density), Dice()(logits, mask))
