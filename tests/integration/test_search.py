"""sweep=optuna with the command: resuming, pruning, parallel trials and the report."""

from __future__ import annotations

import csv
import importlib.util
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import SMALL, run, run_process, start, succeed, wait_until
from helpers.kill_points import runs_kill_points

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
TINY = [*SMALL, "trainer.max_epochs=2", "logger=csv", "sweep=optuna", "hydra.sweep.dir=search"]


def load_trials(workdir: Path) -> list[Any]:
    return list(optuna.load_study(study_name="mammoseg", storage=f"sqlite:///{workdir}/search/study.db").trials)


def test_a_killed_search_resumes_with_its_unfinished_trials(workdir: Path) -> None:
    started = start("train", *TINY, "hydra.sweeper.n_trials=5", folder=workdir)
    wait_until((workdir / "search" / "trial-2" / "train.log").is_file, started)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    previous = load_trials(workdir)
    assert not previous[-1].state.is_finished()
    finished = (workdir / "search" / "trial-0" / "results.csv").read_bytes()
    output = succeed("train", *TINY, "hydra.sweeper.n_trials=5", folder=workdir)
    assert f"resuming a search with {len(previous)} trials" in output
    assert "5 jobs, 0 failed" in output
    trials = load_trials(workdir)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5
    assert [trial.params for trial in trials[: len(previous)]] == [trial.params for trial in previous]
    assert len({trial.params["loss.alpha"] for trial in trials}) == 5, "the resumed sampler repeats no proposal"
    assert (workdir / "search" / "trial-0" / "results.csv").read_bytes() == finished
    for trial in trials:
        record = json.loads((workdir / "search" / f"trial-{trial.number}" / "run.json").read_text())
        assert trial.value == record["score"]
        theta = record["settings"]["loss"]["theta"]
        assert theta == sorted(theta)
        assert 0.5 <= record["settings"]["loss"]["alpha"] <= 4
        assert trial.intermediate_values.keys() == {1, 2}
    assert str(workdir).encode() not in (workdir / "search" / "jobs.csv").read_bytes()


def test_a_different_search_in_the_same_folder_is_rejected(workdir: Path) -> None:
    completed = run("train", *TINY, "batch_size=2", folder=workdir)
    assert completed.returncode == 2
    assert "batch_size" in completed.stderr


@runs_kill_points
def test_pruning_stops_every_rank(workdir: Path) -> None:
    """The threshold is above any DSC, so the trial is pruned after its first epoch."""
    pruner = [
        *("~hydra.sweeper.pruner.n_startup_trials", "~hydra.sweeper.pruner.n_warmup_steps"),
        *("hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner", "+hydra.sweeper.pruner.lower=2.0"),
    ]
    folder = workdir / "pruned"
    search = [*TINY[:-1], "trainer=ddp", "trainer.devices=2", "hydra.sweep.dir=pruned", "hydra.sweeper.n_trials=1"]
    completed = run_process("train", *search, *pruner, folder=workdir)
    assert completed.returncode == 0, completed.stderr
    assert "pruned after epoch 1" in completed.stdout
    study = optuna.load_study(study_name="mammoseg", storage=f"sqlite:///{folder}/study.db")
    assert [trial.state.name for trial in study.trials] == ["PRUNED"]
    assert not (folder / "trial-0" / "results.csv").exists()


def test_the_report_ranks_by_validation_dsc(workdir: Path) -> None:
    output = succeed("sweep_report", "runs=search", folder=workdir)
    with (workdir / "search" / "sweep_report" / "settings.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    scores = sorted((trial.value for trial in load_trials(workdir)), reverse=True)
    assert [float(row["validation DSC"]) for row in rows] == pytest.approx([100 * score for score in scores], abs=0.006)
    assert [name for name in rows[0] if name[0] in "θαηγ"] == ["θ1", "θ2", "θ3", "θ4", "α", "η", "γ"]
    assert "5 combinations of settings in 5 runs" in output
    for name in ("report.html", "effects.png", "interaction.svg"):
        assert (workdir / "search" / "sweep_report" / name).stat().st_size > 0
    assert run("sweep_report", "runs=nowhere", folder=workdir).returncode == 2


@runs_kill_points
@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="needs hydra-joblib-launcher"
)
def test_a_search_in_parallel(workdir: Path) -> None:
    settings = ["launcher=joblib", "hydra.sweep.dir=parallel", "hydra.sweeper.n_trials=2", "loss.eta=1.0"]
    completed = run_process("train", *TINY[:-1], *settings, folder=workdir)
    assert completed.returncode == 0, completed.stderr
    assert "2 jobs, 0 failed" in completed.stdout
    study = optuna.load_study(study_name="mammoseg", storage=f"sqlite:///{workdir}/parallel/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert all("loss.eta" not in trial.params for trial in study.trials)
