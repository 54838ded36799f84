"""Each sweep folder has its own study, for any characters in its path."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
from mammoseg.launch.optuna_sweeper import study_storage  # noqa: E402 - needs optuna


@pytest.mark.parametrize("characters", ["?", "#", "%20", " ", "ä", "=,", "&uri=false", "@host:1", "'\""])
def test_folders_with_special_characters_have_their_own_studies(tmp_path: Path, characters: str) -> None:
    for name in ("x1", "x2"):
        folder = tmp_path / f"x{characters}{name}"
        folder.mkdir()
        hydra: Any = SimpleNamespace(sweeper=SimpleNamespace(storage=None), sweep=SimpleNamespace(dir=str(folder)))
        study = optuna.create_study(study_name="study", storage=study_storage(hydra))
        study.ask()
        assert [path.name for path in folder.iterdir()] == ["study.db"]
        assert len(optuna.load_study(study_name="study", storage=study_storage(hydra)).trials) == 1
    assert len(list(tmp_path.iterdir())) == 2
