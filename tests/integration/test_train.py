"""Train with the command on a phantom in the layout of INbreast."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.commands import SMALL, run_process, succeed
from mammoseg.runs import results


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty working directory."""
    return tmp_path_factory.mktemp("user-workdir")


@pytest.fixture(scope="module")
def run(workdir: Path) -> Path:
    """The folder of a run of four epochs in another process."""
    folder = workdir / "uninterrupted"
    completed = run_process("train", *SMALL, "trainer.max_epochs=4", f"hydra.run.dir={folder}", folder=workdir)
    assert completed.returncode == 0, completed.stderr
    return folder


def test_a_run_writes_the_documented_files(run: Path) -> None:
    for name in (
        *("results.csv", "metrics.csv", "split.csv", "summary.md", "run.json"),
        *("curves.png", "overlays.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"),
    ):
        assert (run / name).stat().st_size > 0, name


def test_results_contain_each_test_image_once_with_all_its_pixels(run: Path) -> None:
    with (run / "split.csv").open() as lines:
        cases = list(csv.DictReader(lines))
    rows = results.read_results(run / "results.csv")
    assert {row["case"] for row in rows} == {case["case"] for case in cases if case["part"] == "test"}
    assert len(rows) == len({row["case"] for row in rows})
    assert all(sum(row[name] for name in results.COUNTS) == 64 * 64 for row in rows)
    patients = [{case["patient"] for case in cases if case["part"] == part} for part in ("train", "val", "test")]
    assert len(set.union(*patients)) == sum(map(len, patients))


def test_training_learns(run: Path) -> None:
    with (run / "metrics.csv").open() as lines:
        losses = [float(row["train/loss"]) for row in csv.DictReader(lines) if row["train/loss"]]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_logged_metrics_equal_those_of_the_results(run: Path) -> None:
    rows = results.read_results(run / "results.csv")
    with (run / "metrics.csv").open() as lines:
        (logged,) = [row for row in csv.DictReader(lines) if row["test/dsc"]]
    for name, value in results.pooled_metrics(rows).items():
        assert float(logged[f"test/{name}"]) == pytest.approx(value, rel=1e-6), name
    for name, value in results.mean_image_metrics(rows).items():
        assert float(logged[f"test/image_{name}"]) == pytest.approx(value, rel=1e-6, nan_ok=True), name
    for category in {row["density"] for row in rows}:
        value = results.pooled_metrics([row for row in rows if row["density"] == category])["dsc"]
        assert float(logged[f"test/dsc_density{category}"]) == pytest.approx(value, rel=1e-6, nan_ok=True)


def test_evaluate_reproduces_the_results(run: Path, workdir: Path) -> None:
    output = succeed(
        "evaluate", f"ckpt_path={run}/checkpoints/best.ckpt", f"hydra.run.dir={workdir}/evaluated", folder=workdir
    )
    assert "identical to the results of the training run" in output
    assert (workdir / "evaluated" / "results.csv").read_bytes() == (run / "results.csv").read_bytes()


def test_the_same_seed_gives_the_same_results(run: Path, workdir: Path) -> None:
    succeed("train", *SMALL, "trainer.max_epochs=4", "logger=csv", f"hydra.run.dir={workdir}/twin", folder=workdir)
    assert (workdir / "twin" / "results.csv").read_bytes() == (run / "results.csv").read_bytes()


def test_a_resumed_run_equals_an_uninterrupted_one(run: Path, workdir: Path) -> None:
    succeed("train", *SMALL, "epochs=2", f"hydra.run.dir={workdir}/half", folder=workdir)
    succeed("train", f"resume={workdir}/half", "epochs=4", folder=workdir)
    uninterrupted, resumed = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (run, workdir / "half")
    )
    assert resumed["epoch"] == uninterrupted["epoch"]
    for name, weights in uninterrupted["state_dict"].items():
        assert torch.equal(weights, resumed["state_dict"][name]), name
    assert (workdir / "half" / "results.csv").read_bytes() == (run / "results.csv").read_bytes()


