"""`resume=` continues a run with its own settings in its own folder; `init_from=` starts another from its weights."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import SMALL, command, succeed

SETTINGS = [*SMALL, "model.width=1", "epochs=4", "augment=flip_affine", "logger=csv", "loss=hybrid_pixel"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a run of four epochs, and the same run killed after its first."""
    folder = tmp_path_factory.mktemp("place-of-the-user")
    succeed("train", *SETTINGS, "hydra.run.dir=whole", folder=folder)
    kill_after(folder, 1, *SETTINGS, "hydra.run.dir=outputs/killed")
    return folder


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the killed run, beside it, so that tests do not see each other's."""
    folder = place / "copies" / tmp_path.name
    shutil.copytree(place / "outputs" / "killed", folder)
    yield folder
    shutil.rmtree(folder)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mammoseg.train", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_epoch(run: Path, epoch: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        trained = (run / "train.log").is_file() and f"epoch {epoch}/" in (run / "train.log").read_text()
        if trained and (run / "checkpoints" / "last.ckpt").is_file():
            return
        time.sleep(0.005)


def kill_after(folder: Path, epoch: int, *arguments: str) -> None:
    process = start(folder, *arguments)
    wait_for_epoch(folder / arguments[-1].partition("=")[2], epoch, process)
    process.kill()
    process.communicate()


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def assert_same_run(run: Path, whole: Path) -> None:
    ours, theirs = weights(run), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (run / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def epochs_of(run: Path, column: str) -> list[int]:
    with (run / "metrics.csv").open() as lines:
        return [int(row["epoch"]) for row in csv.DictReader(lines) if row[column]]


def test_a_killed_run_is_resumed_in_its_folder_to_the_same_weights(place: Path, copy: Path) -> None:
    before = set(place.rglob("run.json"))
    succeed("train", f"resume={copy}", folder=place)
    assert_same_run(copy, place / "whole")
    assert set(place.rglob("run.json")) == before, "no other run folder appears"
    for column in ("train/loss", "val/dsc"):
        assert epochs_of(copy, column) == [0, 1, 2, 3], column
    assert len(epochs_of(copy, "test/dsc")) == 1
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"


def test_compute_settings_and_epochs_may_change(place: Path, copy: Path) -> None:
    succeed(
        "train", f"resume={copy}", "dataset.workers=1", "model.gradient_checkpointing=true", "epochs=5", folder=place
    )
    assert epochs_of(copy, "train/loss") == [0, 1, 2, 3, 4]
    # It remembers what was changed, may be extended once more, and its test row is replaced.
    succeed("train", f"resume={copy}/checkpoints/last.ckpt", "epochs=6", folder=place)
    assert epochs_of(copy, "train/loss") == [0, 1, 2, 3, 4, 5]
    assert len(epochs_of(copy, "test/dsc")) == 1
    done = command("train", f"resume={copy}", "epochs=2", folder=place)
    assert (done.returncode, "epochs must be at least 6" in done.stderr) == (2, True)
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"
    assert "finished before, nothing to do" in succeed("train", f"resume={copy}", folder=place)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["lr=1e-5"], "optimizer.lr is 0.003 in this run, got 1e-05"),
        (["loss=dice"], "loss."),
        (["split.seed=3"], "split.seed is 0 in this run, got 3"),
        (["trainer.precision=bf16-mixed"], "trainer.precision is 32-true"),
        (["dataset.size=32"], "dataset.size is 64"),
        (["-m", "seed=0,1"], "cannot be swept"),
    ],
)
def test_other_changes_are_rejected(place: Path, copy: Path, changes: list[str], message: str) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != "train.log"}
    done = command("train", f"resume={copy}", *changes, folder=place)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("reference", "message"),
    [("nowhere", "no such run folder"), ("data", "not a run folder"), ("whole/checkpoints/best.ckpt", "init_from")],
)
def test_what_is_no_run_is_rejected(place: Path, reference: str, message: str) -> None:
    done = command("train", f"resume={reference}", folder=place)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_latest_is_resumed_from_another_directory_with_data_at_a_relative_path(place: Path, copy: Path) -> None:
    said = succeed("train", "resume=latest", folder=copy.parent)
    assert "resumes after step" in said
    assert_same_run(copy, place / "whole")
    assert not (copy.parent / "data").exists(), "the dataset is found where it was"


def test_the_command_printed_after_ctrl_c_resumes(place: Path) -> None:
    name = "outputs/a b (1)"
    process = start(place, *SETTINGS, "epochs=200", f"hydra.run.dir='{name}'")
    wait_for_epoch(place / name, 2, process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    printed = shlex.split(out.strip().splitlines()[-1].partition("to resume: ")[2])
    assert printed[:3] == ["python", "-m", "mammoseg.train"]
    assert json.loads((place / name / "run.json").read_text())["status"] == "stopped"
    trained = len(epochs_of(place / name, "val/dsc"))
    succeed("train", *printed[3:], f"epochs={trained + 2}", folder=place)
    assert epochs_of(place / name, "val/dsc") == list(range(trained + 2))


def test_a_plain_command_reports_the_unfinished_run(place: Path) -> None:
    said = succeed("train", *SETTINGS, "hydra.run.dir=outputs/new", folder=place)
    assert "to resume it: python -m mammoseg.train resume=outputs/killed" in said


def test_init_from_takes_the_weights_only(place: Path) -> None:
    succeed("train", *SMALL, "model.width=1", "epochs=1", "lr=1e-12", "logger=csv", "loss=density_asp",
            "init_from=whole", "hydra.run.dir=init", folder=place)  # fmt: skip
    best = torch.load(place / "whole" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    ours = weights(place / "init")
    parameters = [name for name in best if name.endswith(".weight") and name.startswith("net.")]
    assert parameters
    assert all(torch.allclose(best[name], ours[name], atol=1e-6) for name in parameters)
    record = json.loads((place / "init" / "run.json").read_text())
    assert record["settings"]["init_from"] not in (None, "whole")
    assert epochs_of(place / "init", "train/loss") == [0]
    done = command("train", *SMALL, "model.width=2", "init_from=whole", folder=place)
    assert (done.returncode, "do not fit the network" in done.stderr) == (2, True)


def test_every_command_takes_a_run_folder(place: Path, tmp_path: Path) -> None:
    said = succeed("evaluate", f"ckpt_path={place}/whole", folder=tmp_path)
    assert "identical to the results of the training run" in said
    succeed("export", f"ckpt_path={place}/whole", "output=model", folder=tmp_path)
    assert "identical" in succeed("evaluate", "ckpt_path=latest", folder=place / "whole")
    (image,) = list((place / "data").rglob("*.dcm"))[:1]
    for reference in (f"{place}/whole", "model"):
        output = f"output=out-{Path(reference).name}"
        succeed("predict", f"ckpt_path={reference}", f"input={image}", output, folder=tmp_path)
    assert (tmp_path / "out-model" / "predictions.csv").is_file()
