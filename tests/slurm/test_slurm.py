"""Sweeps on a real Slurm: `make test-slurm`, or tests/slurm/cluster.sh pytest tests/slurm."""

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


def is_available() -> bool:
    """Whether a Slurm controller answers."""
    return shutil.which("squeue") is not None and run("squeue", "-h").returncode == 0


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


pytestmark = pytest.mark.skipif(not is_available(), reason="Slurm is not available; make test-slurm starts it")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("user-workdir")
    start("prepare", *TINY[:3], folder=folder).wait(120)
    yield folder
    run("scancel", "--user", "root")


def start(name: str, *arguments: str, folder: Path) -> subprocess.Popen[str]:
    with (folder / f"{name}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"mammoseg.{name}", *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s; squeue:\n{run('squeue').stdout}"
        time.sleep(0.2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])


def test_a_requeued_job_resumes_to_the_same_weights(workdir: Path) -> None:
    """Two jobs, one at a time; the first is requeued during training."""
    settings = ["seed=0,1", "trainer.max_epochs=16"]
    sweep = start(
        "train", *SLURM, *settings, "hydra.launcher.array_parallelism=1", "hydra.sweep.dir=slurm", folder=workdir
    )
    log = workdir / "slurm" / "0" / "train.log"
    wait_until(lambda: log.is_file() and "epoch 2/" in log.read_text(), 60)
    (job,) = run("squeue", "-h", "--states=RUNNING", "-o", "%i").stdout.split()
    assert run("squeue", "-h", "-r", "--states=PENDING", "-o", "%i").stdout.split(), "the second job is pending"
    assert run("scontrol", "requeue", job).returncode == 0
    wait_until(lambda: "PENDING" in run("squeue", "-h", "-j", job, "-o", "%T").stdout, 40)
    run("scontrol", "update", f"JobId={job}", "StartTime=now")  # otherwise Slurm waits for two minutes
    assert sweep.wait(150) == 0, (workdir / "train.log").read_text()
    assert "2 jobs, 0 failed" in (workdir / "train.log").read_text()
    output = log.read_text()
    assert "the run can be resumed" in output
    assert "resuming after step" in output
    assert [
        {row["seed"] for row in results.read_results(workdir / "slurm" / seed / "results.csv")} for seed in "01"
    ] == [
        {"0"},
        {"1"},
    ]
    single = start("train", *TINY, "seed=0", "trainer.max_epochs=16", "hydra.run.dir=single", folder=workdir)
    assert single.wait(60) == 0
    expected, actual = weights(workdir / "single"), weights(workdir / "slurm" / "0")
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_a_distributed_run_has_a_task_per_rank(workdir: Path) -> None:
    settings = ["trainer=ddp", "trainer.devices=2", "trainer.max_epochs=2", "seed=0", "hydra.sweep.dir=ranks"]
    sweep = start("train", *SLURM, *settings, folder=workdir)
    assert sweep.wait(90) == 0, (workdir / "train.log").read_text()
    rows = results.read_results(workdir / "ranks" / "0" / "results.csv")
    assert len({row["case"] for row in rows}) == len(rows) > 0
