"""Fixtures of the integration tests: one small training run is shared by all tests of the commands that use a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.commands import SMALL, succeed

# With this split, the network detects masses after few epochs.
TRAINING = ("loss=dice", "model.width=4", "trainer.max_epochs=20", "split.assignment=snake", "logger=csv")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the small dataset is prepared."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("prepare", *SMALL[:3], folder=folder)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of twenty epochs, half a second each, after which the network detects masses."""
    folder = tmp_path_factory.mktemp("trained")
    succeed("train", *SMALL, *TRAINING, f"hydra.run.dir={folder}/run", folder=folder)
    return folder / "run"


@pytest.fixture(scope="session")
def best(trained: Path) -> Path:
    """The best checkpoint of the run."""
    return trained / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="session")
def sibling(best: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with slightly different weights, as from another fold."""
    loaded = torch.load(best, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    for value in loaded["state_dict"].values():
        if value.is_floating_point() and value.numel() > 1:
            value += 0.05 * value.std() * torch.randn(value.shape, generator=generator)
    path = tmp_path_factory.mktemp("sibling") / "best.ckpt"
    torch.save(loaded, path)
    return path
