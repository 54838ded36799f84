"""What became of each job of a sweep. Hydra's launchers start the jobs; nothing here schedules.

Each job leaves job.json in its folder, whichever process ran it: finished, or failed and why, or begun and never ended,
since something killed it. The sweep ends with a table of all of them, best first.
"""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mammoseg import processes
from mammoseg.errors import OccupiedError
from mammoseg.launch import distributed
from mammoseg.launch.signals import Stopped

log = logging.getLogger(__name__)

NAME = "job.json"
LAUNCHERS = ("joblib", "submitit", "ray")  # whose errors tell of a lost process
SWEEP = "MAMMOSEG_SWEEP"  # the number of the process that began the sweep
JOBLIB = "LokyProcess-"  # how its processes are named, numbered from 1
PLACES = ("root", "store", "tables", "dir", "storage", "ckpt_path", "default_root_dir")
KILLED = "did not end: killed, out of memory or time, or still at work"


@dataclass(frozen=True)
class Job:
    """`score`: what the job returned, such as its validation DSC; None if it failed. `error`: why, in one line.

    `pruned`: the epoch after which a search stopped it, since others were better.
    """

    folder: Path
    number: int
    overrides: list[str]
    seconds: float
    score: float | None
    error: str | None
    pruned: int | None = None


def run_job(main: Callable[[Any], Any], cfg: DictConfig, sentence: Callable[[BaseException], str | None]) -> Any:
    """`main(cfg)` as one job of a sweep: a failure is written down and does not stop the others.

    `sentence` tells a user's mistake in one; None for a bug, whose traceback goes to the job's log.
    Returns what main returns, NaN for a failed job. Ctrl-C stops the whole sweep.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    job = {"number": hydra.job.num, "overrides": shared(hydra.overrides.task)}
    began = time.monotonic()
    from mammoseg.runs import record  # brings torch

    if distributed.rank() > 0:
        return main(cfg)  # the first rank keeps the book
    before = folder / NAME
    kept = before.read_bytes() if before.is_file() else None
    write(folder, {**job, "seconds": 0.0, "score": None, "error": KILLED})
    at_joblib = multiprocessing.current_process().name.startswith(JOBLIB)
    if at_joblib:
        processes.die_with_parent(signal.SIGTERM, int(os.environ[SWEEP]))  # after the step in hand
        take_device(cfg)
    try:
        score = main(cfg)
        pruned = (record.read(folder) or {}).get("pruned")
    except Stopped as stopped:
        if at_joblib:
            os._exit(int(str(stopped.code)))  # joblib would go on waiting for a parent that has ended
        raise
    except Exception as error:
        told = sentence(error)
        if told is None:
            log.exception("job %s failed", hydra.job.num)
            told = f"{type(error).__name__}: {error}"
        else:
            log.error("job %s failed: %s", hydra.job.num, told)
        place = folder
        if isinstance(error, OccupiedError) and kept is not None:  # another job's record stays its own
            before.write_bytes(kept)
            place = folder.with_name(f"{folder.name}-job{hydra.job.num}")
        error_line = without_places(told.splitlines()[0], folder, cfg)
        write(place, {**job, "seconds": time.monotonic() - began, "score": None, "error": error_line})
        return handed_over(float("nan"), at_joblib)
    ended = {"seconds": time.monotonic() - began, "score": score, "error": None, "pruned": pruned}
    write(folder, {**job, **ended})
    return handed_over(score, at_joblib)


def handed_over(score: Any, at_joblib: bool) -> Any:
    if at_joblib and os.getppid() != int(os.environ[SWEEP]):
        os._exit(0)  # nobody is left to take the result, and handing it over would wait for ever
    return score


def shared(overrides: Sequence[str]) -> list[str]:
    """Without those that name the user's folders: job.json and jobs.csv may be shown to others."""
    return [one for one in overrides if one.partition("=")[0].lstrip("+~").rpartition(".")[2] not in PLACES]


def without_places(text: str, folder: Path, cfg: DictConfig) -> str:
    root = str(cfg.get("dataset", {}).get("root") or "")
    for place, name in (
        (str(folder), folder.name),
        (root, "dataset.root"),
        (os.getcwd(), "."),
        (str(Path.home()), "~"),
    ):
        if len(place) > 1:
            text = text.replace(place, name)
    return text


def take_device(cfg: DictConfig) -> None:
    """Give each of joblib's processes GPUs of its own, in turn; with more processes than GPUs some share one."""
    if cfg.get("trainer") is None or cfg.trainer.accelerator == "cpu":
        return
    number = int(multiprocessing.current_process().name.removeprefix(JOBLIB))
    if "MAMMOSEG_DEVICES" not in os.environ:  # what this process may see, before it is narrowed to its own
        every = ",".join(map(str, range(gpus())))
        os.environ["MAMMOSEG_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES") or every
    if visible := [device for device in os.environ["MAMMOSEG_DEVICES"].split(",") if device]:
        count = cfg.trainer.devices if isinstance(cfg.trainer.devices, int) else 1
        first = (number - 1) * count
        mine = [visible[(first + place) % len(visible)] for place in range(min(count, len(visible)))]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        log.info("on GPU %s", ", ".join(mine))


