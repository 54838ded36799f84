"""Sweeps on a real Slurm: `make test-slurm`, or tests/slurm/cluster.sh pytest tests/slurm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from helpers import commands
from helpers.commands import SMALL
from mammoseg.runs import results

TINY = [*SMALL, "logger=csv", "batch_size=2"]
SLURM = [
    *("-m", *TINY, "launcher=slurm", "hydra.launcher.partition=debug", "hydra.launcher.timeout_min=5"),
    *("hydra.launcher.cpus_per_task=1", "hydra.launcher.signal_delay_s=10"),
]


def slurm(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def is_available() -> bool:
    """Whether a Slurm controller answers."""
    return shutil.which("squeue") is not None and slurm("squeue", "-h").returncode == 0


pytestmark = pytest.mark.skipif(not is_available(), reason="Slurm is not available; make test-slurm starts it")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("user-workdir")
    commands.succeed("prepare", *TINY[:3], folder=folder)
    yield folder
    slurm("scancel", "--user", "root")


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Start a training command whose output is written to train.log."""
    return commands.start("train", *arguments, folder=folder, log=folder / "train.log")


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    def description() -> str:
        return slurm("squeue").stdout + slurm("sinfo", "--format", "%n %T %E").stdout

    commands.wait_until(condition, process, timeout_s=400, description=description)


def assert_succeeds(sweep: subprocess.Popen[str], folder: Path) -> None:
    wait_until(lambda: sweep.poll() is not None, sweep)
    assert sweep.returncode == 0, (folder / "train.log").read_text()


def states(job: str) -> str:
    return slurm("squeue", "-h", "-j", job, "-o", "%T").stdout


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])


def test_a_requeued_job_resumes_to_the_same_weights(workdir: Path) -> None:
    """Two jobs, one at a time; the first is requeued during training."""
    settings = ["seed=0,1", "trainer.max_epochs=16"]
    sweep = start(*SLURM, *settings, "hydra.launcher.array_parallelism=1", "hydra.sweep.dir=slurm", folder=workdir)
    folder = workdir / "slurm" / "0"
    wait_until(partial(commands.has_trained, folder, 2), sweep)
    (job,) = slurm("squeue", "-h", "--states=RUNNING", "-o", "%i").stdout.split()
    assert slurm("squeue", "-h", "-r", "--states=PENDING", "-o", "%i").stdout.split(), "the second job is pending"
    assert slurm("scontrol", "requeue", job).returncode == 0
    wait_until(lambda: "PENDING" in states(job), sweep)
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")  # otherwise Slurm waits for two minutes
    assert_succeeds(sweep, workdir)
    assert "2 jobs, 0 failed" in (workdir / "train.log").read_text()
    output = (folder / "train.log").read_text()
    assert "the run can be resumed" in output
    assert "resuming after step" in output
    for seed in ("0", "1"):
        rows = results.read_results(workdir / "slurm" / seed / "results.csv")
        assert {row["seed"] for row in rows} == {seed}
    commands.succeed("train", *TINY, "seed=0", "trainer.max_epochs=16", "hydra.run.dir=single", folder=workdir)
    expected, actual = weights(workdir / "single"), weights(folder)
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_a_distributed_run_has_a_task_per_rank(workdir: Path) -> None:
    settings = ["trainer=ddp", "trainer.devices=2", "trainer.max_epochs=2", "seed=0", "hydra.sweep.dir=ranks"]
    sweep = start(*SLURM, *settings, folder=workdir)
    assert_succeeds(sweep, workdir)
    rows = results.read_results(workdir / "ranks" / "0" / "results.csv")
    assert len({row["case"] for row in rows}) == len(rows) > 0
