"""Jobs of a sweep: each job writes a record to its run folder, and the sweep ends with a summary table.

Scheduling is left to Hydra's launchers.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from typing_extensions import override

from mammoseg.errors import RunConflictError
from mammoseg.files import atomic_write_bytes
from mammoseg.launch import distributed, loky
from mammoseg.launch.gpus import count_gpus
from mammoseg.launch.job_table import find_jobs, print_table, write_job_table
from mammoseg.launch.new_folder import create_dated_folder
from mammoseg.launch.settings_check import sweep_overrides
from mammoseg.launch.signals import GracefulExit
from mammoseg.launch.sweep_commands import commands_after_sweep
from mammoseg.program import print_next_steps
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, Status, read_record, redact_paths, write_record
from mammoseg.runs.settings import is_private
from mammoseg.schema.overrides import quote

log = logging.getLogger(__name__)

SWEPT_SETTINGS = "MAMMOSEG_SWEPT_SETTINGS"  # environment variable of the jobs: settings separated by spaces
LAUNCHERS = ("joblib", "submitit", "ray")  # packages whose exceptions report a lost worker process


def run_job(main: Callable[[Any], Any], cfg: DictConfig, user_message: Callable[[BaseException], str | None]) -> Any:
    """Run `main(cfg)` as one job of a sweep. A failure is recorded and does not stop the other jobs; Ctrl-C does.

    Args:
        main: Function of the command.
        cfg: Composed config of the job.
        user_message: Function that returns the message of a user error, or None for a bug, whose traceback is logged.

    Returns:
        The return value of `main`, or NaN for a failed job.
    """
    if distributed.rank() > 0:
        return main(cfg)  # rank 0 writes the record
    hydra = HydraConfig.get()
    folder = RunFolder(Path(hydra.runtime.output_dir))
    job = {"number": hydra.job.num, "overrides": without_private_overrides(hydra.overrides.task)}
    start = time.monotonic()
    if read_record(folder) is None:
        write_record(folder, RunRecord(job={**job, "seconds": 0.0}))
    loky.init_loky_worker(cfg)
    try:
        score = main(cfg)
    except GracefulExit as error:
        loky.exit_if_loky_worker(error.status)
        raise
    except Exception as error:
        message = user_message(error)
        if message is None:
            log.exception("job %s failed", hydra.job.num)
            message = f"{type(error).__name__}: {error}"
        else:
            log.error("job %s failed: %s", hydra.job.num, message)
        line = redact_paths(message.splitlines()[0], folder.path, cfg)
        record_failure(folder, {**job, "seconds": time.monotonic() - start}, line, error)
        score = float("nan")
    else:
        record_success(folder, {**job, "seconds": time.monotonic() - start})
    return loky.return_or_exit_if_orphaned(score)


def record_success(folder: RunFolder, job: dict[str, Any]) -> None:
    """Record that a job succeeded.

    Args:
        folder: Run folder of the job.
        job: Number, overrides and seconds of the job.
    """
    record = read_record(folder) or RunRecord()
    status = Status.FINISHED if record.status is Status.RUNNING else record.status  # only `train` writes a status
    write_record(folder, replace(record, status=status, error=None, job=job))


def record_failure(folder: RunFolder, job: dict[str, Any], message: str, error: Exception) -> None:
    """Record why a job failed, in a new folder if the run folder contains a different or complete run.

    Args:
        folder: Run folder of the job.
        job: Number, overrides and seconds of the job.
        message: Error message without local paths.
        error: The exception.
    """
    record = read_record(folder) or RunRecord()
    if isinstance(error, RunConflictError) or record.is_complete:
        folder = RunFolder(folder.path.with_name(f"{folder.path.name}-job{job['number']}"))
        record = RunRecord()
    write_record(folder, replace(record, status=Status.FAILED, error=message, job=job))


def without_private_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides without private ones, which contain local paths or accounts."""
    return [override for override in overrides if not is_private(override)]


