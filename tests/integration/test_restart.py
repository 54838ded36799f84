"""A run that was interrupted in any way resumes from its last checkpoint to identical weights."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import interruption
from helpers.commands import SMALL, TIMEOUT_S, run_process, start, succeed
from helpers.kill_points import ALL_KILL_POINTS

SETTINGS = [
    *(*SMALL, "trainer.max_epochs=4", "batch_size=2", "augment=flip_affine", "logger=csv"),
    interruption.SETTING,
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an uninterrupted run."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", *SETTINGS, "hydra.run.dir=uninterrupted", folder=folder)
    return folder


@pytest.fixture(scope="module")
def steps_per_epoch(workdir: Path) -> int:
    steps = load(workdir / "uninterrupted")["global_step"] // 4
    assert steps > 4
    return int(steps)


@pytest.fixture(scope="module")
def killed(workdir: Path, steps_per_epoch: int) -> Path:
    """A run that was killed in its second epoch."""
    interrupt(workdir, "killed", "on_train_batch_start", steps_per_epoch + 3, signal.SIGKILL)
    return workdir / "killed"


def interrupt(workdir: Path, name: str, hook: str, step: int, signum: signal.Signals) -> int:
    """Start a run that sends itself a signal; returns the exit status."""
    variables = interruption.interrupt(hook, step, signum)
    process = start("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir, variables=variables)
    output = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode != 0, output
    return process.returncode


def load(run_folder: Path, file: str = "last.ckpt") -> dict[str, Any]:
    return dict(torch.load(run_folder / "checkpoints" / file, weights_only=True))


def assert_same_run(workdir: Path, name: str) -> None:
    """Compare a run with the uninterrupted one: weights, steps and results."""
    for file in ("last.ckpt", "best.ckpt"):
        expected, actual = (load(workdir / run, file) for run in ("uninterrupted", name))
        assert expected["global_step"] == actual["global_step"]
        assert expected["state_dict"].keys() == actual["state_dict"].keys()
        assert all(
            torch.equal(expected["state_dict"][key], actual["state_dict"][key]) for key in expected["state_dict"]
        )
    assert (workdir / "uninterrupted" / "results.csv").read_bytes() == (workdir / name / "results.csv").read_bytes()


def test_kill_9_changes_no_weight(workdir: Path, killed: Path, steps_per_epoch: int) -> None:
    """Killed three times: within an epoch, before a validation, and while a checkpoint is saved."""
    shutil.copytree(killed, workdir / "killed-thrice")
    for hook, epochs in (("on_validation_start", 2), ("on_save_checkpoint", 3)):
        status = interrupt(workdir, "killed-thrice", hook, epochs * steps_per_epoch, signal.SIGKILL)
        assert status == -signal.SIGKILL
    assert "resuming after step" in succeed("train", *SETTINGS, "hydra.run.dir=killed-thrice", folder=workdir)
    assert_same_run(workdir, "killed-thrice")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1] if ALL_KILL_POINTS else [signal.SIGTERM])
def test_a_signal_stops_after_the_current_step_and_the_run_resumes(
    workdir: Path, steps_per_epoch: int, signum: signal.Signals
) -> None:
    name, step = signum.name, steps_per_epoch + 2
    assert interrupt(workdir, name, "on_train_batch_start", step, signum) == 128 + signum
    assert load(workdir / name)["global_step"] == step + 1
    succeed("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir)
    assert_same_run(workdir, name)
    lines = (workdir / name / "metrics.csv").read_text().splitlines()
    assert len(lines) == len((workdir / "uninterrupted" / "metrics.csv").read_text().splitlines())


def test_a_full_disk_while_checkpointing_keeps_the_last_checkpoint(workdir: Path, killed: Path) -> None:
    folder = workdir / "full"
    shutil.copytree(killed, folder)
    last = folder / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    limit = len(content) // 2048
    completed = run_process("train", *SETTINGS, "hydra.run.dir=full", folder=workdir, limit_file_size_kib=limit)
    assert completed.returncode == 2, completed.stderr
    assert "Traceback" not in completed.stderr
    assert "finished work is kept" in completed.stderr
    assert last.read_bytes() == content
    assert not list(last.parent.glob("*.unfinished"))
    succeed("train", *SETTINGS, "hydra.run.dir=full", folder=workdir)
    assert_same_run(workdir, "full")
