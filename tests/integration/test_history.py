"""metrics.csv of an interrupted and resumed run equals that of an uninterrupted run, for every kind of interruption."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
import torch

from helpers import interruption
from helpers.commands import succeed
from helpers.forked import kill_at_save_and_resume, killing, run_forked
from helpers.kill_points import ALL_KILL_POINTS
from mammoseg.train import run as training

SETTINGS = [
    *("dataset.source.cases=12", "dataset.source.height=128", "dataset.size=32", "model.width=1", "epochs=2"),
    *("batch_size=2", "split.folds=2", "trainer.accelerator=cpu", "augment=flip_affine", "logger=csv"),
    *("callbacks=[default,auto_clip,loss_term_gradients]", "callbacks.gradient_clipping.percentile=50"),
    *("callbacks.gradient_clipping.window=4", "callbacks.loss_term_gradients.every_n_steps=2"),
    interruption.SETTING,
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an uninterrupted run."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", *SETTINGS, "hydra.run.dir=uninterrupted", folder=folder)
    return folder


@pytest.fixture(scope="module")
def steps_per_epoch(workdir: Path) -> int:
    path = workdir / "uninterrupted" / "checkpoints" / "last.ckpt"
    steps = int(torch.load(path, weights_only=True)["global_step"]) // 2
    assert steps > 2
    return steps


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def assert_same_history(workdir: Path, name: str) -> None:
    assert metrics(workdir / name) == metrics(workdir / "uninterrupted"), name
    results = [(workdir / run / "results.csv").read_bytes() for run in (name, "uninterrupted")]
    assert results[0] == results[1], name
    assert json.loads((workdir / name / "run.json").read_text(encoding="utf-8"))["status"] == "finished"


HOOKS = [
    # hook, number of epochs, steps after them, signal
    *(("on_train_batch_start", 1, step, signum) for step in (0, 1) for signum in (signal.SIGTERM, signal.SIGKILL)),
    ("on_train_batch_start", 0, 2, signal.SIGTERM),
    *(("on_validation_start", epoch, 0, signal.SIGKILL) for epoch in (1, 2)),
    *(("on_save_checkpoint", 1, 0, signum) for signum in (signal.SIGTERM, signal.SIGKILL)),
    *(("on_test_batch_start", 0, 0, signum) for signum in (signal.SIGKILL, signal.SIGINT)),
    *(("on_test_end", 0, 0, signum) for signum in (signal.SIGKILL, signal.SIGINT)),
]


@pytest.mark.parametrize(("hook", "epochs", "steps", "signum"), HOOKS if ALL_KILL_POINTS else HOOKS[::3])
def test_a_run_stopped_at_a_hook(
    workdir: Path, steps_per_epoch: int, hook: str, epochs: int, steps: int, signum: signal.Signals
) -> None:
    name = f"{hook}-{epochs}-{steps}-{signum.name}"
    variables = interruption.interrupt(hook, epochs * steps_per_epoch + steps, signum)
    stopped = run_forked("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir, variables=variables)
    expected = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 130}
    assert stopped.returncode == expected[signum], stopped.stderr
    if signum == signal.SIGINT:
        assert f"to resume: mammoseg train resume={name}" in stopped.stderr
        assert json.loads((workdir / name / "run.json").read_text(encoding="utf-8"))["status"] == "stopped"
    resumed = run_forked("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_history(workdir, name)


@pytest.mark.parametrize("call", range(0, 12, 1 if ALL_KILL_POINTS else 6))
def test_a_run_killed_when_a_row_is_saved(workdir: Path, call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In particular between last.ckpt and the row of the epoch, and between the test row and the reports."""
    name = f"save-{call}"
    settings = [*SETTINGS, f"hydra.run.dir={name}"]
    if kill_at_save_and_resume(settings, workdir, call, monkeypatch):
        assert_same_history(workdir, name)
    else:
        assert call > 8, "the calls of an uninterrupted run"


@pytest.mark.parametrize("function", ["write_reports", "write_record"])
def test_a_run_killed_while_it_reports(workdir: Path, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"killed-in-{function}"
    call = {"write_reports": 0, "write_record": 2}[function]
    monkeypatch.setattr(training, function, killing(getattr(training, function), call))
    stopped = run_forked("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir)
    monkeypatch.undo()
    assert stopped.returncode == -signal.SIGKILL, stopped.stderr
    assert len([row for row in metrics(workdir / name) if row["test/dsc"]]) == 1
    assert run_forked("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir).returncode == 0
    assert_same_history(workdir, name)