class SweepSummary(Callback):
    """Hydra callback that prints a table of the jobs, writes jobs.csv, and exits with status 1 if a job failed.

    Attributes:
        active: Instance for the sweep that runs in this process, or None.
    """

    active: SweepSummary | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Store the sweep folder, and check the resources that the launcher requires."""
        # A search includes the finished trials of previous calls.
        self.since = 0.0 if "n_trials" in config.hydra.sweeper else time.time()
        SweepSummary.active = self
        os.environ[loky.SWEEP_PID] = str(os.getpid())
        set_swept_settings(config)
        if "ray" in config.hydra.launcher:
            prepare_ray(config.hydra.launcher.ray)
        if create_dated_folder(config, "sweep") is not None:
            with read_write(config.hydra), open_dict(config.hydra):  # jobs compose their config from the overrides
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quote(config.hydra.sweep.dir)}")
        self.folder = Path(config.hydra.sweep.dir)
        self.is_training = config.hydra.job.name == "train"

    @override
    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print and write the table; exits with status 1 if a job failed."""
        hide_hydra_config(self.folder)
        jobs = find_jobs(self.folder, self.since)
        if jobs:
            print_table(jobs, self.folder)
            write_job_table(jobs, self.folder / "jobs.csv")
            if self.is_training:
                print_next_steps(commands_after_sweep(jobs, self.folder))
        if any(job.failed for job in jobs):
            sys.exit(1)


def hide_hydra_config(folder: Path) -> None:
    """Move the config of the sweep, which contains paths of this machine, to .hydra/, as in run folders.

    Args:
        folder: Sweep folder.
    """
    written = folder / "multirun.yaml"
    if written.is_file():
        atomic_write_bytes(RunFolder(folder).hydra / written.name, written.read_bytes())
        written.unlink()


def set_swept_settings(config: DictConfig) -> None:
    """Pass the names of the swept settings to the jobs, whose overrides do not tell swept from fixed settings.

    Args:
        config: Config of the sweep. Hydra applies `hydra.overrides.hydra` to every job, with any launcher.
    """
    overrides = sweep_overrides(config.hydra.job.name, config)
    swept = {parsed.get_key_element() for parsed in overrides if parsed.is_sweep_override()}
    swept |= set(config.hydra.sweeper.get("params") or {})
    names = " ".join(sorted(name.lstrip("+") for name in swept))
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{SWEPT_SETTINGS}={quote(names)}")


def prepare_ray(settings: Any) -> None:
    """Configure Ray, and exit with status 2 if it would wait indefinitely for GPUs that this machine does not have.

    Args:
        settings: The section `ray` of the launcher's config.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # otherwise Ray omits lines that several jobs print
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # otherwise Ray writes a token to the home folder
    requested = settings.remote.get("num_gpus") or 0
    local = settings.init.get("address") is None and "RAY_ADDRESS" not in os.environ
    if local and requested > (available := count_gpus()):
        print(
            f"hydra.launcher.ray.remote.num_gpus must be at most {available}, the number of GPUs of this "
            f"machine, got {requested}; set it to 0 to train on the CPU, or set hydra.launcher.ray.init.address to the "
            "address of a cluster",
            file=sys.stderr,
        )
        sys.exit(2)  # Hydra swallows other exceptions of a callback


def summarise_aborted_sweep(error: Exception) -> None:
    """If the launcher aborted the sweep because it lost a worker process, print the table and exit with status 1.

    Args:
        error: Exception that ended the command; if it has another cause, the function returns.
    """
    summary = SweepSummary.active
    if summary is None or type(error).__module__.partition(".")[0] not in LAUNCHERS:
        return
    reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    print(f"the launcher aborted ({reason}); rerun the command to resume the sweep", file=sys.stderr)
    summary.on_multirun_end(DictConfig({}))  # exits if a job failed
    sys.exit(1)
