"""Sweeps with the command: failed jobs, resuming after kill -9, and the summary table."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from helpers.commands import SMALL, TIMEOUT_S, has_trained, run, run_process, start, succeed, wait_until
from helpers.kill_points import ALL_KILL_POINTS, runs_kill_points
from mammoseg.runs import results

TINY = [*SMALL, "trainer.max_epochs=1", "logger=csv"]
JOBLIB = importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is not None
needs_joblib = pytest.mark.skipif(not JOBLIB, reason="hydra-joblib-launcher is not installed")


def test_a_failed_job_is_reported_and_stops_no_other(workdir: Path) -> None:
    completed = run(
        *("train", "-m", *TINY, "hydra.sweep.dir=multirun/failing", "split.folds=5,900,4", "loss.alpha=1.0"),
        folder=workdir,
    )
    assert completed.returncode == 1, completed.stderr
    assert "3 jobs, 1 failed" in completed.stdout
    assert "split.folds=900" in completed.stdout
    folder = workdir / "multirun" / "failing"
    with (folder / "jobs.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["split.folds"] for row in rows[2:]] == ["900"], "failures come last"
    assert float(rows[0]["score"]) >= float(rows[1]["score"]), "best first"
    assert "split.folds" in rows[2]["error"]
    assert [(folder / job / "results.csv").is_file() for job in "012"] == [True, False, True]
    assert str(workdir) not in (folder / "jobs.csv").read_text()


def test_the_folders_of_a_theta_sweep_contain_its_settings(workdir: Path) -> None:
    grid = ["loss.theta=[0.0,0.0,1.0,1.0],[1.0,1.0,1.0,1.0]", "loss.alpha=1.0,2.0"]
    output = succeed("train", *TINY, "sweep=theta", *grid, folder=workdir)
    assert "4 jobs, 0 failed" in output
    printed = [line.split() for line in output.splitlines() if line.startswith("  mammoseg ")]
    assert [(name, runs) for _, name, runs in printed] == [
        (name, "runs=multirun/theta-phantom") for name in ("compare", "view", "sweep_report")
    ]
    succeed("sweep_report", printed[-1][-1], folder=workdir)
    folder = workdir / "multirun" / "theta-phantom"
    names = sorted(path.parent.name for path in folder.glob("*/results.csv"))
    thetas = ("0.0-0.0-1.0-1.0", "1.0-1.0-1.0-1.0")
    assert names == [f"theta-{theta}-alpha-{alpha}-fold0-seed0" for theta in thetas for alpha in ("1.0", "2.0")]
    run_names = {str(results.read_results(path)[0]["run"]) for path in folder.glob("*/results.csv")}
    assert len(run_names) == 4
    assert all("theta=[" in name and "alpha=" in name for name in run_names)
    succeed("train", *TINY, "sweep=theta", *grid, folder=workdir)
    for path in folder.glob("*/train.log"):
        assert "already finished, skipping" in path.read_text()
        assert str(workdir) not in path.read_text()
    succeed("compare", f"runs={folder}", "resamples=200", folder=workdir)
    assert (folder / "comparison" / "sweep.png").is_file()


def loky_workers(parent: subprocess.Popen[str]) -> list[int]:
    """Process ids of joblib's workers."""
    result = subprocess.run(
        ["pgrep", "-f", "LokyProcess", "-P", str(parent.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in result.stdout.split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for has no command line."""
    command_line = Path(f"/proc/{pid}/cmdline")
    return command_line.exists() and command_line.read_bytes() != b""


def have_exited(pids: list[int]) -> bool:
    return not any(map(is_alive, pids))


def has_results(folder: Path, n_jobs: int) -> bool:
    return len(list(folder.glob("*/results.csv"))) >= n_jobs


def test_two_jobs_with_one_folder_keep_the_record_of_the_first(workdir: Path) -> None:
    """The folders of sweep=alpha are named by theta, alpha, fold and seed, so two values of eta share one."""
    folder = workdir / "multirun" / "shared"
    grid = ["loss.alpha=1.0", "loss.eta=1.0,2.0", f"hydra.sweep.dir={folder}"]
    completed = run("train", *TINY, "sweep=alpha", *grid, folder=workdir)
    assert completed.returncode == 1
    assert "2 jobs, 1 failed" in completed.stdout
    with (folder / "jobs.csv").open() as lines:
        first, second = csv.DictReader(lines)
    assert float(first["score"]) >= 0
    assert "loss.eta=1.0, not 2.0" in second["error"]
    assert not [path for path in folder.rglob("job*") if path.is_file() and str(workdir) in path.read_text()]
    assert (folder / ".hydra" / "multirun.yaml").is_file()
    public = [path for path in folder.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    assert not [path for path in public if str(workdir).encode() in path.read_bytes()]


@needs_joblib
def test_parallel_jobs_survive_kill_9_of_their_parent(workdir: Path) -> None:
    """Only the parent is killed; its workers must notice. `make fuzz` kills the resumed sweep, too, in a larger one."""
    n_jobs, n_kills = (8, 2) if ALL_KILL_POINTS else (3, 1)
    sweep = f"seed=range({n_jobs})"
    arguments = ["-m", *TINY, "launcher=joblib", "hydra.sweep.dir=multirun/parallel", sweep, "loss.alpha=1.0"]
    folder = workdir / "multirun" / "parallel"
    finished: dict[Path, bytes] = {}
    for kill in range(n_kills):
        started = start("train", *arguments, folder=workdir, log=workdir / "sweep.log")
        n_finished = 1 + 2 * kill
        wait_until(partial(has_results, folder, n_finished), started, timeout_s=300 + 30 * n_jobs)
        workers = loky_workers(started)
        started.send_signal(signal.SIGKILL)
        wait_until(partial(have_exited, workers))  # after the current step
        started.wait()
        for path, content in finished.items():
            assert path.read_bytes() == content
        finished = {path: path.read_bytes() for path in folder.glob("*/results.csv")}
        assert len(finished) >= n_finished
    completed = run_process("train", *arguments, folder=workdir)
    assert completed.returncode == 0, completed.stderr
    assert f"{n_jobs} jobs, 0 failed" in completed.stdout
    tables = [results.read_results(folder / str(job) / "results.csv") for job in range(n_jobs)]
    assert [{row["seed"] for row in table} for table in tables] == [{str(job)} for job in range(n_jobs)]
    assert len({tuple(row["case"] for row in table) for table in tables}) == 1, "seeds share the split"
    runs = [json.loads((folder / str(job) / "run.json").read_text()) for job in range(n_jobs)]
    assert [run["settings"]["seed"] for run in runs] == list(range(n_jobs))
    assert all("score" in run for run in runs)
    for path, content in finished.items():
        assert path.read_bytes() == content


@needs_joblib
@runs_kill_points
def test_a_lost_worker_aborts_the_sweep_with_a_table(workdir: Path) -> None:
    """Both jobs first open a store that does not exist yet, each with its own worker processes."""
    arguments = [*TINY, "launcher=joblib", "hydra.sweep.dir=multirun/lost", "trainer.max_epochs=200", "split.fold=0,1"]
    folder = workdir / "multirun" / "lost"
    started = start("train", "-m", *arguments, "dataset.source.cases=40", "dataset.workers=2", folder=workdir)
    wait_until(lambda: all(has_trained(folder / job, 2) for job in ("0", "1")), started)
    os.kill(loky_workers(started)[0], signal.SIGKILL)  # as the kernel does when memory runs out
    out, error = started.communicate(timeout=TIMEOUT_S)
    assert started.returncode == 1
    assert "aborted" in error
    assert "Traceback" not in error
    assert "2 jobs, 2 failed" in out
