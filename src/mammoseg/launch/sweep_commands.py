"""Commands that are printed for copying at the end of a sweep: to view, compare and report its runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mammoseg.launch.job_table import Job
from mammoseg.program import shell_command, shortest_path
from mammoseg.runs.record import Status
from mammoseg.runs.settings import string_settings, varying
from mammoseg.schema.overrides import path_value


def commands_after_sweep(jobs: Sequence[Job], folder: Path) -> list[str]:
    """Return the commands that show the results of a sweep; none if no job has finished.

    Args:
        jobs: Jobs of the sweep.
        folder: Sweep folder.
    """
    finished = [job for job in jobs if job.record.status is Status.FINISHED]
    runs = f"runs={path_value(shortest_path(folder))}"
    commands = ["compare", "view", *(["sweep_report"] if varies_in_numbers(finished) else [])]
    return [shell_command(command, runs) for command in commands] if finished else []


def varies_in_numbers(jobs: Sequence[Job]) -> bool:
    """Return whether runs of one method differ in a numeric setting, as `sweep_report` requires.

    Args:
        jobs: Finished jobs.
    """
    groups: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        names = (str(job.record.run_info.get(name)) for name in ("dataset", "method"))
        groups.setdefault((*names, *sorted(string_settings(job.record.settings).items())), []).append(job)
    return any(varying([job.record.settings for job in group]) for group in groups.values())
