"""Hyperparameter search with Optuna: a study proposes trials, and Hydra's launcher runs them as jobs.

A trial and its job have the same number. The score in run.json is reported to the study. A trial whose job was
interrupted or failed remains unfinished, and the next call with the same sweep folder reruns it in the same run folder.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sqlite3
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
from mammoseg.runs.folder import RunFolder, folders_with
from mammoseg.runs.record import read_record_or_skip
from mammoseg.runs.settings import Role, flatten, role
from mammoseg.schema.renamed import earlier_defaults

try:
    import optuna
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise UserError("sweep=optuna requires Optuna; pip install '.[hpo]'") from error

log = logging.getLogger(__name__)

STUDY = "mammoseg"
# The choices of these groups contain only compute and private settings, so they may differ between calls of a search.
COMPUTE_GROUPS = ("launcher", "sweep", "logger", "trainer")

Launch = Callable[[Sequence[Sequence[str]], int], None]  # arguments: overrides of each job, number of the first job
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
    """Run trials until the study contains `n_trials`, beginning with the unfinished trials of previous calls.

    Args:
        space: Search space.
        launch: Function that runs jobs and waits for them.
        hydra: Hydra's own settings; `hydra.sweep.dir` is the sweep folder, `hydra.sweeper.storage` the storage.
        n_trials: Number of trials, including those of previous calls.
        n_jobs: Number of trials that are proposed and run together; -1 for one per CPU core.
        direction: Whether to maximise or minimise the validation DSC.
        seed: Random seed of the sampler.
        sampler: Config of an Optuna sampler.
        pruner: Config of an Optuna pruner, or None.

    Raises:
        UserError: If a setting is invalid, or the sweep folder contains a search with different settings.
    """
    batch_size = check_counts(n_trials, n_jobs)
    folder = Path(hydra.sweep.dir)
    study = open_study(hydra, direction, instantiate_or_explain(pruner, "pruner"))
    check_same_space(study, space, folder)
    previous = study.get_trials(deepcopy=False)
    # With the same seed, the sampler would repeat the trials of the previous call.
    study.sampler = instantiate_or_explain(sampler, "sampler", seed=seed + len(previous))
    for batch in consecutive_batches([trial for trial in previous if not trial.state.is_finished()], batch_size):
        run_batch(study, space, launch, batch, folder)
    while (remaining := n_trials - len(study.get_trials(deepcopy=False))) > 0:
        run_batch(study, space, launch, ask(study, space, min(remaining, batch_size)), folder)
    log_best(study, space)


def ask(study: optuna.Study, space: SearchSpace, n: int) -> list[FrozenTrial]:
    """Propose `n` new trials; returns them in the order of their numbers."""
    numbers = {study.ask(space.optuna_space).number for _ in range(n)}
    return [trial for trial in study.get_trials(deepcopy=False) if trial.number in numbers]


def check_counts(n_trials: object, n_jobs: object) -> int:
    """Validate `n_trials` and `n_jobs`.

    Returns:
        The number of trials to run together.

    Raises:
        UserError: If a number is out of range.
    """
    if not isinstance(n_trials, int) or n_trials < 1:
        raise UserError(f"hydra.sweeper.n_trials must be an integer of at least 1, got {n_trials}")
    if not isinstance(n_jobs, int) or (n_jobs < 1 and n_jobs != -1):  # -1 as in joblib
        raise UserError(
            f"hydra.sweeper.n_jobs must be an integer of at least 1, or -1 for one per CPU core, got {n_jobs}"
        )
    return n_jobs if n_jobs > 0 else os.cpu_count() or 1


def instantiate_or_explain(config: DictConfig | None, name: str, **kwargs: Any) -> Any:
    """Instantiate the sampler or the pruner.

    Args:
        config: Config of the object, or None.
        name: Key of the config in `hydra.sweeper`, for error messages.
        **kwargs: Additional arguments.

    Returns:
        The object, or None without a config.

    Raises:
        UserError: If the class does not exist or rejects an argument.
    """
    try:
        return None if config is None else instantiate(config, **kwargs)
    except InstantiationException as error:
        raise UserError(
            f"hydra.sweeper.{name}: {error.__cause__ or error}; correct the hydra.sweeper.{name}.* settings"
        ) from error


def open_study(hydra: HydraConf, direction: Direction, pruner: optuna.pruners.BasePruner | None) -> optuna.Study:
    """Open or create the study.

    Args:
        hydra: Hydra's own settings.
        direction: Direction of the optimisation.
        pruner: Pruner, or None.

    Raises:
        UserError: If the storage cannot be opened.
    """
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    Path(hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    try:
        return optuna.create_study(
            study_name=STUDY, storage=study_storage(hydra), direction=direction, pruner=pruner, load_if_exists=True
        )
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the study cannot be opened ({reason}); check hydra.sweeper.storage and hydra.sweeper.direction, or "
            "remove a damaged study.db from the sweep folder"
        ) from error


def study_storage(hydra: HydraConf) -> optuna.storages.BaseStorage:
    """Open the storage, by default the SQLite file study.db in the sweep folder."""
    if hydra.sweeper.storage:
        return optuna.storages.get_storage(str(hydra.sweeper.storage))
    path = Path(hydra.sweep.dir).resolve() / "study.db"
    # The path is not part of a URL, in which "?", "#" and "%" have another meaning.
    connect = functools.partial(sqlite3.connect, path, check_same_thread=False)
    return optuna.storages.get_storage(optuna.storages.RDBStorage("sqlite:///study.db", {"creator": connect}))


def consecutive_batches(trials: Sequence[FrozenTrial], size: int) -> Iterable[list[FrozenTrial]]:
    """Divide trials into batches of consecutive numbers, since launchers number their jobs consecutively.

    Args:
        trials: Trials in the order of their numbers.
        size: Maximum size of a batch.
    """
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
        space: Search space.
        launch: Function that runs jobs and waits for them.
        trials: Trials with consecutive numbers.
        folder: Sweep folder, which contains the run folders of the jobs.
    """
    overrides_per_trial = [space.overrides(trial.params, trial.number) for trial in trials]
    launch(overrides_per_trial, trials[0].number)
    jobs = {(job.index, *job.overrides): job for job in find_jobs(folder)}  # may include other sweeps
    for trial, overrides in zip(trials, overrides_per_trial, strict=True):
        job = jobs.get((trial.number, *without_private_overrides(overrides)))
        if job is None or job.failed or job.record.score is None:
            continue  # the trial remains unfinished, and the next call reruns it
        if job.record.pruned:
            study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            study.tell(trial.number, job.record.score, skip_if_finished=True)


