"""Hyperparameter search with Optuna: the study proposes trials, Hydra's launcher runs them as jobs.

A trial is a job with the same number. Its result is reported to the study once its run.json has one. A trial whose job
was interrupted or failed stays open, and the next call with the same folder runs it again, in its own folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.conf import HydraConf
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from mammoseg.errors import UserError
from mammoseg.launch.job_table import find_jobs
from mammoseg.launch.search_space import SearchSpace
from mammoseg.launch.sweep import without_private_overrides
from mammoseg.runs.settings import Role, role

try:
    import optuna
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise UserError("sweep=optuna needs Optuna; pip install '.[hpo]'") from error

log = logging.getLogger(__name__)

STUDY = "mammoseg"
# Choices of these groups only set compute and private settings, so they may differ between two calls of one search.
COMPUTE_GROUPS = ("launcher", "sweep", "logger", "trainer")

Launch = Callable[[Sequence[Sequence[str]], int], None]  # (overrides of each job, number of the first job)
Direction = Literal["maximize", "minimize"]


def run_study(
    space: SearchSpace,
    launch: Launch,
    hydra: HydraConf,
    *,
    n_trials: int,
    n_jobs: int,
    direction: Direction,
    seed: int,
    sampler: DictConfig,
    pruner: DictConfig | None,
) -> None:
    """Run trials until the study has `n_trials`, beginning with those that an earlier call left open.

    Args:
        space: The search space.
        launch: Runs jobs and returns when all have ended.
        hydra: Hydra's own settings; `hydra.sweep.dir` is the folder of the study, `hydra.sweeper.storage` its storage.
        n_trials: Number of trials, including those of earlier calls.
        n_jobs: Trials that are proposed and run together; -1 for one per CPU core.
        direction: Whether the validation DSC is maximised.
        seed: Seed of the sampler.
        sampler: Config of an Optuna sampler.
        pruner: Config of an Optuna pruner, or None.

    Raises:
        UserError: If a setting is invalid, or the folder contains a study of another search space.
    """
    batch_size = check_counts(n_trials, n_jobs)
    folder = Path(hydra.sweep.dir)
    study = open_study(hydra, direction, instantiate_or_explain(pruner, "pruner"))
    check_same_space(study, space, folder)
    previous = study.get_trials(deepcopy=False)
    # With the same seed, the sampler would propose the trials of the earlier call again.
    study.sampler = instantiate_or_explain(sampler, "sampler", seed=seed + len(previous))
    for batch in consecutive_batches([trial for trial in previous if not trial.state.is_finished()], batch_size):
        run_batch(study, space, launch, batch, folder)
    while (remaining := n_trials - len(study.get_trials(deepcopy=False))) > 0:
        run_batch(study, space, launch, ask(study, space, min(remaining, batch_size)), folder)
    log_best(study, space)


def ask(study: optuna.Study, space: SearchSpace, n: int) -> list[FrozenTrial]:
    """Propose `n` new trials, in the order of their numbers."""
    numbers = {study.ask(space.optuna_space).number for _ in range(n)}
    return [trial for trial in study.get_trials(deepcopy=False) if trial.number in numbers]


def check_counts(n_trials: object, n_jobs: object) -> int:
    """The number of trials to run together.

    Raises:
        UserError: If a number is out of range.
    """
    if not isinstance(n_trials, int) or n_trials < 1:
        raise UserError(f"hydra.sweeper.n_trials must be an integer of at least 1, got {n_trials}")
    if not isinstance(n_jobs, int) or (n_jobs < 1 and n_jobs != -1):  # -1 is joblib's convention
        raise UserError(
            f"hydra.sweeper.n_jobs must be an integer of at least 1, or -1 for one per CPU core, got {n_jobs}"
        )
    return n_jobs if n_jobs > 0 else os.cpu_count() or 1


def instantiate_or_explain(config: DictConfig | None, name: str, **kwargs: Any) -> Any:
    """Instantiate the sampler or the pruner.

    Args:
        config: Its config; None returns None.
        name: Its key in `hydra.sweeper`.
        **kwargs: Further arguments.

    Raises:
        UserError: If Optuna has no such class, or rejects an argument.
    """
    try:
        return None if config is None else instantiate(config, **kwargs)
    except InstantiationException as error:
        raise UserError(f"hydra.sweeper.{name}: {error.__cause__ or error}; check hydra.sweeper.{name}.*") from error


def open_study(hydra: HydraConf, direction: Direction, pruner: optuna.pruners.BasePruner | None) -> optuna.Study:
    """Open the study in the sweep's folder, or create it.

    Raises:
        UserError: If its storage cannot be opened.
    """
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    Path(hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    try:
        return optuna.create_study(
            study_name=STUDY, storage=storage_url(hydra), direction=direction, pruner=pruner, load_if_exists=True
        )
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the study cannot be opened ({reason}); check hydra.sweeper.storage and .direction, or move a damaged "
            "study.db out of the sweep's folder"
        ) from error


def storage_url(hydra: HydraConf) -> str:
    """URL of the study's storage, by default SQLite in the sweep's folder."""
    return hydra.sweeper.storage or f"sqlite:///{Path(hydra.sweep.dir).resolve()}/study.db"


def consecutive_batches(trials: Sequence[FrozenTrial], size: int) -> Iterable[list[FrozenTrial]]:
    """Batches of at most `size` trials with consecutive numbers, because launchers number their jobs consecutively."""
    batch: list[FrozenTrial] = []
    for trial in trials:
        if batch and (len(batch) == size or trial.number != batch[-1].number + 1):
            yield batch
            batch = []
        batch.append(trial)
    if batch:
        yield batch


def run_batch(
    study: optuna.Study, space: SearchSpace, launch: Launch, trials: Sequence[FrozenTrial], folder: Path
) -> None:
    """Run trials as jobs and report their results to the study.

    Args:
        study: The study.
        space: The search space.
        launch: Runs the jobs.
        trials: Trials with consecutive numbers.
        folder: The sweep's folder, in which the jobs write their records.
    """
    overrides_per_trial = [space.overrides(trial.params, trial.number) for trial in trials]
    launch(overrides_per_trial, trials[0].number)
    jobs = {(job.number, *job.overrides): job for job in find_jobs(folder)}  # includes other sweeps in the folder
    for trial, overrides in zip(trials, overrides_per_trial, strict=True):
        job = jobs.get((trial.number, *without_private_overrides(overrides)))
        if job is None or job.failed:
            continue  # the trial stays open and is run again by the next call
        if job.record.pruned:
            study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            study.tell(trial.number, job.record.score, skip_if_finished=True)


def check_same_space(study: optuna.Study, space: SearchSpace, folder: Path) -> None:
    """Check that the study has the same search space and fixed settings; store them in a new study.

    Args:
        study: The study.
        space: The search space of this call.
        folder: The sweep's folder, for the message.

    Raises:
        UserError: If they differ, since the results of the two could not be compared.
    """
    current = {
        **{name: repr(distribution) for name, distribution in space.distributions.items()},
        "hydra.sweeper.monotone": repr(space.monotone),
        # Digests instead of values, which may contain paths of the user's machine.
        **{
            name: hashlib.sha256(value.encode()).hexdigest()[:16]
            for name, _, value in (override.partition("=") for override in space.fixed)
            if name not in COMPUTE_GROUPS and role(name) not in (Role.COMPUTE, Role.PRIVATE)
        },
    }
    stored = study.user_attrs.get("settings")
    if stored is None:
        study.set_user_attr("settings", current)
        return
    log.info("resuming a search of %d trials", len(study.get_trials(deepcopy=False)))
    previous = {_RENAMED.get(name, name): value for name, value in stored.items()}
    if differing := sorted(
        name for name in previous.keys() | current.keys() if previous.get(name) != current.get(name)
    ):
        raise UserError(
            f"{folder}: contains a search with another {', '.join(differing)}; choose another folder "
            "(hydra.sweep.dir=...), or remove this one"
        )


_RENAMED = {"hydra.sweeper.ordered": "hydra.sweeper.monotone"}  # in studies of version 0.1


def log_best(study: optuna.Study, space: SearchSpace) -> None:
    """Log the best completed trial."""
    completed = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if completed:
        best = study.best_trial
        settings = " ".join(f"{name}={value}" for name, value in space.values(best.params).items())
        log.info("best of %d trials: %.4f by trial %d, %s", len(completed), best.value, best.number, settings)


def load_trial(hydra: HydraConf, trial_number: int) -> tuple[optuna.Trial, set[int]]:
    """Load a running trial in the process that evaluates it.

    Args:
        hydra: Hydra's own settings of the job.
        trial_number: The trial's number in the study.

    Returns:
        The trial, and the steps for which it has reported a value.

    Raises:
        UserError: If the pruner's settings are invalid.
    """
    storage = optuna.storages.get_storage(storage_url(hydra))
    pruner = instantiate_or_explain(hydra.sweeper.pruner, "pruner")
    study = optuna.load_study(study_name=STUDY, storage=storage, pruner=pruner)
    study_id = storage.get_study_id_from_name(STUDY)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial_number)
    return optuna.Trial(study, trial_id), set(study.get_trials(deepcopy=False)[trial_number].intermediate_values)
