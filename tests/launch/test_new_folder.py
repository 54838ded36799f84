"""Folders of runs and sweeps with the date in their names are always new ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from mammoseg.launch.new_folder import create_dated_folder


@pytest.fixture(autouse=True)
def fixed_time() -> None:
    OmegaConf.register_new_resolver("now", lambda pattern: "2026-01-01_00-00-00", replace=True)


def config(folder: str) -> DictConfig:
    return OmegaConf.create({"hydra": {"run": {"dir": folder}}})


def test_starts_at_the_same_time_have_different_folders(tmp_path: Path) -> None:
    configs = [config(f"{tmp_path}/phantom/au_net-${{now:%Y}}") for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        folders = list(pool.map(lambda cfg: create_dated_folder(cfg, "run"), configs))
    name = "au_net-2026-01-01_00-00-00"
    expected = {name, *(f"{name}-{number}" for number in range(2, 13))}
    assert {folder.name for folder in folders if folder is not None} == expected
    assert {cfg.hydra.run.dir for cfg in configs} == {str(folder) for folder in folders}
    assert {path.name for path in (tmp_path / "phantom").iterdir()} == expected


def test_a_folder_without_a_date_is_not_created(tmp_path: Path) -> None:
    cfg = config(f"{tmp_path}/named")
    assert create_dated_folder(cfg, "run") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_left_to_hydra(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cfg = config(f"{tmp_path}/file/${{now:%Y}}")
    assert create_dated_folder(cfg, "run") is None