def check_same_space(study: optuna.Study, space: SearchSpace, folder: Path) -> None:
    """Check that search space and constant settings are those of the study; a new study stores them.

    Args:
        study: The study.
        space: Search space of this call.
        folder: Sweep folder, for error messages.

    Raises:
        UserError: If they differ, so that the results of the trials are not comparable.
    """
    current = {
        **{name: repr(distribution) for name, distribution in space.distributions.items()},
        "hydra.sweeper.monotone": repr(space.monotone),
        **{
            name: short_digest(value)
            for name, _, value in (override.partition("=") for override in space.fixed)
            if name not in COMPUTE_GROUPS and role(name) not in (Role.COMPUTE, Role.PRIVATE)
        },
    }
    stored = study.user_attrs.get("settings")
    if stored is None:
        study.set_user_attr("settings", current)
        return
    log.info("resuming a search with %d trials", len(study.get_trials(deepcopy=False)))
    earlier = earlier_defaults_of_trials(folder)
    defaults = {name: short_digest(value) for name, value in earlier.items()}
    previous = {**defaults, **{_RENAMED.get(name, name): value for name, value in stored.items()}}
    if differing := sorted(
        name for name in previous.keys() | current.keys() if previous.get(name) != current.get(name)
    ):
        settings = " ".join(f"{name}={earlier[name]}" for name in differing if name in earlier)
        remedy = f"set {settings} to continue this search of an earlier version, " if settings else ""
        raise UserError(
            f"{folder}: contains a search with different {', '.join(differing)}; {remedy}choose another folder "
            "(hydra.sweep.dir=...), or delete this one"
        )


def earlier_defaults_of_trials(folder: Path) -> dict[str, str]:
    """Return the settings of the trials in a sweep folder whose default has changed since, with the earlier default."""
    for run in folders_with(folder, RunFolder.record.name):
        record = read_record_or_skip(run)
        if record is not None and record.settings:
            return earlier_defaults(dict(flatten(record.settings)))
    return {}


def short_digest(value: str) -> str:
    """Return a hash of a value, which may contain a local path."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


_RENAMED = {"hydra.sweeper.ordered": "hydra.sweeper.monotone"}  # in studies of version 0.1


def log_best(study: optuna.Study, space: SearchSpace) -> None:
    """Log the best completed trial."""
    completed = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if completed:
        best = study.best_trial
        settings = " ".join(f"{name}={value}" for name, value in space.values(best.params).items())
        dsc = 100 * float(best.value or 0.0)
        log.info("best of %d trials: DSC %.2f %% by trial %d, %s", len(completed), dsc, best.number, settings)


def load_trial(hydra: HydraConf, trial_number: int) -> tuple[optuna.Trial, set[int]]:
    """Load a running trial in the process of its job.

    Args:
        hydra: Hydra's own settings of the job.
        trial_number: Number of the trial.

    Returns:
        The trial, and the steps for which it has already reported a value.

    Raises:
        UserError: If the settings of the pruner are invalid.
    """
    storage = study_storage(hydra)
    pruner = instantiate_or_explain(hydra.sweeper.pruner, "pruner")
    study = optuna.load_study(study_name=STUDY, storage=storage, pruner=pruner)
    study_id = storage.get_study_id_from_name(STUDY)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial_number)
    return optuna.Trial(study, trial_id), set(study.get_trials(deepcopy=False)[trial_number].intermediate_values)