def test_the_offline_wandb_run_can_be_read(run: Path, tmp_path: Path) -> None:
    (offline,) = (run / "wandb").glob("offline-run-*")
    completed = subprocess.run(
        [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--summary", "--json", offline],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=True,
    )
    logged = json.loads(completed.stdout)
    assert set(logged["tags"]) == {"phantom", "au_net", "density_asp"}
    assert logged["config"]["method"] == "density_asp"
    assert [logged["config"][f"theta_acr{category}"] for category in (1, 2, 3, 4)] == [0.5, 0.5, 0.85, 0.95]
    assert logged["name"] == "phantom-density_asp-fold0-seed0"
    assert logged["config"]["loss"]["theta"] == [0.5, 0.5, 0.85, 0.95]
    assert logged["config"]["dataset"]["root"] is None
    assert logged["exit_code"] == 0
    rows = results.read_results(run / "results.csv")
    for name, value in results.pooled_metrics(rows).items():
        assert logged["summary"][f"test/{name}"] == pytest.approx(value, rel=1e-6), name
    assert {"train/rmi", "train/ssim", "train/dice", "train/bce", "val/dsc"} <= set(logged["summary"])
    overlays = logged["summary"]["test/overlays"]
    assert overlays["count"] == len({row["density"] for row in rows})
    for masks in overlays["all_masks"]:
        assert set(masks) == {"truth", "prediction"}
        for mask in masks.values():
            assert (offline / "files" / mask["path"]).is_file()


def test_no_information_about_the_machine_is_written(run: Path, workdir: Path) -> None:
    secrets = [str(workdir).encode(), str(Path.home()).encode() + b"/", sys.executable.encode()]
    if len(socket.gethostname()) > 4:  # a shorter name would be found by chance
        secrets.append(socket.gethostname().encode())
    written = [path for path in run.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    assert any(path.suffix == ".wandb" for path in written)
    for path in written:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content, f"{secret!r} in {path}"


def test_figures_are_not_blank(run: Path) -> None:
    import cv2

    for name in ("overlays.png", "curves.png"):
        image = cv2.imread(str(run / name))
        assert image is not None
        assert min(image.shape[:2]) > 300
        assert np.asarray(image).std() > 10


def test_a_sweep_runs_every_combination(workdir: Path) -> None:
    succeed(
        *("train", "-m", *SMALL, "trainer.max_epochs=1", "loss=hybrid_pixel,density_asp", "loss.alpha=1,2"),
        f"hydra.sweep.dir={workdir}/sweep",
        folder=workdir,
    )
    tables = sorted((workdir / "sweep").glob("*/results.csv"))
    assert len(tables) == 4
    assert [results.read_results(table)[0]["loss"] for table in tables] == ["hybrid_pixel"] * 2 + ["density_asp"] * 2
    # Each job has its own W&B run.
    assert len(list((workdir / "sweep").glob("*/wandb/offline-run-*"))) == 4


def test_a_sweep_over_theta_passes_lists(workdir: Path) -> None:
    succeed(
        *("train", "-m", *SMALL, "trainer.max_epochs=1", "logger=csv"),
        "loss.theta=[0.5,0.5,0.85,0.95],[0.25,0.25,0.85,0.95]",
        f"hydra.sweep.dir={workdir}/thetas",
        folder=workdir,
    )
    thetas = [
        torch.load(path, weights_only=True)["state_dict"]["criterion.priority.theta"].tolist()
        for path in sorted((workdir / "thetas").glob("*/checkpoints/best.ckpt"))
    ]
    assert thetas == [pytest.approx([0.5, 0.5, 0.85, 0.95]), pytest.approx([0.25, 0.25, 0.85, 0.95])]


def test_the_last_epoch_is_tested_with_model_selection_last(tmp_path: Path) -> None:
    for selection in ("best", "last"):
        run = tmp_path / selection
        succeed(
            "train",
            *(
                "dataset.source.cases=12",
                "dataset.source.height=128",
                "dataset.size=32",
                "width=1",
                "epochs=3",
                "lr=0.1",
            ),
            *("split.folds=2", "trainer.accelerator=cpu", "logger=csv", f"model_selection={selection}"),
            f"hydra.run.dir={run}",
            folder=tmp_path,
        )
    weights = {
        (selection, name): torch.load(tmp_path / selection / "checkpoints" / name, weights_only=True)["state_dict"]
        for selection in ("best", "last")
        for name in ("best.ckpt", "last.ckpt")
    }
    expected = weights["best", "last.ckpt"]
    assert all(torch.equal(value, expected[key]) for key, value in weights["last", "best.ckpt"].items())
    with (tmp_path / "last" / "metrics.csv").open(encoding="utf-8") as lines:
        validation = [float(row["val/dsc"]) for row in csv.DictReader(lines) if row["val/dsc"]]
    assert json.loads((tmp_path / "last" / "run.json").read_text())["score"] == pytest.approx(validation[-1], rel=1e-6)
