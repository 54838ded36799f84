"""However a run ends, it goes on from its last checkpoint to the same weights, to the last bit."""

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
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place-of-the-user")
    succeed("train", *SETTINGS, "hydra.run.dir=whole", folder=folder)
    return folder


def begin(place: Path, name: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mammoseg.train", *SETTINGS, f"hydra.run.dir={name}"],
        cwd=place,
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


def same(place: Path, name: str) -> None:
    for file in ("last.ckpt", "best.ckpt"):
        one, other = (torch.load(place / run / "checkpoints" / file, weights_only=True) for run in ("whole", name))
        assert one["global_step"] == other["global_step"]
        assert one["state_dict"].keys() == other["state_dict"].keys()
        assert all(torch.equal(one["state_dict"][key], other["state_dict"][key]) for key in one["state_dict"])
    assert (place / "whole" / "results.csv").read_bytes() == (place / name / "results.csv").read_bytes()


def test_kill_9_at_random_steps_changes_nothing(place: Path) -> None:
    draw = random.Random(time.time_ns())
    killed = 0
    for epoch in (1, 3, 5):
        process = begin(place, "killed")
        wait_for_epoch(place / "killed", epoch, process)
        time.sleep(draw.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 2
    assert "resumes after step" in succeed("train", *SETTINGS, "hydra.run.dir=killed", folder=place)
    same(place, "killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_after_the_step_in_hand_and_nothing_is_lost(place: Path, number: signal.Signals) -> None:
    name = number.name
    process = begin(place, name)
    wait_for_epoch(place / name, 2, process)
    time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    stopped = torch.load(place / name / "checkpoints" / "last.ckpt", weights_only=True)
    whole = torch.load(place / "whole" / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 < stopped["global_step"] < whole["global_step"]
    succeed("train", *SETTINGS, f"hydra.run.dir={name}", folder=place)
    same(place, name)
    lines = (place / name / "metrics.csv").read_text().splitlines()
    assert len(lines) == len((place / "whole" / "metrics.csv").read_text().splitlines())


def test_a_full_disk_while_checkpointing_loses_nothing(place: Path) -> None:
    """A limit on the size of files stands for the disk: it strikes in the midst of the write."""
    first = [*SETTINGS, "hydra.run.dir=full"]
    process = begin(place, "full")
    wait_for_epoch(place / "full", 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = place / "full" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    done = subprocess.run(
        [sys.executable, "-m", "mammoseg.train", *first],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=little,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "finished work is kept" in done.stderr
    assert last.read_bytes() == before
    assert not list(last.parent.glob("*.unfinished"))
    assert command("train", *first, folder=place).returncode == 0
    same(place, "full")
