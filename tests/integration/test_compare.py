"""Train and compare all methods with the commands; restarts, the dashboard and the notebooks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from helpers.browser import CHROMIUM, Browser
from helpers.commands import SMALL, run, succeed
from helpers.documented_commands import runs_documentation
from mammoseg.runs import results
from mammoseg.runs.predictions import read_calibration, read_predictions

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
METHODS = ["au_net", "arf_net", "asp_quantile", "asp_learned", "asp_cluster", "density_asp"]
TABLE1 = ["experiment=table1", "dataset=phantom", *SMALL, "trainer.max_epochs=1", "logger=csv", "split.fold=0,1"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("working-directory-of-the-user")


@pytest.fixture(scope="module")
def runs(workdir: Path) -> Path:
    """Runs of all six methods on two folds."""
    succeed("train", *TABLE1, folder=workdir)
    return workdir / "multirun" / "table1-phantom"


@pytest.fixture(scope="module")
def report(runs: Path, workdir: Path) -> Path:
    output = succeed("compare", f"runs={runs}", "resamples=500", folder=workdir)
    assert "Density-ASP vs. AU-Net" in output
    return runs / "comparison"


def test_all_methods_are_tested_on_the_same_images_of_a_fold(runs: Path) -> None:
    for fold in (0, 1):
        tables = [results.read_results(runs / f"{method}-fold{fold}-seed0" / "results.csv") for method in METHODS]
        assert [table[0]["method"] for table in tables] == METHODS
        assert len({tuple(row["case"] for row in table) for table in tables}) == 1


def test_parameters_fitted_to_the_training_set_are_in_the_checkpoint(runs: Path) -> None:
    folder = runs / "asp_quantile-fold0-seed0"
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    with (folder / "split.csv").open() as lines:
        training = {row["case"] for row in csv.DictReader(lines) if row["part"] == "train"}
    (cases,) = (runs.parents[1] / "data" / "prepared").glob("phantom-*/cases.csv")
    with cases.open() as lines:
        ratios = [int(row["mass_pixels"]) / 64**2 for row in csv.DictReader(lines) if row["case"] in training]
    np.testing.assert_allclose(state["criterion.priority.edges"], np.quantile(ratios, [0.25, 0.5, 0.75]))
    checkpoint = runs / "asp_learned-fold0-seed0" / "checkpoints" / "last.ckpt"
    learned = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert (learned["criterion.priority.shift"] != 0).all()
    np.testing.assert_allclose(learned["criterion.priority.mean"], np.log(ratios).mean())


def test_predictions_and_calibration_agree_with_the_counts(runs: Path) -> None:
    folder = runs / "density_asp-fold0-seed0"
    rows = results.read_results(folder / "results.csv")
    masks = read_predictions(folder / "predictions.npz").by_case
    assert {case: int(mask.sum()) for case, mask in masks.items()} == {
        row["case"]: row["tp"] + row["fp"] for row in rows
    }
    sums, breast_sums = read_calibration(folder / "calibration.csv")
    pixels, probability, mass = sums.sum(axis=0).tolist()
    assert pixels == len(rows) * 64**2
    assert mass == sum(row["tp"] + row["fn"] for row in rows)
    assert 0 < probability < pixels
    assert breast_sums is not None
    assert 0 < breast_sums[:, 0].sum() < pixels
    assert breast_sums[:, 2].sum() == mass


def test_the_report_is_complete(report: Path) -> None:
    for name in ("report.html", "report.md", "table1.tex", "table1.csv", "images.csv", "figure2.png", "figure2.svg"):
        assert (report / name).stat().st_size > 0, name
    with (report / "table1.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["paper DSC"] for row in rows] == ["65.32", "70.05", "68.03", "71.92", "74.18", "74.59"]


def test_finished_runs_are_skipped(runs: Path, workdir: Path) -> None:
    modified = {path: path.stat().st_mtime_ns for path in runs.rglob("*.ckpt")}
    output = succeed("train", *TABLE1, "method=au_net,density_asp", folder=workdir)
    assert output.count("already finished, skipping") == 4
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.ckpt")} == modified


def test_an_interrupted_run_is_resumed(runs: Path, workdir: Path) -> None:
    folder = runs / "au_net-fold0-seed0"
    expected = (folder / "results.csv").read_bytes()
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "status": "running"}))
    (folder / "results.csv").unlink()
    output = succeed("train", *TABLE1, "method=au_net", "split.fold=0", folder=workdir)
    assert "resuming after step" in output
    assert (folder / "results.csv").read_bytes() == expected


def test_other_settings_in_the_same_folder_are_rejected(runs: Path, workdir: Path) -> None:
    completed = run("train", *TABLE1, "method=au_net", "split.fold=0", "lr=0.5", folder=workdir)
    assert completed.returncode == 1
    assert "optimizer.lr=0.003, not 0.5" in completed.stdout + completed.stderr
    assert (runs / "au_net-fold0-seed0" / "results.csv").is_file()


def test_folders_without_results_are_rejected(workdir: Path) -> None:
    completed = run("compare", f"runs={workdir}/data", folder=workdir)
    assert completed.returncode == 2
    assert "no results.csv" in completed.stderr
    assert not (workdir / "data" / "comparison").exists()


def test_a_diverged_network_is_reported(workdir: Path) -> None:
    completed = run(
        "train",
        *SMALL,
        "trainer.max_epochs=5",
        *("optimizer._target_=torch.optim.SGD", "lr=100", "+optimizer.weight_decay=100", "loss.beta=1e6"),
        "trainer.gradient_clip_val=null",
        "logger=csv",
        folder=workdir,
    )
    assert completed.returncode == 2
    assert "diverged" in completed.stderr


def test_tensorboard_gets_curves_and_overlays(workdir: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = workdir / "with-tensorboard"
    succeed("train", *SMALL, "trainer.max_epochs=1", "logger=tensorboard", f"hydra.run.dir={folder}", folder=workdir)
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"train/loss", "val/dsc", "test/dsc"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["test/overlays"]


def test_the_dashboard_is_written_offline(workdir: Path) -> None:
    succeed("dashboard", "project=breasts", folder=workdir)
    specification = json.loads((workdir / "outputs" / "dashboard.json").read_text())
    assert specification["project"] == "breasts"
    text = json.dumps(specification)
    for metric in ("test/dsc", "test/area_difference", "test/sensitivity", "test/accuracy", "test/dsc_density4"):
        assert metric in text
    sections = [section["name"] for section in specification["spec"]["section"]["panelBankConfig"]["sections"]]
    assert sections[:6] == ["Methods", "By density", "Curves", "Gradients", "θ and α", "Overlays"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_in_a_browser_and_its_tables_sort(report: Path, tmp_path: Path, width: int) -> None:
    probe = """
      const table = document.querySelector("#results table");
      table.tHead.rows[0].cells[2].querySelector("button").click();
      const first = table.tBodies[0].rows[0].cells[2].textContent;
      table.tHead.rows[0].cells[2].querySelector("button").click();
      const last = table.tBodies[0].rows[0].cells[2].textContent;
      const loaded = [...document.images].every((image) => image.naturalWidth > 0);
      const fits = document.documentElement.scrollWidth <= window.innerWidth;
      return { first, last, loaded, fits };
    """
    with Browser(tmp_path / "profile") as browser:
        observed = browser.run(report / "report.html", probe, width)
    assert observed == {"first": "65.32", "last": "74.59", "loaded": True, "fits": True}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebooks_contain_outputs_without_local_paths(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert path.stat().st_size < 200_000
    assert str(Path.home()) not in path.read_text()
    assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem == "2_loss" else [runs_documentation])  # the shortest
        for path in NOTEBOOKS
    ],
)
def test_the_notebooks_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
