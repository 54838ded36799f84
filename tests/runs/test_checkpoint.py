"""Checkpoints: untrusted classes and pickled code are rejected, and invalid files raise UserError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mammoseg.errors import UserError
from mammoseg.runs import checkpoint, upgrade


def config(target: str = "mammoseg.models.au_net.AUNet") -> dict[str, Any]:
    return {"dataset": {"root": None, "name": "folder"}, "model": {"_target_": target, "parts": []}}


def save(path: Path, target: str) -> Path:
    torch.save({checkpoint.PROVENANCE_KEY: {"config": config(target), "about": {}}, "state_dict": {}}, path)
    return path


def test_the_scheduler_of_version_0_1_is_upgraded() -> None:
    step = {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "step_size": 10, "gamma": 0.5}
    upgraded = upgrade.upgrade_config({"scheduler": step, "seed": 0})
    assert upgraded == {"scheduler": {"scheduler": step, "interval": "epoch", "monitor": None}, "seed": 0}
    assert upgrade.upgrade_config(upgraded) == upgraded
    assert upgrade.upgrade_config({"scheduler": None}) == {"scheduler": None}


def test_a_checkpoint_with_trusted_targets_is_loaded(tmp_path: Path) -> None:
    path = save(tmp_path / "best.ckpt", "mammoseg.models.au_net.AUNet")
    assert checkpoint.load_checkpoint(path)[checkpoint.PROVENANCE_KEY]["config"]["dataset"]["name"] == "folder"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04."])
def test_a_file_that_is_not_a_checkpoint_raises(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoint.load_checkpoint(path)


def test_pickled_code_is_not_executed(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"weights": Malicious()}, tmp_path / "malicious.ckpt")
    with pytest.raises(UserError, match="weights_only=True"):
        checkpoint.load_checkpoint(tmp_path / "malicious.ckpt")
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_of_another_program_raises(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not a checkpoint of mammoseg"):
        checkpoint.load_checkpoint(tmp_path / "other.ckpt")
