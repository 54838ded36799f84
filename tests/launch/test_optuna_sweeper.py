"""What a search proposes: in the ranges asked for, in order, and uniform over what is in order."""

from __future__ import annotations

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from scipy import stats

from mammoseg.errors import UserError

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
from mammoseg.launch.optuna_sweeper import Space  # noqa: E402 - needs optuna

NAMES = ["a", "b", "c", "d"]


def space(*overrides: str, ordered: list[str] | None = None) -> Space:
    return Space.of(OverridesParser.create().parse_overrides(list(overrides)), ordered or [])


def test_each_way_of_asking_becomes_a_distribution() -> None:
    asked = space(
        "a=interval(0,1)", "b=tag(log,interval(0.25,4))", "c=x,y", "d=range(1,4)", "e=7", "f=int(interval(2,4))"
    ).asked
    assert asked == {
        "a": optuna.distributions.FloatDistribution(0, 1),
        "b": optuna.distributions.FloatDistribution(0.25, 4, log=True),
        "c": optuna.distributions.CategoricalDistribution(["x", "y"]),
        "d": optuna.distributions.CategoricalDistribution(["1", "2", "3"]),
        "f": optuna.distributions.IntDistribution(2, 4),
    }


def test_ordered_settings_are_uniform_over_ordered_vectors() -> None:
    """Against sorting, the textbook way: each place has the distribution of an order statistic, Beta(k, n + 1 - k)."""
    searched = space(*(f"{name}=interval(2,4)" for name in NAMES), ordered=NAMES)
    draw = np.random.default_rng(0)
    values = np.array(
        [list(searched.values(dict(zip(NAMES, draw.uniform(size=4), strict=True))).values()) for _ in range(4000)]
    )
    assert (np.diff(values, axis=1) >= 0).all()
    for place in range(4):
        assert stats.kstest((values[:, place] - 2) / 2, stats.beta(place + 1, 4 - place).cdf).pvalue > 1e-3


def test_a_whole_list_takes_the_place_of_its_entries() -> None:
    searched = space("theta.acr1=interval(0,1)", "loss.alpha=interval(1,2)", "loss.theta=[1,2,3,4]")
    assert searched.asked.keys() == {"loss.alpha"}
    assert searched.overrides({"loss.alpha": 1.5}, 0) == ["loss.theta=[1,2,3,4]", "loss.alpha=1.5", "trial=0"]


def test_a_later_override_takes_the_place_of_an_earlier_one() -> None:
    searched = space("a=interval(0,1)", "b=interval(0,1)", "a=0.5", ordered=["a", "b"])
    assert searched.asked.keys() == {"b"}
    assert searched.overrides({"b": 0.25}, 3) == ["a=0.5", "b=0.25", "trial=3"]


@pytest.mark.parametrize(
    ("overrides", "ordered", "told"),
    [
        (["a=1"], [], "nothing to search for"),
        (["a=interval(1,0)"], [], "the first number must be the smaller one"),
        (["a=tag(log,interval(0,1))"], [], "must begin above 0"),
        (["a=interval(0,1)", "b=interval(0,2)"], ["a", "b"], "one and the same interval"),
        (["a=tag(log,interval(1,2))", "b=tag(log,interval(1,2))"], ["a", "b"], "one and the same interval"),
    ],
)
def test_a_mistake_is_told(overrides: list[str], ordered: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        space(*overrides, ordered=ordered)
