"""Table of the test images and checkpoint in an offline W&B run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.results_files import rows_of
from mammoseg.loggers.wandb import TABLE_COLUMNS, WandbRunLogger
from mammoseg.runs.folder import RunFolder

RUN_INFO = {name: name for name in ("run", "dataset", "model", "loss", "method", "fold", "experiment")}


@pytest.mark.parametrize("artifacts", [False, True])
def test_table_and_checkpoint_are_logged_on_request(
    artifacts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = RunFolder(tmp_path / "run")
    folder.best_checkpoint.parent.mkdir(parents=True)
    folder.best_checkpoint.write_bytes(b"weights")
    run_logger = WandbRunLogger(folder.path, RUN_INFO, artifacts=artifacts)
    rows = rows_of("au_net", quality=0.7)
    run_logger.loggers()
    run_logger.log_results(rows)
    run_logger.close()
    tables = list((folder.path / "wandb").glob("offline-run-*/files/media/table/test/images_*.table.json"))
    staged = [path.read_bytes() for path in (tmp_path / "WANDB_DATA_DIR").rglob("*") if path.is_file()]
    assert len(tables) == int(artifacts)
    assert (b"weights" in staged) == artifacts
    if artifacts:
        table = json.loads(tables[0].read_text())
        assert "patient" not in table["columns"]
        assert [row[: len(TABLE_COLUMNS)] for row in table["data"]] == [
            [row[key] for key in TABLE_COLUMNS] for row in rows
        ]
        assert [row[len(TABLE_COLUMNS)] for row in table["data"]] == pytest.approx([row["dsc"] for row in rows])
