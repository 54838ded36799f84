"""A sweep through a real Slurm: `make test-slurm`, or tests/slurm/cluster.sh pytest tests/slurm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mammoseg.runs import results

TINY = [
    *("dataset.source.cases=30", "dataset.source.height=208", "dataset.size=64", "model.width=2"),
    *("trainer.accelerator=cpu", "logger=csv", "batch_size=2"),
]
SLURM = [
    *("-m", *TINY, "launcher=slurm", "hydra.launcher.partition=debug", "hydra.launcher.timeout_min=5"),
    *("hydra.launcher.cpus_per_task=1", "hydra.launcher.signal_delay_s=10"),
]


def answers() -> bool:
    return shutil.which("squeue") is not None and run("squeue", "-h").returncode == 0


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


pytestmark = pytest.mark.skipif(not answers(), reason="no Slurm here; make test-slurm starts one")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("place-of-the-user")
    begin("prepare", *TINY[:3], folder=folder).wait(120)
    yield folder
    run("scancel", "--user", "root")


def begin(name: str, *arguments: str, folder: Path) -> subprocess.Popen[str]:
    with (folder / f"{name}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"mammoseg.{name}", *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_until(true: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s; Slurm says\n{run('squeue').stdout}"
        time.sleep(0.2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_job_that_is_queued_again_ends_as_if_nothing_had_happened(place: Path) -> None:
    """Two jobs, one at a time; the first is thrown off its node in the midst of training, and queued again."""
    settings = ["seed=0,1", "trainer.max_epochs=16"]
    sweep = begin(
        "train", *SLURM, *settings, "hydra.launcher.array_parallelism=1", "hydra.sweep.dir=slurm", folder=place
    )
    log = place / "slurm" / "0" / "train.log"
    wait_until(lambda: log.is_file() and "epoch 2/" in log.read_text(), 60)
    (job,) = run("squeue", "-h", "--states=RUNNING", "-o", "%i").stdout.split()
    assert run("squeue", "-h", "-r", "--states=PENDING", "-o", "%i").stdout.split(), "the second one waits"
    assert run("scontrol", "requeue", job).returncode == 0
    wait_until(lambda: "PENDING" in run("squeue", "-h", "-j", job, "-o", "%T").stdout, 40)
    run("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm would let it wait for two minutes
    assert sweep.wait(150) == 0, (place / "train.log").read_text()
    assert "2 jobs, 0 failed" in (place / "train.log").read_text()
    said = log.read_text()
    assert "the run can be resumed" in said
    assert "resumes after step" in said
    assert [{row["seed"] for row in results.read_results(place / "slurm" / seed / "results.csv")} for seed in "01"] == [
        {"0"},
        {"1"},
    ]
    alone = begin("train", *TINY, "seed=0", "trainer.max_epochs=16", "hydra.run.dir=alone", folder=place)
    assert alone.wait(60) == 0
    one, other = weights(place / "alone"), weights(place / "slurm" / "0")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_task_for_each_rank(place: Path) -> None:
    settings = ["trainer=ddp", "trainer.devices=2", "trainer.max_epochs=2", "seed=0", "hydra.sweep.dir=ranks"]
    sweep = begin("train", *SLURM, *settings, folder=place)
    assert sweep.wait(90) == 0, (place / "train.log").read_text()
    rows = results.read_results(place / "ranks" / "0" / "results.csv")
    assert len({row["case"] for row in rows}) == len(rows) > 0