def gpus() -> int:
    import torch

    return torch.cuda.device_count()


def write(folder: Path, job: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{NAME}.unfinished"
    beside.write_text(json.dumps(job, indent=1) + "\n")
    os.replace(beside, folder / NAME)


def jobs(folder: Path, since: float = 0.0) -> list[Job]:
    """The jobs below `folder`, best first, whose record is not older than `since`, in seconds of time.time()."""
    records = [path for path in folder.glob(f"**/{NAME}") if path.stat().st_mtime >= since]
    return sorted((Job(path.parent, **json.loads(path.read_text())) for path in records), key=rank)


class JobTable(Callback):
    """Ends a sweep with a table of its jobs, best first, also as jobs.csv, and exit status 1 if any failed."""

    at_work: JobTable | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.folder = Path(config.hydra.sweep.dir)
        # The jobs that an earlier call of a search has finished are not run again, but belong to it.
        self.since = 0.0 if "trials" in config.hydra.sweeper else time.time()
        JobTable.at_work = self
        os.environ[SWEEP] = str(os.getpid())
        if "ray" in config.hydra.launcher:
            prepare_ray(config.hydra.launcher.ray)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        ended = jobs(self.folder, self.since)
        if ended:
            show(ended, self.folder)
            write_table(ended, self.folder / "jobs.csv")
        if any(job.error for job in ended):
            sys.exit(1)


def prepare_ray(settings: Any) -> None:
    """Ends the command where Ray would wait for ever for GPUs that this machine has not."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send statistics home
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # and leave out lines that two jobs have in common
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # and write a token into the home folder
    wanted = settings.remote.get("num_gpus") or 0
    if settings.init.get("address") is None and "RAY_ADDRESS" not in os.environ and wanted > (there := gpus()):
        print(
            f"hydra.launcher.ray.remote.num_gpus={wanted}, but this machine has {there}; set it to 0 to train on the "
            "CPU, or hydra.launcher.ray.init.address to a cluster's",
            file=sys.stderr,
        )
        sys.exit(2)  # Hydra swallows what else a callback raises


def given_up(error: Exception) -> None:
    """A launcher that loses the process of one job gives up all of them: tell what became of each, exit with 1."""
    table = JobTable.at_work
    if table is None or type(error).__module__.partition(".")[0] not in LAUNCHERS:
        return
    told = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    print(f"the launcher gave up ({told}); start the same line again, and what is missing is run", file=sys.stderr)
    table.on_multirun_end(DictConfig({}))  # exits where a job has not ended well
    sys.exit(1)


def rank(job: Job) -> tuple[bool, float, int]:
    """Best first, failures last, otherwise in the order of the sweep."""
    return job.error is not None, -(job.score or 0.0), job.number


def swept(jobs: Sequence[Job]) -> list[dict[str, str]]:
    """The overrides in which the jobs differ, one dict for each job."""
    given = [dict(override.partition("=")[::2] for override in job.overrides) for job in jobs]
    names = dict.fromkeys(name for one in given for name in one if name != "trial")  # that is the job's number
    differing = [name for name in names if len({one.get(name) for one in given}) > 1]
    return [{name: one.get(name, "") for name in differing} for one in given]


def show(jobs: Sequence[Job], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(jobs)} jobs, {sum(job.error is not None for job in jobs)} failed")
    for heading in ("job", "validation DSC", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings", ratio=3)
    table.add_column("note", ratio=2)
    for job, setting in zip(jobs, swept(jobs), strict=True):
        score = "–" if job.score is None else f"{job.score:.4f}"
        settings = " ".join(f"{name}={value}" for name, value in setting.items())
        note = job.error or (f"pruned after epoch {job.pruned}" if job.pruned else "")
        table.add_row(str(job.number), score, f"{job.seconds:.0f}", settings, note)
    console = Console()
    console.print(table)
    console.print(f"written to {folder}; a failed job's log lies in its folder", soft_wrap=True)


def write_table(jobs: Sequence[Job], path: Path) -> None:
    beside = path.with_suffix(".unfinished")
    with beside.open("w", newline="") as lines:
        settings = swept(jobs)
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("job", "folder", *settings[0], "score", "seconds", "pruned", "error"))
        for job, setting in zip(jobs, settings, strict=True):
            place = job.folder.relative_to(path.parent)
            ended = (job.score, round(job.seconds, 1), job.pruned, job.error)
            table.writerow((job.number, place, *setting.values(), *ended))
    os.replace(beside, path)
