"""Optuna as the sweeper: it proposes settings, Hydra's launcher runs them as jobs, the study remembers.

A trial is a job of the same number. It is told to the study when its job.json says how it ended; until then, and where
the job failed, it stays open, and the next call with the same folder runs it again, in its own folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra.conf import HydraConf
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from mammoseg.errors import UserError
from mammoseg.launch.job_table import find_jobs
from mammoseg.launch.sweep import without_private_overrides
from mammoseg.runs.settings import Role, role

try:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise UserError("sweep=optuna needs Optuna; pip install '.[hpo]'") from error

log = logging.getLogger(__name__)

STUDY = "mammoseg"
# Choices of these groups only set compute and private settings, so they may differ between two calls of one search.
COMPUTE_GROUPS = ("launcher", "sweep", "logger", "trainer")

Launch = Callable[[Sequence[Sequence[str]], int], None]  # (overrides of each job, number of the first job)


@dataclass(frozen=True)
class Space:
    """`searched`: setting -> what Optuna may choose; `ordered`: those whose values shall not fall; `fixed`: the rest.

    Ordered settings are searched through independent u in [0, 1]: from the last to the first, each is u^(1/k) times
    the one after it, which makes ordered vectors uniform and leaves Optuna a box to search (order statistics;
    Devroye, Non-Uniform Random Variate Generation, 1986, ch. V.2).
    """

    searched: dict[str, BaseDistribution]
    ordered: list[str]
    fixed: list[str]

    @classmethod
    def of(cls, overrides: Iterable[Override], ordered: Sequence[str]) -> Space:
        """A later override takes the place of an earlier one of the same setting."""
        found: dict[str, Override] = {}
        for override in overrides:
            name = override.get_key_element()
            for below in [one for one in found if one == name or one.startswith(f"{name}.")]:
                del found[below]  # a whole theta takes the place of its entries
            found[name] = override
        searched = {name: distribution(one) for name, one in found.items() if one.is_sweep_override()}
        fixed = [f"{name}={one.get_value_element_as_str()}" for name, one in found.items() if name not in searched]
        if not searched:
            raise UserError("nothing to search for; give hydra.sweeper.params, or for one 'loss.alpha=interval(1,3)'")
        kept = [name for name in ordered if name in searched]  # one that was given a value is no longer searched
        if len({repr(searched[name]) for name in kept}) > 1 or not all(map(is_plain, map(searched.get, kept))):
            raise UserError(f"hydra.sweeper.ordered={kept}: these need one and the same interval(low,high)")
        return cls(searched, kept, fixed)

    @property
    def asked(self) -> dict[str, BaseDistribution]:
        """What the study is asked for."""
        unit = FloatDistribution(0.0, 1.0)
        return {name: unit if name in self.ordered else one for name, one in self.searched.items()}

    def values(self, params: dict[str, Any]) -> dict[str, Any]:
        """Setting -> value, of what the study answered."""
        values = dict(params)
        above = 1.0
        for count, name in reversed(list(enumerate(self.ordered, start=1))):
            above *= params[name] ** (1 / count)
            interval = self.searched[name]
            assert isinstance(interval, FloatDistribution)
            values[name] = interval.low + above * (interval.high - interval.low)
        # Six digits are more than a DSC can tell apart, and fewer to copy into a paper.
        return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}

    def overrides(self, params: dict[str, Any], number: int) -> list[str]:
        return [*self.fixed, *(f"{name}={value}" for name, value in self.values(params).items()), f"trial={number}"]


def is_plain(one: BaseDistribution | None) -> bool:
    return isinstance(one, FloatDistribution) and not one.log


def distribution(override: Override) -> BaseDistribution:
    """Optuna's word for Hydra's interval(), range() or list of choices."""
    value, name = override.value(), override.get_key_element()
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None
        assert high is not None
        if not low < high:
            raise UserError(f"{name}=interval({low},{high}): the first number must be the smaller one")
        if "log" in value.tags and low <= 0:
            raise UserError(f"{name}: a logarithmic interval must begin above 0, not at {low}")
        if "int" in value.tags or (isinstance(low, int) and isinstance(high, int)):
            return IntDistribution(int(low), int(high), log="log" in value.tags)
        return FloatDistribution(float(low), float(high), log="log" in value.tags)
    if isinstance(value, ChoiceSweep | RangeSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    raise UserError(f"{name}={override.get_value_element_as_str()}: not something that a search can choose from")


def search(
    space: Space,
    launch: Launch,
    hydra: HydraConf,
    *,
    trials: int,
    at_once: int,
    direction: Literal["maximize", "minimize"],
    storage: str | None,
    seed: int,
    sampler: DictConfig,
    pruner: DictConfig | None,
) -> None:
    """Run trials until the study has `trials`, first those that an earlier call left open.

    `sampler`, `pruner`: which of Optuna's. Raises UserError for settings outside what each takes.
    """
    for name, value in (("trials", trials), ("at_once", at_once)):
        if not isinstance(value, int) or (value < 1 and not (name == "at_once" and value == -1)):
            raise UserError(f"hydra.sweeper.{name}={value}, but it takes a whole number of at least 1")
    at_once = at_once if at_once > 0 else os.cpu_count() or 1  # -1 is joblib's word for all cores
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    study = open_study(hydra, direction, built(pruner, "pruner"))
    check_same(study, space, folder)
    before = study.get_trials(deepcopy=False)
    # A sampler that began with the same seed again would propose the same trials again.
    study.sampler = built(sampler, "sampler", seed=seed + len(before))
    unfinished = [trial for trial in before if not trial.state.is_finished()]
    if before:
        log.info("a search of %d trials goes on, %d of them open", len(before), len(unfinished))
    for batch in in_batches(unfinished, at_once):
        run(study, space, launch, batch, folder)
    while (left := trials - len(study.get_trials(deepcopy=False))) > 0:
        numbers = {study.ask(space.asked).number for _ in range(min(left, at_once))}
        run(study, space, launch, [one for one in study.get_trials(deepcopy=False) if one.number in numbers], folder)
    report(study, space)


def built(config: DictConfig | None, name: str, **more: Any) -> Any:
    """Raises UserError for what Optuna does not know, or not take."""
    try:
        return None if config is None else instantiate(config, **more)
    except InstantiationException as error:
        raise UserError(f"hydra.sweeper.{name}: {error.__cause__ or error}; mend hydra.sweeper.{name}.*") from error


def open_study(
    hydra: HydraConf, direction: Literal["maximize", "minimize"], pruner: optuna.pruners.BasePruner | None
) -> optuna.Study:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.create_study(
            study_name=STUDY, storage=storage_of(hydra), direction=direction, pruner=pruner, load_if_exists=True
        )
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, ImportError) as error:
        told = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the study cannot be opened ({told}); mend hydra.sweeper.storage and .direction, or move a damaged "
            "study.db out of the sweep's folder"
        ) from error


def storage_of(hydra: HydraConf) -> str:
    return hydra.sweeper.storage or f"sqlite:///{Path(hydra.sweep.dir).resolve()}/study.db"


def in_batches(trials: Sequence[FrozenTrial], size: int) -> Iterable[list[FrozenTrial]]:
    """A launcher numbers its jobs one after the other, so a batch has no gap."""
    batch: list[FrozenTrial] = []
    for trial in trials:
        if batch and (len(batch) == size or trial.number != batch[-1].number + 1):
            yield batch
            batch = []
        batch.append(trial)
    if batch:
        yield batch


def run(study: optuna.Study, space: Space, launch: Launch, trials: Sequence[FrozenTrial], folder: Path) -> None:
    """Run some trials as jobs, and tell the study how they ended."""
    overrides_of = [space.overrides(trial.params, trial.number) for trial in trials]
    launch(overrides_of, trials[0].number)
    jobs = {(job.number, *job.overrides): job for job in find_jobs(folder)}  # of other sweeps below it too
    for trial, overrides in zip(trials, overrides_of, strict=True):
        job = jobs.get((trial.number, *without_private_overrides(overrides)))
        if job is None or job.failed:
            continue  # it stays open and is run again
        if job.record.pruned:
            study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            study.tell(trial.number, job.record.score, skip_if_finished=True)


def check_same(study: optuna.Study, space: Space, folder: Path) -> None:
    """Raises UserError if the study searched something else: its results would mean something else."""
    now = {
        **{name: repr(one) for name, one in space.searched.items()},
        "hydra.sweeper.ordered": repr(space.ordered),
        # Not the values themselves, which may name the user's folders.
        **{
            name: hashlib.sha256(value.encode()).hexdigest()[:16]
            for name, _, value in (one.partition("=") for one in space.fixed)
            if name not in COMPUTE_GROUPS and role(name) not in (Role.COMPUTE, Role.PRIVATE)
        },
    }
    was = study.user_attrs.get("settings")
    if was is None:
        study.set_user_attr("settings", now)
    elif differing := sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name)):
        raise UserError(
            f"{folder}: holds a search with another {', '.join(differing)}; choose another folder "
            "(hydra.sweep.dir=...), or remove this one"
        )


def report(study: optuna.Study, space: Space) -> None:
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if ended:
        best = study.best_trial
        told = " ".join(f"{name}={value}" for name, value in space.values(best.params).items())
        log.info("best of %d trials: %.4f by trial %d, %s", len(ended), best.value, best.number, told)


def load_trial(hydra: HydraConf, number: int) -> tuple[optuna.Trial, set[int]]:
    """Load a running trial in the process that evaluates it.

    Args:
        hydra: Hydra's own settings of the job.
        number: The trial's number in the study.

    Returns:
        The trial, and the steps for which it has reported a value.

    Raises:
        UserError: If the pruner's settings are invalid.
    """
    storage = optuna.storages.get_storage(storage_of(hydra))
    study = optuna.load_study(study_name=STUDY, storage=storage, pruner=built(hydra.sweeper.pruner, "pruner"))
    trial_id = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(STUDY), number)
    return optuna.Trial(study, trial_id), set(study.get_trials(deepcopy=False)[number].intermediate_values)
