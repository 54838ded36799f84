"""One small training serves every test of what comes after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SMALL = (
    *("dataset.source.cases=30", "dataset.source.height=208", "dataset.size=64", "model.width=4", "loss=dice"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=20", "logger=csv"),
)


def call(name: str, *arguments: str | Path, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"mammoseg.{name}", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **more},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of twenty epochs, half a second each, which has learned to find masses."""
    folder = tmp_path_factory.mktemp("trained")
    done = call("train", *SMALL, f"hydra.run.dir={folder}/run", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def best(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="session")
def sibling(best: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkpoint like the best one, as another fold would be: its weights are a little different."""
    loaded = torch.load(best, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    for value in loaded["state_dict"].values():
        if value.is_floating_point() and value.numel() > 1:
            value += 0.05 * value.std() * torch.randn(value.shape, generator=generator)
    path = tmp_path_factory.mktemp("sibling") / "best.ckpt"
    torch.save(loaded, path)
    return path
