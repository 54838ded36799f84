"""sweep=optuna through the real command: killed, gone on with, pruned, and its report."""

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
from typing import Any

import pytest
from commands import SMALL, command, succeed

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
TINY = [*SMALL, "trainer.max_epochs=2", "logger=csv", "sweep=optuna", "hydra.sweep.dir=search"]


def trials(place: Path) -> list[Any]:
    return optuna.load_study(study_name="mammoseg", storage=f"sqlite:///{place}/search/study.db").trials


def test_a_killed_search_goes_on_with_its_open_trials(place: Path) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "mammoseg.train", *TINY, "hydra.sweeper.trials=5"],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (place / "search" / "trial-2" / "train.log").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()
    before = trials(place)
    assert not before[-1].state.is_finished()
    finished = (place / "search" / "trial-0" / "results.csv").read_bytes()
    said = succeed("train", *TINY, "hydra.sweeper.trials=5", folder=place)
    assert f"a search of {len(before)} trials goes on" in said
    assert "5 jobs, 0 failed" in said
    after = trials(place)
    assert [trial.state.name for trial in after] == ["COMPLETE"] * 5
    assert [trial.params for trial in after[: len(before)]] == [trial.params for trial in before]
    assert len({trial.params["loss.alpha"] for trial in after}) == 5, "a new start proposes nothing again"
    assert (place / "search" / "trial-0" / "results.csv").read_bytes() == finished
    for trial in after:
        run = json.loads((place / "search" / f"trial-{trial.number}" / "run.json").read_text())
        assert trial.value == run["score"]
        theta = run["settings"]["loss"]["theta"]
        assert theta == sorted(theta)
        assert 0.5 <= run["settings"]["loss"]["alpha"] <= 4
        assert trial.intermediate_values.keys() == {1, 2}
    assert str(place).encode() not in (place / "search" / "jobs.csv").read_bytes()


def test_another_search_in_the_same_folder_is_refused(place: Path) -> None:
    done = command("train", *TINY, "batch_size=2", folder=place)
    assert done.returncode == 2
    assert "holds a search with another batch_size" in done.stderr
    assert "Traceback" not in done.stderr


def test_trials_that_lag_behind_are_pruned_by_every_rank(place: Path) -> None:
    """The pruner wants a DSC that nobody has, so that the first epoch decides."""
    pruner = [
        *("~hydra.sweeper.pruner.n_startup_trials", "~hydra.sweeper.pruner.n_warmup_steps"),
        *("hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner", "+hydra.sweeper.pruner.lower=2.0"),
    ]
    two = ["trainer=ddp", "trainer.devices=2"]
    folder = place / "pruned"
    said = succeed("train", *TINY[:-1], *two, "hydra.sweep.dir=pruned", "hydra.sweeper.trials=1", *pruner, folder=place)
    assert "pruned after epoch 1" in said
    study = optuna.load_study(study_name="mammoseg", storage=f"sqlite:///{folder}/study.db")
    assert [trial.state.name for trial in study.trials] == ["PRUNED"]
    assert not (folder / "trial-0" / "results.csv").exists()


def test_the_report_ranks_by_validation(place: Path) -> None:
    said = succeed("sweep_report", "runs=search", folder=place)
    with (place / "search" / "sweep_report" / "settings.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    scores = sorted((trial.value for trial in trials(place)), reverse=True)
    assert [float(row["validation DSC"]) for row in rows] == pytest.approx([100 * score for score in scores], abs=0.006)
    assert [name for name in rows[0] if name[0] in "θαηγ"] == ["θ1", "θ2", "θ3", "θ4", "α", "η", "γ"]
    assert "5 combinations of settings in 5 runs" in said
    for name in ("report.html", "sensitivity.png", "interaction.svg"):
        assert (place / "search" / "sweep_report" / name).stat().st_size > 0
    assert command("sweep_report", "runs=nowhere", folder=place).returncode == 2


@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="needs hydra-joblib-launcher"
)
def test_a_search_in_parallel(place: Path) -> None:
    settings = ["launcher=joblib", "hydra.sweep.dir=parallel", "hydra.sweeper.trials=3", "loss.eta=1.0"]
    assert "3 jobs, 0 failed" in succeed("train", *TINY[:-1], *settings, folder=place)
    study = optuna.load_study(study_name="mammoseg", storage=f"sqlite:///{place}/parallel/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert all("loss.eta" not in trial.params for trial in study.trials)
