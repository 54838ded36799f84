"""Two processes for one run, on a CPU: what comes out does not depend on their number."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import SMALL, command, succeed

from mammoseg.data.sampling import ShardedBatchSampler
from mammoseg.runs import results

TWO = [*SMALL, "trainer=ddp", "trainer.devices=2", "trainer.max_epochs=2", "logger=csv"]


def test_two_processes_test_as_one_does_to_the_last_pixel(place: Path) -> None:
    # A batch of 3 and 5 folds leave incomplete batches in training, validation and test.
    succeed("train", *TWO, "batch_size=3", "hydra.run.dir=two", folder=place)
    said = succeed("evaluate", "ckpt_path=two/checkpoints/best.ckpt", "hydra.run.dir=one", folder=place)
    assert "identical to the results of the training run, to the last pixel" in said
    both, one = (results.read_results(place / name / "results.csv") for name in ("two", "one"))
    assert [row["case"] for row in both] == sorted({row["case"] for row in both}, key=[r["case"] for r in one].index)
    assert results.pooled_metrics(both) == results.pooled_metrics(one)
    assert (place / "two" / "calibration.csv").read_text() == (place / "one" / "calibration.csv").read_text()
    with (place / "two" / "metrics.csv").open() as lines:
        assert [row["epoch"] for row in csv.DictReader(lines) if row.get("val/dsc")] == ["0", "1"]


def test_processes_inside_a_sweep_share_its_jobs_and_folders(place: Path) -> None:
    said = succeed("train", "-m", *TWO, "loss.alpha=1.0,2.0", "hydra.sweep.dir=swept", folder=place)
    assert "2 jobs, 0 failed" in said
    assert sorted(path.name for path in (place / "swept").iterdir() if path.is_dir()) == ["0", "1"]
    for job, alpha in enumerate((1.0, 2.0)):
        loaded = torch.load(place / "swept" / str(job) / "checkpoints" / "best.ckpt", weights_only=True)
        assert loaded["mammoseg"]["config"]["loss"]["alpha"] == alpha
        assert "score" in json.loads((place / "swept" / str(job) / "run.json").read_text())
    again = succeed("train", "-m", *TWO, "loss.alpha=1.0,2.0", "hydra.sweep.dir=swept", folder=place)
    assert again.count("finished before, nothing to do") == 2


def test_a_mistake_in_two_processes_is_told_once(place: Path) -> None:
    done = command("train", *TWO, "split.fold=9", "hydra.run.dir=wrong", folder=place)
    assert done.returncode == 2
    assert done.stderr.count("split.fold must be between 0 and 4") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("images", [4, 5, 9, 12, 14])
def test_shared_batches_are_those_of_one_process(images: int, ranks: int) -> None:
    rows = np.arange(images) + 100
    whole = [[row for _, row, _ in batch] for batch in ShardedBatchSampler(rows, 4, 7, train=True)]
    shares = [list(ShardedBatchSampler(rows, 4, 7, train=True, rank=rank, world_size=ranks)) for rank in range(ranks)]
    assert {len(share) for share in shares} == {len(whole)}
    value = {row: np.sqrt(row) for row in rows}
    for batch, *parts in zip(whole, *shares, strict=True):
        counted = [row for part in parts for _, row, weight in part if weight != 0]
        assert sorted(counted) == sorted(batch)
        # The mean over the processes of weighted means is the mean over the batch.
        means = [
            np.mean([value[row] for _, row, _ in part]) * np.mean([1 if w is None else w for *_, w in part])
            for part in parts
        ]
        assert np.mean(means) == pytest.approx(np.mean([value[row] for row in batch]))


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_every_image_is_tested_once(ranks: int) -> None:
    whole = [[row for _, row, _ in batch] for batch in ShardedBatchSampler(np.arange(14), 4, 0, train=False)]
    shares = [
        list(ShardedBatchSampler(np.arange(14), 4, 0, train=False, rank=rank, world_size=ranks))
        for rank in range(ranks)
    ]
    tested = [[row for _, row, _ in batch] for share in shares for batch in share if batch[0][2] != 0]
    assert sorted(tested) == sorted(whole)
    assert all(
        len(share) == len(ShardedBatchSampler(np.arange(14), 4, 0, train=False, rank=rank, world_size=ranks))
        for rank, share in enumerate(shares)
    )
