"""Search space of an Optuna study, defined by overrides in Hydra's grammar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from mammoseg.errors import UserError
from mammoseg.runs.settings import covers

try:
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
except ImportError as error:
    raise UserError("sweep=optuna requires Optuna; pip install '.[hpo]'") from error


@dataclass(frozen=True)
class SearchSpace:
    """Settings to search, and settings that are constant.

    The values of n monotone settings are computed from independent u_k in [0, 1] that Optuna samples: x_n = u_n^(1/n)
    and x_k = u_k^(1/k) x_(k+1), scaled to the interval. For uniform u, the vector x is uniformly distributed over the
    non-decreasing vectors.

    Attributes:
        distributions: Distribution of each searched setting.
        monotone: Searched settings whose values must be non-decreasing in this order.
        fixed: Overrides of all other settings.

    Source:
        Order statistics: Devroye, Non-Uniform Random Variate Generation, 1986, chapter V.2.
    """

    distributions: dict[str, BaseDistribution]
    monotone: list[str]
    fixed: list[str]

    @classmethod
    def from_overrides(cls, overrides: Iterable[Override], monotone: Sequence[str]) -> SearchSpace:
        """Build the search space from parsed overrides.

        Args:
            overrides: Settings with a sweep override are searched, others are constant. A later override of a setting
                replaces an earlier one.
            monotone: Settings whose values must be non-decreasing in this order; those not searched are ignored.

        Raises:
            UserError: If nothing is searched, a distribution is invalid, or the monotone settings differ in interval.
        """
        by_name: dict[str, Override] = {}
        for override in overrides:
            name = override.get_key_element()
            sections = (name, "theta") if name == "loss.theta" else (name,)  # a vector replaces its elements
            for replaced in [other for other in by_name if any(covers(section, other) for section in sections)]:
                del by_name[replaced]
            by_name[name] = override
        distributions = {
            name: to_distribution(override) for name, override in by_name.items() if override.is_sweep_override()
        }
        fixed = [
            f"{name}={override.get_value_element_as_str()}"
            for name, override in by_name.items()
            if name not in distributions
        ]
        if not distributions:
            raise UserError(
                "the search space is empty; set hydra.sweeper.params, or for example 'loss.alpha=interval(1,3)'"
            )
        searched = [name for name in monotone if name in distributions]
        intervals = [distributions[name] for name in searched]
        if len(set(map(repr, intervals))) > 1 or not all(map(_is_linear_float, intervals)):
            raise UserError(f"hydra.sweeper.monotone: {', '.join(searched)} must have the same interval(low,high)")
        return cls(distributions, searched, fixed)

    @property
    def optuna_space(self) -> dict[str, BaseDistribution]:
        """Distributions from which Optuna samples; monotone settings are sampled from the unit interval."""
        unit = FloatDistribution(0.0, 1.0)
        return {name: unit if name in self.monotone else value for name, value in self.distributions.items()}

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the values of the searched settings.

        Args:
            params: Sample of `optuna_space`.
        """
        values = dict(params)
        upper = 1.0
        for k, name in reversed(list(enumerate(self.monotone, start=1))):
            upper *= params[name] ** (1 / k)
            interval = self.distributions[name]
            assert isinstance(interval, FloatDistribution)
            values[name] = interval.low + upper * (interval.high - interval.low)
        # Six significant digits are sufficient, and short enough for tables.
        return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}

    def overrides(self, params: Mapping[str, Any], trial_number: int) -> list[str]:
        """Return the overrides of the job of a trial.

        Args:
            params: Sample of `optuna_space`.
            trial_number: Number of the trial.
        """
        searched = [f"{name}={value}" for name, value in self.values(params).items()]
        return [*self.fixed, *searched, f"trial_number={trial_number}"]


def _is_linear_float(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, FloatDistribution) and not distribution.log


def to_distribution(override: Override) -> BaseDistribution:
    """Convert a sweep override to a distribution of Optuna.

    Args:
        override: Override with an interval, a range or a list of choices.

    Raises:
        UserError: If the interval is empty or its logarithm is undefined, or for any other value.
    """
    value, name = override.value(), override.get_key_element()
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None
        assert high is not None
        if not low < high:
            raise UserError(f"{name}: the lower bound of an interval must be below the upper one, got ({low},{high})")
        if "log" in value.tags and low <= 0:
            raise UserError(f"{name}: the lower bound of a logarithmic interval must be positive, got {low}")
        if "int" in value.tags or (isinstance(low, int) and isinstance(high, int)):
            return IntDistribution(int(low), int(high), log="log" in value.tags)
        return FloatDistribution(float(low), float(high), log="log" in value.tags)
    if isinstance(value, ChoiceSweep | RangeSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    raise UserError(
        f"{name} must be an interval, a range or a list of choices, got {override.get_value_element_as_str()}"
    )
