"""Commands that are printed at the end of a sweep."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from mammoseg.launch.job_table import Job
from mammoseg.launch.sweep_commands import commands_after_sweep
from mammoseg.runs.record import RunRecord, Status


def job(number: int, method: str = "au_net", status: Status = Status.FINISHED, **loss: Any) -> Job:
    settings = {"loss": {"_target_": method, "alpha": 1.0, **loss}, "seed": number}
    record = RunRecord(
        run_info={"dataset": "phantom", "method": method},
        settings=settings,
        status=status,
        job={"number": number, "overrides": [], "seconds": 1.0},
    )
    return Job(Path(str(number)), record)


def commands(jobs: list[Job], folder: Path) -> list[str]:
    parsed = [shlex.split(command) for command in commands_after_sweep(jobs, folder)]
    assert all(arguments == ["mammoseg", arguments[1], 'runs="a sweep"'] for arguments in parsed)
    return [arguments[1] for arguments in parsed]


def test_the_report_of_a_sweep_needs_runs_of_one_method_with_different_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a sweep"
    assert commands([job(0), job(1)], folder) == ["compare", "view"]
    assert commands([job(0), job(1, "density_asp", alpha=2.0)], folder) == ["compare", "view"]
    assert commands([job(0), job(1, alpha=2.0)], folder) == ["compare", "view", "sweep_report"]
    assert commands([job(0), job(1, pool="max")], folder) == ["compare", "view"]
    assert commands([job(0), job(1, theta=[0.5, 1.0]), job(2, theta=[1.0, 1.0])], folder)[-1] == "sweep_report"


def test_unfinished_jobs_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a sweep"
    assert commands([job(0), job(1, status=Status.FAILED, alpha=2.0)], folder) == ["compare", "view"]
    assert commands([job(0, status=Status.FAILED)], folder) == []
