"""Search spaces: distributions from Hydra's grammar, precedence of overrides, and monotone settings."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from scipy import stats

from mammoseg.errors import UserError
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, Status, write_record

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
from mammoseg.launch.optuna_sweeper import check_same_space  # noqa: E402 - needs optuna
from mammoseg.launch.search_space import SearchSpace  # noqa: E402

NAMES = ["a", "b", "c", "d"]


def make_space(*overrides: str, monotone: list[str] | None = None) -> SearchSpace:
    return SearchSpace.from_overrides(OverridesParser.create().parse_overrides(list(overrides)), monotone or [])


def test_sweep_overrides_become_distributions() -> None:
    space = make_space(
        "a=interval(0,1)", "b=tag(log,interval(0.25,4))", "c=x,y", "d=range(1,4)", "e=7", "f=int(interval(2,4))"
    )
    assert space.optuna_space == {
        "a": optuna.distributions.FloatDistribution(0, 1),
        "b": optuna.distributions.FloatDistribution(0.25, 4, log=True),
        "c": optuna.distributions.CategoricalDistribution(["x", "y"]),
        "d": optuna.distributions.CategoricalDistribution(["1", "2", "3"]),
        "f": optuna.distributions.IntDistribution(2, 4),
    }


def test_monotone_settings_are_uniform_over_non_decreasing_vectors() -> None:
    """As if sorted: entry k of n has the distribution of an order statistic, Beta(k, n + 1 - k)."""
    space = make_space(*(f"{name}=interval(2,4)" for name in NAMES), monotone=NAMES)
    rng = np.random.default_rng(0)
    values = np.array(
        [list(space.values(dict(zip(NAMES, rng.uniform(size=4), strict=True))).values()) for _ in range(4000)]
    )
    assert (np.diff(values, axis=1) >= 0).all()
    for k in range(4):
        assert stats.kstest((values[:, k] - 2) / 2, stats.beta(k + 1, 4 - k).cdf).pvalue > 1e-3


def test_a_list_replaces_its_entries() -> None:
    space = make_space("theta.acr1=interval(0,1)", "loss.alpha=interval(1,2)", "loss.theta=[1,2,3,4]")
    assert space.optuna_space.keys() == {"loss.alpha"}
    assert space.overrides({"loss.alpha": 1.5}, 0) == ["loss.theta=[1,2,3,4]", "loss.alpha=1.5", "trial_number=0"]


def test_a_later_override_replaces_an_earlier_one() -> None:
    space = make_space("a=interval(0,1)", "b=interval(0,1)", "a=0.5", monotone=["a", "b"])
    assert space.optuna_space.keys() == {"b"}
    assert space.overrides({"b": 0.25}, 3) == ["a=0.5", "b=0.25", "trial_number=3"]


@pytest.mark.parametrize(
    ("overrides", "monotone", "message"),
    [
        (["a=1"], [], "the search space is empty"),
        (["a=interval(1,0)"], [], "the lower bound of an interval must be below the upper one"),
        (["a=tag(log,interval(0,1))"], [], "must be positive"),
        (["a=interval(0,1)", "b=interval(0,2)"], ["a", "b"], "same interval"),
        (["a=tag(log,interval(1,2))", "b=tag(log,interval(1,2))"], ["a", "b"], "same interval"),
    ],
)
def test_an_invalid_space_is_rejected(overrides: list[str], monotone: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_space(*overrides, monotone=monotone)


@pytest.mark.parametrize(("old", "new"), [("trials", "n_trials"), ("at_once", "n_jobs"), ("ordered", "monotone")])
def test_an_old_argument_in_a_yaml_names_the_new_one(old: str, new: str) -> None:
    plugin = importlib.import_module("hydra_plugins.mammoseg_optuna_sweeper")
    with pytest.raises(UserError, match=f"hydra.sweeper.{old} is now called hydra.sweeper.{new}"):
        plugin.MammosegOptunaSweeper(**{old: 1})


@pytest.mark.parametrize("name", ["PatientKFold", "Official"])
def test_a_search_of_an_earlier_version_continues_only_with_its_split(name: str, tmp_path: Path) -> None:
    """The default of split.assignment has changed since; the official split has no such setting."""
    space, snake = make_space("a=interval(0,1)"), make_space("a=interval(0,1)", "split.assignment=snake")
    study = optuna.create_study()
    for _ in range(2):  # the first call stores the settings
        check_same_space(study, space, tmp_path)
    split = {"_target_": f"mammoseg.data.split.{name}"}
    record = RunRecord(settings={"split": split}, status=Status.FINISHED)
    (tmp_path / "trial-0").mkdir()
    write_record(RunFolder(tmp_path / "trial-0"), record)
    if name == "Official":
        check_same_space(study, space, tmp_path)
        return
    with pytest.raises(UserError, match=r"different split\.assignment; set split\.assignment=snake to continue"):
        check_same_space(study, space, tmp_path)
    check_same_space(study, snake, tmp_path)
    write_record(
        RunFolder(tmp_path / "trial-0"), replace(record, settings={"split": {**split, "assignment": "balanced"}})
    )
    check_same_space(study, space, tmp_path)
    with pytest.raises(UserError, match=r"different split\.assignment; choose another folder"):
        check_same_space(study, snake, tmp_path)
