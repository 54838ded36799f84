"""split.test=both: each half of the held-out fold is tested with the checkpoint that is best on the other half."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers import interruption
from helpers.commands import run, succeed
from helpers.forked import kill_at_save_and_resume, killing, run_forked
from helpers.kill_points import ALL_KILL_POINTS
from mammoseg.callbacks.tested_checkpoints import TestedCheckpoints
from mammoseg.data.store import PreparedStore
from mammoseg.ensemble import load_network
from mammoseg.metrics import confusion_counts
from mammoseg.predictor import load
from mammoseg.runs import checkpoint, results

# With these, the best epochs of the halves differ, and one of them is not the last epoch.
SETTINGS = [
    *("dataset.source.cases=20", "dataset.source.height=128", "dataset.size=32", "model.width=4", "epochs=6", "seed=5"),
    *("batch_size=2", "split.folds=2", "split.test=both", "trainer.accelerator=cpu", "augment=flip_affine"),
    *("dataset.source.appearance=simple", "loss=bce", "lr=0.03", "threshold=0.05", "logger=csv", interruption.SETTING),
]
TRUST = "trusted_modules=[helpers.interruption]"
OTHER = {"half1": "half2", "half2": "half1"}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an uninterrupted run."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", *SETTINGS, "hydra.run.dir=uninterrupted", folder=folder)
    return folder


@pytest.fixture(scope="module")
def trained(workdir: Path) -> Path:
    return workdir / "uninterrupted"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def part_of(folder: Path) -> dict[str, str]:
    return {row["case"]: row["part"] for row in read(folder / "split.csv")}


def best(folder: Path, half: str) -> Path:
    return folder / "checkpoints" / f"best_{half}.ckpt"


def counts(folder: Path) -> dict[str, list[int]]:
    rows = results.read_results(folder / "results.csv")
    return {row["case"]: [row[name] for name in results.COUNTS] for row in rows}


def test_each_half_is_tested_with_the_best_checkpoint_of_the_other_one(workdir: Path, trained: Path) -> None:
    """The counts are computed again, without Lightning, from the checkpoints and the prepared images."""
    (store_folder,) = (workdir / "data" / "prepared").glob("phantom-*/")
    store = PreparedStore.open(store_folder)
    expected = {}
    for half, tested in OTHER.items():
        loaded = checkpoint.load_checkpoint(best(trained, half), ("model",))
        network = load_network(loaded, best(trained, half))
        for index, case in enumerate(store.cases):
            if part_of(trained)[case.case] == tested:
                image, mask = (torch.from_numpy(np.array(a[index]))[None, None] for a in (store.images, store.masks))
                with torch.inference_mode():
                    expected[case.case] = confusion_counts(network(image).sigmoid() > 0.05, mask)[0].tolist()
    assert counts(trained) == expected
    assert expected.keys() == {case for case, part in part_of(trained).items() if part in OTHER}
    epochs = [torch.load(best(trained, half), weights_only=True)["epoch"] for half in OTHER]
    assert epochs[0] != epochs[1]
    rows = [row for row in read(trained / "metrics.csv") if row["val/dsc"]]
    for half, epoch in zip(OTHER, epochs, strict=True):
        scores = [float(row[f"val/dsc_{half}"]) for row in rows]
        assert epoch == scores.index(max(scores))
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    best_scores = [max(float(row[f"val/dsc_{half}"]) for row in rows) for half in OTHER]
    assert record["score"] == pytest.approx(np.mean(best_scores), rel=1e-6)


def test_metrics_are_pooled_over_both_halves(trained: Path) -> None:
    (logged,) = [row for row in read(trained / "metrics.csv") if row["test/dsc"]]
    rows = results.read_results(trained / "results.csv")
    for name, value in results.pooled_metrics(rows).items():
        assert float(logged[f"test/{name}"]) == pytest.approx(value, rel=1e-6)
    for density in {row["density"] for row in rows}:
        value = results.pooled_metrics([row for row in rows if row["density"] == density])["dsc"]
        assert float(logged[f"test/dsc_density{density}"]) == pytest.approx(value, rel=1e-6)
    for row in (row for row in read(trained / "metrics.csv") if row["val/dsc"]):
        halves = [float(row[f"val/accuracy_{half}"]) for half in OTHER]
        sizes = [list(part_of(trained).values()).count(half) for half in OTHER]
        assert float(row["val/accuracy"]) == pytest.approx(np.average(halves, weights=sizes), rel=1e-6)


def test_evaluate_tests_no_image_that_selected_the_checkpoint(workdir: Path, trained: Path) -> None:
    output = succeed("evaluate", "ckpt_path=uninterrupted", "hydra.run.dir=evaluated/both", folder=workdir)
    assert "identical to the results of the training run" in output
    for name in ("results.csv", "calibration.csv"):
        assert (workdir / "evaluated" / "both" / name).read_bytes() == (trained / name).read_bytes()
    moved = workdir / "moved" / "checkpoints" / "model.ckpt"
    moved.parent.mkdir(parents=True)
    (root,) = (workdir / "data").glob("phantom-*/")
    for half, tested in OTHER.items():
        cases = {case for case, part in part_of(trained).items() if part == tested}
        shutil.copy(best(trained, half), moved)
        succeed("export", f"ckpt_path={best(trained, half)}", "output=exported", folder=workdir)
        for path in (best(trained, half), moved, Path("exported")):
            folder = f"evaluated/{half}-{path.stem}"
            output = succeed(
                "evaluate", f"ckpt_path={path}", f"dataset.root={root}", f"hydra.run.dir={folder}", folder=workdir
            )
            assert f"only the {len(cases)} images of the other half are tested" in output
            assert counts(workdir / folder) == {case: counts(trained)[case] for case in cases}
        assert "identical to the results" in succeed("evaluate", f"ckpt_path={best(trained, half)}", folder=workdir)


def test_evaluate_rejects_exchanged_checkpoints(workdir: Path, trained: Path) -> None:
    shutil.copytree(trained, workdir / "exchanged")
    for half, other in OTHER.items():
        shutil.copy(best(trained, half), best(workdir / "exchanged", other))
    completed = run("evaluate", "ckpt_path=exchanged", "hydra.run.dir=evaluated/exchanged", folder=workdir)
    assert completed.returncode == 2
    assert "was selected on half2 of the held-out fold and must not be tested on it" in completed.stderr
    assert not (workdir / "evaluated" / "exchanged" / "results.csv").exists()


def test_the_last_checkpoint_is_tested_on_both_halves(workdir: Path, trained: Path) -> None:
    """It was selected on no image."""
    folder = workdir / "evaluated" / "last"
    succeed("evaluate", f"ckpt_path={trained}/checkpoints/last.ckpt", f"hydra.run.dir={folder}", folder=workdir)
    assert counts(folder).keys() == counts(trained).keys()


def test_native_resolution_covers_both_halves(workdir: Path, trained: Path) -> None:
    succeed("evaluate", "ckpt_path=uninterrupted", "native=true", "hydra.run.dir=evaluated/native", folder=workdir)
    assert {row["case"] for row in read(workdir / "evaluated" / "native" / "native.csv")} == counts(trained).keys()


def test_commands_that_use_one_network_ask_for_one_checkpoint(workdir: Path, trained: Path) -> None:
    for arguments in (("export", "ckpt_path=uninterrupted", "output=model"), ("train", "init_from=uninterrupted")):
        completed = run(*arguments, folder=workdir)
        assert completed.returncode == 2
        assert "best_half1.ckpt or " in completed.stderr
    succeed("export", f"ckpt_path={best(trained, 'half2')}", "output=model", folder=workdir)
    card = (workdir / "model" / "README.md").read_text(encoding="utf-8")
    sizes = [list(part_of(trained).values()).count(part) for part in ("train", "half2", "half1")]
    for label, size in zip(("training", "validation (used for model selection)", "test"), sizes, strict=True):
        assert f"| {label} | {size} |" in card
    assert f"| all | {sizes[2]} |" in card
    succeed("train", *SETTINGS[:-3], "logger=csv", "epochs=1", f"init_from={best(trained, 'half1')}", folder=workdir)


def test_prediction_averages_both_checkpoints(workdir: Path, trained: Path) -> None:
    image = next((workdir / "data").rglob("*.dcm"))
    probs = [load(best(trained, half), accelerator="cpu")(image).prob for half in OTHER]
    ensemble = load(trained, accelerator="cpu")
    assert ensemble.ensemble.members == 2
    np.testing.assert_allclose(ensemble(image).prob, np.mean(probs, axis=0), atol=1e-6)
    succeed("predict", "ckpt_path=uninterrupted", f"input={image}", "output=predicted", folder=workdir)
    assert (workdir / "predicted" / "predictions.csv").is_file()
    succeed("view", "runs=uninterrupted", "output=viewer", "open=false", folder=workdir)


def load_all(folder: Path) -> list[dict[str, Any]]:
    names = ("best_half1", "best_half2", "last")
    return [torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in names]


def assert_same_run(workdir: Path, name: str) -> None:
    for file in ("results.csv", "metrics.csv", "split.csv", "calibration.csv"):
        assert (workdir / name / file).read_bytes() == (workdir / "uninterrupted" / file).read_bytes(), file
    for actual, expected in zip(load_all(workdir / name), load_all(workdir / "uninterrupted"), strict=True):
        assert actual["epoch"] == expected["epoch"]
        for key, value in expected["state_dict"].items():
            assert torch.equal(actual["state_dict"][key], value), key
    scores = [json.loads((workdir / run / "run.json").read_text())["score"] for run in ("uninterrupted", name)]
    assert scores[0] == scores[1]


KILLED_CALLS = [2, 3, *range(20, 33)] if ALL_KILL_POINTS else [2, 21, 26]


@pytest.mark.parametrize("call", KILLED_CALLS)
def test_a_run_killed_at_any_checkpoint_is_resumed(workdir: Path, call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of metrics.csv are saved before each checkpoint, as at the end of an epoch and of the test."""
    name = f"save-{call}"
    settings = [*SETTINGS, f"hydra.run.dir={name}"]
    if kill_at_save_and_resume(settings, workdir, call, monkeypatch):
        assert_same_run(workdir, name)
    else:
        assert call > 28, "the calls of an uninterrupted run"


