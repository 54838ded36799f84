"""One small training serves every test of what comes after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import SMALL, succeed

LEARNS = ("loss=dice", "model.width=4", "trainer.max_epochs=20", "logger=csv")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder in which the small dataset is prepared."""
    folder = tmp_path_factory.mktemp("place-of-the-user")
    succeed("prepare", *SMALL[:3], folder=folder)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of twenty epochs, half a second each, which has learned to find masses."""
    folder = tmp_path_factory.mktemp("trained")
    succeed("train", *SMALL, *LEARNS, f"hydra.run.dir={folder}/run", folder=folder)
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
