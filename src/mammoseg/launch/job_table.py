"""Summary table of the jobs of a sweep, in the terminal and as jobs.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mammoseg.csv_cells import escape_cells
from mammoseg.files import atomic_write
from mammoseg.runs.folder import RunFolder, folders_with
from mammoseg.runs.record import RunRecord, Status, read_record_or_skip

TRIAL_NUMBER = ("trial_number", "trial")  # equal to the index of the job; "trial" in version 0.1
NOT_FINISHED = "did not finish: killed, out of memory or time, or still running"


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        folder: Run folder of the job.
        record: Content of its run.json, which must contain `job`.
    """

    folder: Path
    record: RunRecord

    @property
    def index(self) -> int:
        """Index of the job in the sweep, from 0."""
        assert self.record.job is not None
        return int(self.record.job["number"])

    @property
    def overrides(self) -> list[str]:
        """Overrides of the job, without private ones."""
        assert self.record.job is not None
        return list(self.record.job["overrides"])

    @property
    def seconds(self) -> float:
        """Duration of the last attempt in seconds."""
        assert self.record.job is not None
        return float(self.record.job["seconds"])

    @property
    def failed(self) -> bool:
        """Whether the run is neither finished nor pruned."""
        return not self.record.is_complete

    @property
    def error(self) -> str:
        """Reason for the failure; empty for a job that did not fail."""
        if not self.failed:
            return ""
        return self.record.error or ("stopped" if self.record.status is Status.STOPPED else NOT_FINISHED)

    @property
    def sort_key(self) -> tuple[bool, float, int]:
        """Key for sorting by decreasing score, then by index; failed jobs are last."""
        return self.failed, -(self.record.score or 0.0), self.index


def find_jobs(folder: Path, since: float = 0.0) -> list[Job]:
    """Find the jobs of a sweep.

    Args:
        folder: Sweep folder; subfolders are searched.
        since: Time in seconds since the epoch; only jobs whose records changed at or after it are returned.

    Returns:
        The jobs, sorted by `Job.sort_key`.
    """
    runs = [run for run in folders_with(folder, RunFolder.record.name) if run.record.stat().st_mtime >= since]
    records = [(run.path, read_record_or_skip(run)) for run in runs]
    jobs = [Job(path, record) for path, record in records if record is not None and record.job is not None]
    return sorted(jobs, key=lambda job: job.sort_key)


def varying_overrides(jobs: Sequence[Job]) -> list[dict[str, str]]:
    """Return the overrides in which jobs differ: for each job, a dict of value by setting."""
    overrides = [dict(override.partition("=")[::2] for override in job.overrides) for job in jobs]
    names = dict.fromkeys(name for values in overrides for name in values if name not in TRIAL_NUMBER)
    varying = [name for name in names if len({values.get(name) for values in overrides}) > 1]
    return [{name: values.get(name, "") for name in varying} for values in overrides]


def print_table(jobs: Sequence[Job], folder: Path) -> None:
    """Print the jobs of a sweep as a table.

    Args:
        jobs: The jobs.
        folder: Sweep folder.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(jobs)} jobs, {sum(job.failed for job in jobs)} failed")
    for heading in ("job", "validation DSC, %", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings", ratio=3)
    table.add_column("note", ratio=2)
    for job, setting in zip(jobs, varying_overrides(jobs), strict=True):
        score = "–" if job.record.score is None else f"{100 * job.record.score:.2f}"
        settings = " ".join(f"{name}={value}" for name, value in setting.items())
        note = job.error or (f"pruned after epoch {job.record.pruned}" if job.record.pruned else "")
        table.add_row(str(job.index), score, f"{job.seconds:.0f}", settings, note)
    console = Console()
    console.print(table)
    console.print(f"written to {folder}; the log of each job is in its folder", soft_wrap=True)


def write_job_table(jobs: Sequence[Job], path: Path) -> None:
    """Write the jobs of a sweep as CSV.

    Args:
        jobs: The jobs.
        path: Output file; folders of jobs are relative to its folder.
    """
    settings = varying_overrides(jobs)
    with atomic_write(path) as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("job", "folder", *settings[0], "score", "seconds", "pruned", "error"))
        for job, setting in zip(jobs, settings, strict=True):
            folder = job.folder.relative_to(path.parent)
            outcome = (job.record.score, round(job.seconds, 1), job.record.pruned, job.error)
            table.writerow(escape_cells((job.index, str(folder), *setting.values(), *outcome)))
