"""Damaged run folders, failed starts, and environments with few resources end in one sentence."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from helpers.commands import assert_one_sentence, command_line, environment, run, succeed
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.models.au_net import AUNet
from mammoseg.runs.checkpoint import PROVENANCE_KEY
from mammoseg.runs.discovery import find_runs

SETTINGS = [
    *("dataset.source.cases=12", "dataset.source.height=128", "dataset.size=32", "model.width=1", "epochs=1"),
    *("batch_size=2", "split.folds=2", "trainer.accelerator=cpu", "logger=csv"),
]


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


def change_split(folder: Path) -> None:
    path = folder / "split.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(",train\n", ",x\n").replace(",test\n", ",train\n").replace(",x\n", ",test\n"))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda folder: (folder / "split.csv").unlink(), ("split.csv is missing", "trained on")),
        (change_split, ("split.csv", "images or their parts have changed")),
        (lambda folder: (folder / "split.csv").write_bytes(b"\xff\x00"), ("split.csv", "have changed")),
        (
            lambda folder: (folder / "checkpoints" / "last.ckpt").write_bytes(b"PK\x03\x04"),
            ("last.ckpt is damaged", "copy of best.ckpt", "delete it to start the training from the beginning"),
        ),
        (lambda folder: (folder / "checkpoints" / "best.ckpt").unlink(), ("best.ckpt is missing", "delete last.ckpt")),
    ],
)
def test_a_run_with_damaged_files_is_not_resumed(
    workdir: Path, copy: Path, change: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    change(copy)
    assert_one_sentence(run("train", f"resume={copy}", "epochs=2", folder=workdir), *parts)


def test_deleted_results_are_computed_again(workdir: Path, copy: Path) -> None:
    content = (copy / "results.csv").read_bytes()
    (copy / "results.csv").unlink()
    succeed("train", f"resume={copy}", folder=workdir)
    assert (copy / "results.csv").read_bytes() == content


def test_both_remedies_for_a_damaged_checkpoint_work(workdir: Path, copy: Path) -> None:
    checkpoints = copy / "checkpoints"
    shutil.copy(checkpoints / "best.ckpt", checkpoints / "last.ckpt")
    succeed("train", f"resume={copy}", "epochs=2", folder=workdir)
    (checkpoints / "last.ckpt").unlink()
    succeed("train", f"resume={copy}", "epochs=3", folder=workdir)
    with (copy / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        assert [row["epoch"] for row in csv.DictReader(lines) if row["val/dsc"]] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "change",
    [
        {"score": None},
        {"score": "high"},
        {"score": float("nan")},
        {"settings": []},
        {"run_info": None},
        {"status": "unknown"},
        {"started": 5},
        {"job": {"number": "x"}},
        {"trained": "yes"},
    ],
)
def test_a_damaged_record_is_one_sentence_or_the_run_is_skipped(workdir: Path, copy: Path, change: object) -> None:
    path = copy / "run.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**stored, **change}))  # type: ignore[dict-item]
    assert_one_sentence(run("train", f"resume={copy}", folder=workdir), "run.json")
    if change != {"score": None}:
        shutil.copytree(workdir / "trained", copy / "intact")
        assert [found.folder.path for found in find_runs([copy])] == [copy / "intact"]


@pytest.mark.parametrize("epochs", [None, "many"])
def test_a_record_without_epochs_is_one_sentence(workdir: Path, copy: Path, epochs: str | None) -> None:
    path = copy / "run.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    if epochs is None:
        del stored["settings"]["trainer"]
    else:
        stored["settings"]["trainer"]["max_epochs"] = epochs
    path.write_text(json.dumps(stored))
    completed = run("train", f"resume={copy}", folder=workdir)
    assert_one_sentence(completed, "run.json", "settings.trainer.max_epochs must be an integer")


def test_a_damaged_config_of_hydra_is_one_sentence(workdir: Path, copy: Path) -> None:
    (copy / ".hydra" / "hydra.yaml").write_text("hydra: 3")
    assert_one_sentence(run("train", f"resume={copy}", folder=workdir), "hydra.yaml", "missing or damaged")


def test_a_checkpoint_with_settings_that_only_training_uses_is_evaluated(workdir: Path, copy: Path) -> None:
    path = copy / "checkpoints" / "best.ckpt"
    loaded = torch.load(path, weights_only=True)
    trainer = loaded[PROVENANCE_KEY]["config"]["trainer"]
    trainer["limit_test_batches"] = 1
    torch.save(loaded, path)
    assert "identical" in succeed("evaluate", f"ckpt_path={copy}", folder=workdir)
    trainer["accelerator"] = "abc"
    torch.save(loaded, path)
    assert_one_sentence(run("evaluate", f"ckpt_path={copy}", folder=workdir), "best.ckpt", "trainer.accelerator")


def test_ctrl_c_before_training_leaves_no_folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MammogramDataModule, "setup", press_ctrl_c)
    completed = run("train", *SETTINGS, "hydra.run.dir=stopped/run", folder=workdir)
    assert completed.returncode == 130
    assert not (workdir / "stopped").exists()


def test_ctrl_c_during_an_evaluation_is_one_sentence(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AUNet, "forward", press_ctrl_c)
    completed = run("evaluate", "ckpt_path=trained", "hydra.run.dir=interrupted", folder=workdir)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores further Ctrl-C
    assert completed.returncode == 130
    assert completed.stderr.splitlines()[-1] == "mammoseg evaluate: interrupted; finished work is kept"


def test_a_run_can_be_restarted_with_other_compute_settings(workdir: Path, copy: Path) -> None:
    path = copy / "run.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**stored, "status": "failed", "score": None, "trained": False}))
    changes = ("num_workers=1", "dataset.workers=1", "model.gradient_checkpointing=true", "channels_last=false")
    succeed("train", *SETTINGS, *changes, f"hydra.run.dir={copy}", folder=workdir)
    assert json.loads(path.read_text(encoding="utf-8"))["status"] == "finished"


@pytest.mark.parametrize("name", ["metrics.csv", "summary.md", "train.log", ".lock", "checkpoints", ".hydra"])
def test_links_in_a_run_folder_are_not_followed(workdir: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.mkdir() if name in ("checkpoints", ".hydra") else target.write_text("content")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(target)
    completed = run("train", *SETTINGS, f"hydra.run.dir={tmp_path}/run", folder=workdir)
    assert_one_sentence(completed, name, "symbolic link")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]
    assert not any(target.iterdir()) if target.is_dir() else target.read_text() == "content"


CROP = "augment.transforms=[{_target_: albumentations.RandomCrop, height: 20, width: 20}]"
RESIZE = "augment.transforms=[{_target_: albumentations.RandomScale, scale_limit: 0.5, p: 1.0}]"


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["dataset.root=nowhere", "dataset.source=null"], ("nowhere",)),
        (["lr=-1"], ("lr must be", "got -1")),
        (["optimizer._target_=torch.optim.LBFGS", "~optimizer.fused"], ("optimizer must", "LBFGS")),
        (["optimizer._target_=torch.optim.Adamm"], ("optimizer._target_", "torch.optim.Adamm")),
        (["augment=flip_affine", CROP], ("augment.transforms must keep the size", "got 20x20")),
        (["augment=flip_affine", RESIZE, "num_workers=1"], ("augment.transforms must keep the size",)),
        (["+trainer.val_check_interval=1000"], ("val_check_interval",)),
        (["+trainer.max_steps=1"], ("no epoch was completed", "max_steps")),
        (["+trainer.num_nodes=2"], ("trainer.num_nodes must be 1", "srun")),
        (["dataset.size=16", "batch_size=1"], ("batch normalisation", "dataset.size", "batch_size")),
        (["scheduler=reduce_on_plateau", "scheduler.monitor=val/dcs"], ("scheduler.monitor", "did you mean val/dsc?")),
        (["patience=2", "callbacks.early_stopping.monitor=abc"], ("callbacks.early_stopping.monitor", "val/dsc")),
        (["hydra.run.dir=null"], ("hydra.run.dir must be a folder, got null",)),
        (["+hydra.run.dri=x"], ("did you mean hydra.run.dir?",)),
        (["logger.project=x"], ("there is no setting logger.project with this choice of logger",)),
        (["logger=[]"], ("logger must be one or more of csv", "got an empty list")),
        (["-m", "seed=0,1", "hydra.sweeper.max_batch_size=0"], ("hydra.sweeper.max_batch_size must be",)),
        (["+trainer.limit_val_batches=0"], ("trainer.limit_val_batches",)),
        (["+trainer.fast_dev_run=true"], ("trainer.fast_dev_run",)),
    ],
)
def test_a_failed_start_leaves_no_folder(workdir: Path, settings: list[str], parts: tuple[str, ...]) -> None:
    completed = run("train", *SETTINGS, *settings, "hydra.run.dir=failed/start/run", folder=workdir)
    assert_one_sentence(completed, *parts)
    assert not (workdir / "failed").exists()


def test_a_failed_start_keeps_prepared_images(workdir: Path) -> None:
    settings = [*SETTINGS, "dataset.store=new/prepared", "augment=flip_affine", CROP, "hydra.run.dir=new"]
    assert_one_sentence(run("train", *settings, folder=workdir), "must keep the size")
    assert list((workdir / "new" / "prepared").glob("phantom-*/images.npy"))


def test_a_failed_start_keeps_files_that_existed(workdir: Path, copy: Path) -> None:
    assert_one_sentence(run("train", *SETTINGS, "seed=1", f"hydra.run.dir={copy}", folder=workdir), "seed")
    assert (copy / "checkpoints" / "last.ckpt").is_file()


def test_another_checkpoint_callback_can_be_added(workdir: Path) -> None:
    callback = "{_target_: lightning.pytorch.callbacks.ModelCheckpoint, monitor: val/dsc, mode: max, filename: second}"
    settings = [*SETTINGS, f"+callbacks.second={callback}", "hydra.run.dir=second"]
    succeed("train", *settings, folder=workdir)
    assert (workdir / "second" / "checkpoints" / "second.ckpt").is_file()
    trusted = "trusted_modules=[lightning]"
    succeed("train", "resume=second", trusted, "epochs=2", folder=workdir)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("not enough memory")]
)
def test_out_of_memory_is_one_sentence(workdir: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*_: object) -> None:
        raise error

    monkeypatch.setattr(AUNet, "forward", forward)
    completed = run("train", *SETTINGS, "hydra.run.dir=memory", folder=workdir)
    assert_one_sentence(completed, "out of", "memory", "batch_size", "model.gradient_checkpointing=true")


def test_a_locale_without_utf_8_changes_nothing(workdir: Path) -> None:
    """ASCII, without Python's UTF-8 mode, as the encoding of files and of the terminal."""
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    for name, *arguments in (
        ("train", *SETTINGS, "hydra.run.dir=ascii"),
        ("evaluate", "ckpt_path=ascii", "native=true", "hydra.run.dir=evaluated"),
        ("compare", "runs=ascii"),
        ("view", "runs=ascii"),
    ):
        completed = subprocess.run(
            command_line(name, *arguments),
            cwd=workdir,
            env={**environment(), **variables},
            capture_output=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stderr
        assert b"Error" not in completed.stderr, completed.stderr
    files = ("results.csv", "summary.md", "metrics.csv")
    assert all((workdir / "ascii" / name).read_bytes() == (workdir / "trained" / name).read_bytes() for name in files)


def test_a_relative_dataset_root_belongs_to_the_directory_of_the_run(workdir: Path, tmp_path: Path) -> None:
    (root,) = (workdir / "data").glob("phantom-*")
    assert root.is_dir(), "the default root is relative to the working directory"
    for name, setting in (("evaluate", "ckpt_path"), ("view", "runs"), ("compare", "runs")):
        succeed(name, f"{setting}={workdir}/trained", folder=tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_run_folder_cannot_state_which_code_to_trust(workdir: Path, copy: Path) -> None:
    overrides = copy / ".hydra" / "overrides.yaml"
    text = overrides.read_text(encoding="utf-8")
    callback = "'+callbacks.x={_target_: helpers.interruption.Interruption}'"
    overrides.write_text(f"{text}- {callback}\n- trusted_modules=[helpers]\n", encoding="utf-8")
    completed = run("train", f"resume={copy}", "epochs=2", folder=workdir)
    assert_one_sentence(completed, "helpers.interruption.Interruption", "not trusted")
