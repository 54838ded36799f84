"""A run folder or a checkpoint of somebody else cannot delete files, upload data or end in a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.commands import assert_one_sentence, run, succeed

SETTINGS = [
    *("dataset.source.cases=12", "dataset.source.height=128", "dataset.size=32", "model.width=1", "epochs=1"),
    *("batch_size=2", "split.folds=2", "trainer.accelerator=cpu", "logger=csv"),
]
BEST = "RunCheckpoint(best)"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run that can be extended."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", *SETTINGS, "hydra.run.dir=trained", folder=folder)
    return folder


@pytest.fixture
def copy(workdir: Path, tmp_path: Path) -> Path:
    """A copy of the run in the same working directory."""
    folder = workdir / "copies" / tmp_path.name
    shutil.copytree(workdir / "trained", folder)
    return folder


def change_checkpoint(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    loaded = torch.load(path, weights_only=True)
    change(loaded)
    torch.save(loaded, path)


def replaced_best(victim: str, score: float) -> dict[str, Any]:
    """The state of the callback that writes best.ckpt, with another file in place of best.ckpt."""
    value = torch.tensor(score, dtype=torch.float64)
    return {
        **{"monitor": "val/dsc", "dirpath": "run:/checkpoints", "last_model_path": "", "current_score": value},
        **{"best_model_path": victim, "best_model_score": value, "best_k_models": {victim: value}},
        **{"kth_best_model_path": victim, "kth_value": value},
    }


def test_paths_in_a_checkpoint_are_not_read_or_deleted(workdir: Path, copy: Path) -> None:
    """Lightning deletes the previous best checkpoint when there is a better one, and tests the best one."""
    victim = copy / "checkpoints" / "victim"
    victim.mkdir()
    (victim / "file").touch()
    state = replaced_best("run:/checkpoints/victim", -1.0)
    change_checkpoint(copy / "checkpoints" / "last.ckpt", lambda loaded: loaded["callbacks"].update({BEST: state}))
    succeed("train", f"resume={copy}", "epochs=2", folder=workdir)
    assert (victim / "file").is_file()
    best = torch.load(copy / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["callbacks"][BEST]["best_k_models"].keys() == {"run:/checkpoints/best.ckpt"}


def test_the_best_checkpoint_is_in_the_run_folder(workdir: Path, copy: Path, tmp_path: Path) -> None:
    shutil.copy(copy / "checkpoints" / "best.ckpt", tmp_path / "other.ckpt")
    state = replaced_best(str(tmp_path / "other.ckpt"), 2.0)  # no epoch can have a higher score
    change_checkpoint(copy / "checkpoints" / "last.ckpt", lambda loaded: loaded["callbacks"].update({BEST: state}))
    change_checkpoint(tmp_path / "other.ckpt", lambda loaded: loaded.update(state_dict={}))
    succeed("train", f"resume={copy}", "epochs=2", folder=workdir)


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize(
    "change",
    [
        {"callbacks": {BEST: replaced_best("run:/checkpoints/../../victim", -1.0)}},
        {"callbacks": {BEST: {**replaced_best("run:/checkpoints/best.ckpt", 0.0), "best_model_score": "high"}}},
        {"callbacks": {BEST: {**replaced_best("run:/checkpoints/best.ckpt", 0.0), "best_model_score": torch.ones(2)}}},
        {"callbacks": {BEST: 5}},
        {"callbacks": {}},
        {"callbacks": CYCLE},
        {"callbacks": 5},
        {"loops": 5},
        {"loops": {"fit_loop": {}}},
        {"global_step": "3"},
        {"global_step": None},
        {"optimizer_states": 5},
        {"optimizer_states": [{}]},
        {"lr_schedulers": None},
        {"pytorch-lightning_version": None},
        {"state_dict": {5: torch.zeros(1)}},
        {"state_dict": {}},
    ],
)
def test_an_invalid_state_of_the_training_is_one_sentence(workdir: Path, copy: Path, change: dict[str, Any]) -> None:
    change_checkpoint(copy / "checkpoints" / "last.ckpt", lambda loaded: loaded.update(change))
    assert "last.ckpt" in assert_one_sentence(run("train", f"resume={copy}", "epochs=2", folder=workdir))


@pytest.mark.parametrize("metrics", [5, {"loss": "=1+1"}, {"epoch": 0, "step": 1, "loss": "=1+1"}])
def test_invalid_training_metrics_are_one_sentence(workdir: Path, copy: Path, metrics: object) -> None:
    change_checkpoint(
        copy / "checkpoints" / "last.ckpt", lambda loaded: loaded["mammoseg"].update(train_metrics=metrics)
    )
    assert "is damaged" in assert_one_sentence(run("train", f"resume={copy}", "epochs=2", folder=workdir))


def add_overrides(folder: Path, *overrides: str) -> None:
    path = folder / ".hydra" / "overrides.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "".join(f"- '{text}'\n" for text in overrides), encoding="utf-8")


UPLOADS = ("logger.mode=online", "logger.entity=somebody", "logger.project=theirs")


def test_a_run_folder_cannot_upload(workdir: Path, copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    add_overrides(copy, "logger=wandb", *UPLOADS)
    succeed("train", f"resume={copy}", "epochs=2", folder=workdir)
    assert "not taken from the run folder: logger.mode=online logger.entity=somebody" in caplog.text
    assert list((copy / "wandb").glob("offline-run-*"))


def test_the_logger_of_a_run_folder_can_be_replaced(workdir: Path, copy: Path) -> None:
    add_overrides(copy, "logger=wandb", *UPLOADS)
    succeed("train", f"resume={copy}", "logger=csv", "epochs=2", folder=workdir)
    assert not (copy / "wandb").exists()


@pytest.mark.parametrize("setting", ["mode: online", "entity: somebody"])
def test_a_run_folder_cannot_add_a_logger_that_uploads(workdir: Path, copy: Path, setting: str) -> None:
    add_overrides(copy, f"+logger.second={{_target_: mammoseg.loggers.wandb.WandbRunLogger, {setting}}}")
    message = assert_one_sentence(run("train", f"resume={copy}", "epochs=2", folder=workdir))
    assert "logger.second must use logger.mode and logger.entity" in message


@pytest.mark.parametrize("name", ["evaluate", "export"])
@pytest.mark.parametrize("part", ["run_info", "config"])
def test_a_damaged_description_is_one_sentence(workdir: Path, copy: Path, name: str, part: str) -> None:
    def change(loaded: dict[str, Any]) -> None:
        loaded["mammoseg"][part] = {} if part == "run_info" else {**loaded["mammoseg"]["config"], "threshold": "high"}

    change_checkpoint(copy / "checkpoints" / "best.ckpt", change)
    output = f"{'hydra.run.dir' if name == 'evaluate' else 'output'}={copy}/out"
    assert (
        "threshold" in assert_one_sentence(run(name, f"ckpt_path={copy}", output, folder=workdir)) or part == "run_info"
    )


def test_diverged_weights_are_not_exported(workdir: Path, copy: Path) -> None:
    def change(loaded: dict[str, Any]) -> None:
        for value in loaded["state_dict"].values():
            value.mul_(float("nan")) if value.is_floating_point() else None

    change_checkpoint(copy / "checkpoints" / "best.ckpt", change)
    assert "not finite" in assert_one_sentence(run("export", f"ckpt_path={copy}", f"output={copy}/out", folder=workdir))
