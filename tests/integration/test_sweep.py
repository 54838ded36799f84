"""Sweeps through the real command: failures stop nothing, what is finished stays, kill -9 loses nothing."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import SMALL, command, succeed

from mammoseg.runs import results

TINY = [*SMALL, "trainer.max_epochs=1", "logger=csv"]
JOBLIB = importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is not None
needs_joblib = pytest.mark.skipif(not JOBLIB, reason="hydra-joblib-launcher is not installed")


def test_a_failed_job_stops_no_other_and_is_told(place: Path) -> None:
    done = command(
        *("train", "-m", *TINY, "hydra.sweep.dir=multirun/failing", "split.fold=0,9,1", "loss.alpha=1.0"), folder=place
    )
    assert done.returncode == 1, done.stderr
    assert "3 jobs, 1 failed" in done.stdout
    assert "split.fold=9" in done.stdout
    folder = place / "multirun" / "failing"
    with (folder / "jobs.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["split.fold"] for row in rows[2:]] == ["9"], "failures come last"
    assert float(rows[0]["score"]) >= float(rows[1]["score"]), "best first"
    assert "split.fold must be between 0 and 4" in rows[2]["error"]
    assert [(folder / job / "results.csv").is_file() for job in "012"] == [True, False, True]
    assert str(place) not in (folder / "jobs.csv").read_text()


def test_a_sweep_over_theta_names_its_folders_by_what_it_sweeps(place: Path) -> None:
    grid = ["loss.theta=[0.0,0.0,1.0,1.0],[1.0,1.0,1.0,1.0]", "loss.alpha=1.0,2.0"]
    assert "4 jobs, 0 failed" in succeed("train", *TINY, "sweep=theta", *grid, folder=place)
    folder = place / "multirun" / "theta-phantom"
    names = sorted(path.parent.name for path in folder.glob("*/results.csv"))
    thetas = ("0.0-0.0-1.0-1.0", "1.0-1.0-1.0-1.0")
    assert names == [f"theta-{theta}-alpha-{alpha}-fold0-seed0" for theta in thetas for alpha in ("1.0", "2.0")]
    succeed("compare", f"runs={folder}", "resamples=200", folder=place)
    assert (folder / "comparison" / "sweep.png").is_file()


def children(parent: subprocess.Popen) -> list[int]:
    """Joblib's processes that work for it."""
    found = subprocess.run(
        ["pgrep", "-f", "LokyProcess", "-P", str(parent.pid)], capture_output=True, text=True, check=False
    )
    return [int(number) for number in found.stdout.split()]


def alive(process: int) -> bool:
    """A process that has ended and was not yet waited for has no command line any more."""
    command_line = Path(f"/proc/{process}/cmdline")
    return command_line.exists() and command_line.read_bytes() != b""


def test_two_jobs_of_one_folder_keep_the_record_of_the_first(place: Path) -> None:
    """A named sweep's folders carry theta, alpha, fold and seed, so that eta makes two of one."""
    secret = place / "multirun" / "one"
    grid = ["loss.alpha=1.0", "loss.eta=1.0,2.0", f"hydra.sweep.dir={secret}"]
    done = command("train", *TINY, "sweep=alpha", *grid, folder=place)
    assert done.returncode == 1
    assert "2 jobs, 1 failed" in done.stdout
    with (secret / "jobs.csv").open() as lines:
        first, second = csv.DictReader(lines)
    assert float(first["score"]) >= 0
    assert "holds a run with loss.eta=1.0, not 2.0" in second["error"]
    assert not [path for path in secret.rglob("job*") if path.is_file() and str(place) in path.read_text()]


@needs_joblib
def test_parallel_jobs_prepare_their_data_themselves(place: Path) -> None:
    """Two processes start on one store that is not there yet, each with processes of its own."""
    folder = place / "multirun" / "unprepared"
    arguments = [*TINY, "launcher=joblib", f"hydra.sweep.dir={folder}", "dataset.source.cases=40", "dataset.workers=2"]
    assert "2 jobs, 0 failed" in succeed("train", "-m", *arguments, "split.fold=0,1", folder=place)


@needs_joblib
def test_parallel_jobs_survive_two_kill_9_of_their_parent(place: Path) -> None:
    """JOBS=50 for a sweep of some size. The parent alone is killed, and its processes find out by themselves."""
    number = int(os.environ.get("JOBS", 4))
    swept = f"seed=range({number})"
    arguments = ["-m", *TINY, "launcher=joblib", "hydra.sweep.dir=multirun/parallel", swept, "loss.alpha=1.0"]
    folder = place / "multirun" / "parallel"
    finished: dict[Path, bytes] = {}
    for share in (1, 2):
        started = subprocess.Popen(
            [sys.executable, "-m", "mammoseg.train", *arguments],
            cwd=place,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120 + 5 * number
        while len(list(folder.glob("*/results.csv"))) < share * number // 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = children(started)
        started.send_signal(signal.SIGKILL)
        started.wait()
        ends = time.monotonic() + 20
        while any(map(alive, workers)) and time.monotonic() < ends:
            time.sleep(0.05)
        assert not any(map(alive, workers)), "they end with it, after the step in hand"
        for path, before in finished.items():
            assert path.read_bytes() == before
        finished = {path: path.read_bytes() for path in folder.glob("*/results.csv")}
        assert len(finished) >= share * number // 4
    assert f"{number} jobs, 0 failed" in succeed("train", *arguments, folder=place)
    tables = [results.read_results(folder / str(job) / "results.csv") for job in range(number)]
    assert [{row["seed"] for row in table} for table in tables] == [{str(job)} for job in range(number)]
    assert len({tuple(row["case"] for row in table) for table in tables}) == 1, "seeds share the split"
    runs = [json.loads((folder / str(job) / "run.json").read_text()) for job in range(number)]
    assert [run["settings"]["seed"] for run in runs] == list(range(number))
    assert all("score" in run for run in runs)
    for path, before in finished.items():
        assert path.read_bytes() == before


@needs_joblib
def test_a_lost_process_ends_in_the_table_and_the_next_call_goes_on(place: Path) -> None:
    arguments = [*TINY, "launcher=joblib", "hydra.sweep.dir=multirun/lost", "trainer.max_epochs=200", "seed=0,1"]
    folder = place / "multirun" / "lost"
    started = subprocess.Popen(
        [sys.executable, "-m", "mammoseg.train", "-m", *arguments],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = folder / "0" / "train.log"
    deadline = time.monotonic() + 120
    while not (log.is_file() and "epoch 2/" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(children(started)[0], signal.SIGKILL)  # as a machine without memory does
    out, error = started.communicate(timeout=60)
    assert started.returncode == 1
    assert "the launcher aborted" in error
    assert "Traceback" not in error
    assert "2 jobs, 2 failed" in out