@pytest.mark.parametrize("loader", [0, 1])
def test_a_run_killed_in_the_test_of_a_half_is_tested_again(
    workdir: Path, loader: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores of both checkpoints are read from the last checkpoint, since the training is complete."""
    name = f"test-{loader}"
    hook = "mammoseg.callbacks.tested_checkpoints.load_weights"
    monkeypatch.setattr(hook, killing(lambda *_: None, loader))
    stopped = run_forked("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir)
    monkeypatch.undo()
    assert stopped.returncode == -signal.SIGKILL, stopped.stderr
    assert run_forked("train", *SETTINGS, f"hydra.run.dir={name}", folder=workdir).returncode == 0
    assert_same_run(workdir, name)


def test_a_damaged_last_checkpoint_is_replaced_by_the_second_best_checkpoint(workdir: Path, trained: Path) -> None:
    """It is written after the first one, so it contains the state of both."""
    folder = workdir / "damaged"
    shutil.copytree(trained, folder)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"status": "running", "trained": False}))
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(b"PK")
    completed = run("train", "resume=damaged", TRUST, folder=workdir)
    assert completed.returncode == 2
    assert "copy of best_half2.ckpt" in completed.stderr
    shutil.copy(best(folder, "half2"), last)
    succeed("train", "resume=damaged", TRUST, folder=workdir)
    assert_same_run(workdir, "damaged")


def test_the_folds_test_every_image_once(workdir: Path) -> None:
    succeed(
        *("train", "-m", *SETTINGS[:-1], "epochs=1", "split.fold=0,1", "hydra.sweep.dir=folds"),
        folder=workdir,
    )
    tested = [row["case"] for path in (workdir / "folds").glob("*/results.csv") for row in read(path)]
    assert sorted(tested) == sorted(part_of(workdir / "uninterrupted"))
    succeed("compare", "runs=folds", "resamples=100", "paper=none", folder=workdir)


def test_monitors_that_depend_on_tested_images_are_reported(workdir: Path) -> None:
    for setting, name in (("patience=5", "patience"), ("scheduler=reduce_on_plateau", "scheduler.monitor")):
        output = succeed("train", *SETTINGS[:-1], "epochs=1", setting, folder=workdir)
        assert f"split.test=both: {name} depends on the validation DSC of both halves" in output
    assert "split.test=both:" not in succeed("train", *SETTINGS[:-1], "epochs=1", folder=workdir)


def test_tested_checkpoints_load_the_weights_in_each_test() -> None:
    callback = TestedCheckpoints([])
    callback.loaded = 1
    callback.on_test_epoch_start(None, None)  # type: ignore[arg-type]
    assert callback.loaded is None
