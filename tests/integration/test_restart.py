"""A run that was interrupted in any way resumes from its last checkpoint to identical weights."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import SMALL, command, succeed

EPOCHS = 8
SETTINGS = [*SMALL, f"trainer.max_epochs={EPOCHS}", "batch_size=2", "augment=flip_affine", "logger=csv"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an uninterrupted run."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", *SETTINGS, "hydra.run.dir=uninterrupted", folder=folder)
    return folder


def start(workdir: Path, name: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mammoseg.train", *SETTINGS, f"hydra.run.dir={name}"],
        cwd=workdir,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_epoch(run: Path, epoch: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (run / "train.log").is_file() and f"epoch {epoch}/" in (run / "train.log").read_text():
            return
        time.sleep(0.005)


def assert_same_run(workdir: Path, name: str) -> None:
    """Compare a run with the uninterrupted one: weights, steps and results."""
    for file in ("last.ckpt", "best.ckpt"):
        expected, actual = (
            torch.load(workdir / run / "checkpoints" / file, weights_only=True) for run in ("uninterrupted", name)
        )
        assert expected["global_step"] == actual["global_step"]
        assert expected["state_dict"].keys() == actual["state_dict"].keys()
        assert all(
            torch.equal(expected["state_dict"][key], actual["state_dict"][key]) for key in expected["state_dict"]
        )
    assert (workdir / "uninterrupted" / "results.csv").read_bytes() == (workdir / name / "results.csv").read_bytes()


def test_kill_9_at_random_steps_changes_no_weight(workdir: Path) -> None:
    rng = random.Random(time.time_ns())
    killed = 0
    for epoch in (1, 3, 5):
        process = start(workdir, "killed")
        wait_for_epoch(workdir / "killed", epoch, process)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 2
    assert "resuming after step" in succeed("train", *SETTINGS, "hydra.run.dir=killed", folder=workdir)
    assert_same_run(workdir, "killed")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_after_the_current_step_and_the_run_resumes(workdir: Path, signum: signal.Signals) -> None:
    name = signum.name
    process = start(workdir, name)
    wait_for_epoch(workdir / name, 2, process)
    time.sleep(0.05)
    process.send_signal(signum)
    assert process.wait(60) == 128 + signum
    stopped = torch.load(workdir / name / "checkpoints" / "last.ckpt", weights_only=True)
    uninterrupted = torch.load(workdir / "uninterrupted" / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 < stopped["global_step"] < uninterrupted["global_step"]
    succeed("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir)
    assert_same_run(workdir, name)
    lines = (workdir / name / "metrics.csv").read_text().splitlines()
    assert len(lines) == len((workdir / "uninterrupted" / "metrics.csv").read_text().splitlines())


def test_a_full_disk_while_checkpointing_keeps_the_last_checkpoint(workdir: Path) -> None:
    """A limit on the file size stands in for a full disk: the write fails half way."""
    arguments = [*SETTINGS, "hydra.run.dir=full"]
    process = start(workdir, "full")
    wait_for_epoch(workdir / "full", 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = workdir / "full" / "checkpoints" / "last.ckpt"
    content = last.read_bytes()

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, len(content) // 2))

    completed = subprocess.run(
        [sys.executable, "-m", "mammoseg.train", *arguments],
        cwd=workdir,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit_file_size,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 2, completed.stderr
    assert "Traceback" not in completed.stderr
    assert "finished work is kept" in completed.stderr
    assert last.read_bytes() == content
    assert not list(last.parent.glob("*.unfinished"))
    assert command("train", *arguments, folder=workdir).returncode == 0
    assert_same_run(workdir, "full")
