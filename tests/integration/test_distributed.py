"""Distributed runs on a CPU: results do not depend on the number of processes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.commands import SMALL, run_process, succeed
from mammoseg.data.sampling import ShardedBatchSampler
from mammoseg.runs import results

TWO = [*SMALL, "trainer=ddp", "trainer.devices=2", "trainer.max_epochs=2", "batch_size=3", "logger=csv"]
SWEEP = ["split.test=half,both", "hydra.sweep.dir=swept"]


@pytest.fixture(scope="module")
def swept(workdir: Path) -> Path:
    """Sweep of two jobs with two processes each; with batches of 3, the last batch of each part is incomplete."""
    completed = run_process("train", "-m", *TWO, *SWEEP, folder=workdir)
    assert completed.returncode == 0, completed.stderr + completed.stdout
    assert "2 jobs, 0 failed" in completed.stdout
    return workdir / "swept"


@pytest.mark.parametrize("job", ["0", "1"], ids=["half", "both"])
def test_two_processes_give_the_counts_of_one(job: str, swept: Path, workdir: Path) -> None:
    settings = [f"ckpt_path=swept/{job}", f"hydra.run.dir=one-{job}"]
    assert "identical to the results of the training run" in succeed("evaluate", *settings, folder=workdir)
    two, one = swept / job, workdir / f"one-{job}"
    distributed, single = (results.read_results(folder / "results.csv") for folder in (two, one))
    assert [row["case"] for row in distributed] == sorted(
        {row["case"] for row in distributed}, key=[r["case"] for r in single].index
    )
    assert results.pooled_metrics(distributed) == results.pooled_metrics(single)
    assert (two / "calibration.csv").read_text() == (one / "calibration.csv").read_text()
    assert (two / "results.csv").read_bytes() == (one / "results.csv").read_bytes()
    with (two / "metrics.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["epoch"] for row in rows if row.get("val/dsc")] == ["0", "1"]
    norms = [(row["epoch"], float(row["train/grad_norm"])) for row in rows if row.get("train/grad_norm")]
    assert [epoch for epoch, _ in norms] == ["0", "1"]
    assert all(norm > 0 for _, norm in norms)


def test_workers_of_a_sweep_use_its_jobs_and_folders(swept: Path, workdir: Path) -> None:
    assert sorted(path.name for path in swept.glob("[!.]*") if path.is_dir()) == ["0", "1"]
    for job, (tested, name) in enumerate((("half", "best"), ("both", "best_half1"))):
        loaded = torch.load(swept / str(job) / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert loaded["mammoseg"]["config"]["split"]["test"] == tested
        assert "score" in json.loads((swept / str(job) / "run.json").read_text())
    output = succeed("train", "-m", *TWO, *SWEEP, folder=workdir)
    assert output.count("already finished, skipping") == 2


def test_a_user_error_in_two_processes_is_reported_once(workdir: Path) -> None:
    completed = run_process("train", *TWO, "split.fold=9", "hydra.run.dir=wrong", folder=workdir)
    assert completed.returncode == 2
    assert completed.stderr.count("split.fold must be ") == 1
    assert "Traceback" not in completed.stderr


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("images", [4, 5, 9, 12, 14])
def test_sharded_batches_equal_those_of_one_process(images: int, world_size: int) -> None:
    rows = np.arange(images) + 100
    unsharded = [[key.row for key in batch] for batch in ShardedBatchSampler(rows, 4, 7, train=True)]
    shards = [
        list(ShardedBatchSampler(rows, 4, 7, train=True, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert {len(shard) for shard in shards} == {len(unsharded)}
    value = {row: np.sqrt(row) for row in rows}
    for batch, *parts in zip(unsharded, *shards, strict=True):
        counted = [key.row for part in parts for key in part if key.weight != 0]
        assert sorted(counted) == sorted(batch)
        # The mean over ranks of the weighted means equals the mean over the batch.
        means = [
            np.mean([value[key.row] for key in part])
            * np.mean([1 if key.weight is None else key.weight for key in part])
            for part in parts
        ]
        assert np.mean(means) == pytest.approx(np.mean([value[row] for row in batch]))


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_every_image_is_tested_once(world_size: int) -> None:
    unsharded = [[key.row for key in batch] for batch in ShardedBatchSampler(np.arange(14), 4, 0, train=False)]
    shards = [
        list(ShardedBatchSampler(np.arange(14), 4, 0, train=False, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    tested = [[key.row for key in batch] for shard in shards for batch in shard if batch[0].weight != 0]
    assert sorted(tested) == sorted(unsharded)
    assert all(
        len(shard) == len(ShardedBatchSampler(np.arange(14), 4, 0, train=False, rank=rank, world_size=world_size))
        for rank, shard in enumerate(shards)
    )
