"""Training command on the accelerator with each compute setting: the results are those of a plain run.

On a machine without a GPU, the tests run on the CPU.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from accelerator import DEVICE, EPOCHS, TINY_RUN

from helpers.commands import run_process

# The tolerance of the training loss after two epochs; a GPU is not deterministic.
CHOICES = {
    "ddp": (["trainer=ddp", "trainer.devices=1"], 0.02),
    "bf16": (["trainer.precision=bf16-mixed"], 0.05),
    "on_device": (["dataset.on_device=true"], 0.02),
    "gradient_checkpointing": (["model.gradient_checkpointing=true"], 0.02),
    "compile": (["compile=default"], 0.05),
}


def train(folder: Path, *settings: str, name: str) -> list[float]:
    """Train in another process; returns the training loss of each epoch."""
    completed = run_process("train", *TINY_RUN, *settings, f"hydra.run.dir={name}", folder=folder)
    assert completed.returncode == 0, completed.stderr[-4000:] + completed.stdout[-1000:]
    assert json.loads((folder / name / "run.json").read_text(encoding="utf-8"))["status"] == "finished"
    with (folder / name / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory in which the synthetic images are prepared once."""
    return tmp_path_factory.mktemp("accelerator")


@pytest.fixture(scope="module")
def plain_losses(folder: Path) -> list[float]:
    return train(folder, name="plain")


@pytest.fixture(scope="module")
def losses_of(plain_losses: list[float], folder: Path) -> Iterator[Callable[[str], list[float]]]:
    """Function that trains with one of CHOICES and returns the losses.

    On a GPU, all runs are concurrent, since starting the processes and compiling take most of their time.
    """
    del plain_losses  # its run has prepared the images
    with ThreadPoolExecutor(len(CHOICES)) as pool:

        def start(name: str) -> Future[list[float]]:
            return pool.submit(train, folder, *CHOICES[name][0], name=name)

        started = {name: start(name) for name in CHOICES} if DEVICE.type != "cpu" else {}
        yield lambda name: (started.get(name) or start(name)).result()


@pytest.mark.parametrize("name", CHOICES)
def test_training_losses_equal_those_of_a_plain_run(
    name: str, plain_losses: list[float], losses_of: Callable[[str], list[float]]
) -> None:
    if name == "compile" and DEVICE.type == "cpu":
        pytest.skip("compilation for a CPU takes minutes; see models/test_au_net.py")
    losses = losses_of(name)
    assert len(losses) == EPOCHS
    assert losses == pytest.approx(plain_losses, rel=CHOICES[name][1])
