"""`resume=` continues a run with its own settings in its own folder; `init_from=` starts another from its weights."""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from helpers import interruption
from helpers.commands import SMALL, TIMEOUT_S, has_trained, run, start, succeed, wait_until

SETTINGS = [
    *(*SMALL, "model.width=1", "epochs=4", "augment=flip_affine", "logger=csv", "loss=hybrid_pixel"),
    interruption.SETTING,
]
TRUST = "trusted_modules=[helpers.interruption]"  # required to resume a run with a class that conf/ does not name


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run of four epochs, and the same run killed in its second epoch."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", *SETTINGS, "hydra.run.dir=uninterrupted", folder=folder)
    step = torch.load(folder / "uninterrupted" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] // 4 + 2
    variables = interruption.interrupt("on_train_batch_start", step, signal.SIGKILL)
    process = start("train", *SETTINGS, "hydra.run.dir=outputs/killed", folder=folder, variables=variables)
    output = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL, output
    return folder


@pytest.fixture(scope="module")
def snake(workdir: Path) -> Path:
    """A run of two epochs with the split of earlier versions."""
    succeed("train", *SETTINGS, "split.assignment=snake", "epochs=2", "hydra.run.dir=snake", folder=workdir)
    return workdir / "snake"


@pytest.fixture
def copy(workdir: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the killed run in the same working directory, one per test."""
    folder = workdir / "copies" / tmp_path.name
    shutil.copytree(workdir / "outputs" / "killed", folder)
    yield folder
    shutil.rmtree(folder)


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def assert_same_run(run: Path, uninterrupted: Path) -> None:
    actual, expected = weights(run), weights(uninterrupted)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    assert (run / "results.csv").read_bytes() == (uninterrupted / "results.csv").read_bytes()


def epochs_of(run: Path, column: str) -> list[int]:
    with (run / "metrics.csv").open() as lines:
        return [int(row["epoch"]) for row in csv.DictReader(lines) if row[column]]


def test_a_killed_run_is_resumed_in_its_folder_to_the_same_weights(workdir: Path, copy: Path) -> None:
    records = set(workdir.rglob("run.json"))
    succeed("train", f"resume={copy}", TRUST, folder=workdir)
    assert_same_run(copy, workdir / "uninterrupted")
    assert set(workdir.rglob("run.json")) == records, "no other run folder appears"
    for column in ("train/loss", "val/dsc"):
        assert epochs_of(copy, column) == [0, 1, 2, 3], column
    assert len(epochs_of(copy, "test/dsc")) == 1
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"


def test_compute_settings_and_epochs_may_change(workdir: Path, copy: Path) -> None:
    succeed(
        "train",
        f"resume={copy}",
        TRUST,
        "dataset.workers=1",
        "model.gradient_checkpointing=true",
        "epochs=5",
        folder=workdir,
    )
    assert epochs_of(copy, "train/loss") == [0, 1, 2, 3, 4]
    # The changes are stored; the run can be extended again, and its test row is replaced.
    succeed("train", f"resume={copy}/checkpoints/last.ckpt", TRUST, "epochs=6", folder=workdir)
    assert epochs_of(copy, "train/loss") == [0, 1, 2, 3, 4, 5]
    assert len(epochs_of(copy, "test/dsc")) == 1
    completed = run("train", f"resume={copy}", TRUST, "epochs=2", folder=workdir)
    assert (completed.returncode, "epochs must be at least 6" in completed.stderr) == (2, True)
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"
    assert "already finished, skipping" in succeed("train", f"resume={copy}", TRUST, folder=workdir)


@pytest.mark.parametrize(
    ("changes", "message_parts"),
    [
        (["lr=1e-5"], ["optimizer.lr", "0.003", "1e-05"]),
        (["loss=dice"], ["loss."]),
        (["split.seed=3"], ["split.seed", " 0 ", " 3"]),
        (["trainer.precision=bf16-mixed"], ["trainer.precision", "32-true"]),
        (["dataset.size=32"], ["dataset.size", "64", "32"]),
        (["-m", "seed=0,1"], ["resume", "swe"]),
    ],
)
def test_other_changes_are_rejected(workdir: Path, copy: Path, changes: list[str], message_parts: list[str]) -> None:
    content = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != "train.log"}
    completed = run("train", f"resume={copy}", TRUST, *changes, folder=workdir)
    assert completed.returncode == 2, completed.stderr
    assert all(part in completed.stderr for part in message_parts), completed.stderr
    assert {path: path.read_bytes() for path in content} == content


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere", "resume=nowhere: "),
        ("data", "resume=data: "),
        ("uninterrupted/checkpoints/best.ckpt", "init_from"),
    ],
)
def test_a_reference_to_no_run_is_rejected(workdir: Path, reference: str, message: str) -> None:
    completed = run("train", f"resume={reference}", folder=workdir)
    assert (completed.returncode, message in completed.stderr) == (2, True), completed.stderr


def test_the_folder_of_a_run_cannot_run_code(workdir: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the run folder is not imported, and the folder cannot trust its own modules."""
    monkeypatch.syspath_prepend(copy.parent)
    (copy / "code.py").write_text("from pathlib import Path\nPath('imported').touch()\nclass Network:\n    pass\n")
    overrides = copy / ".hydra" / "overrides.yaml"
    target = f"{copy.name}.code.Network"
    added = [f"model._target_={target}", "+model.other=1", f"trusted_modules=[{copy.name},helpers]"]
    overrides.write_text(overrides.read_text() + "".join(f"- {override}\n" for override in added))
    stored = json.loads((copy / "run.json").read_text())
    stored["settings"]["model"].update(_target_=target, other=1)
    (copy / "run.json").write_text(json.dumps(stored))
    for trust in ([], [TRUST]):
        completed = run("train", f"resume={copy}", *trust, folder=workdir)
        assert completed.returncode == 2
        assert "not trusted; if you know that code, set trusted_modules=[" in completed.stderr
    assert not list(workdir.rglob("imported"))


def test_a_run_stored_with_old_settings_is_resumed(workdir: Path, copy: Path) -> None:
    """Overrides and record of an earlier version name settings that were renamed since."""
    overrides = copy / ".hydra" / "overrides.yaml"
    renamed = ["dataset.on_bad=error", "decay_every=10", "++dataset.remark=text", "trial=null"]
    overrides.write_text(overrides.read_text() + "".join(f"- {override}\n" for override in renamed))
    stored = json.loads((copy / "run.json").read_text())
    dataset = stored["settings"]["dataset"]
    dataset["on_bad"] = {"raise": "error"}[dataset.pop("on_error")]
    dataset["remark"] = dataset.pop("note")
    stored["settings"]["trial"] = stored["settings"].pop("trial_number")
    (copy / "run.json").write_text(json.dumps(stored))
    succeed("train", f"resume={copy}", TRUST, folder=workdir)
    assert_same_run(copy, workdir / "uninterrupted")
    settings = json.loads((copy / "run.json").read_text())["settings"]
    assert (settings["dataset"]["on_error"], settings["dataset"]["note"]) == ("raise", "text")
    assert "on_bad" not in settings["dataset"]


def test_a_run_of_an_earlier_version_keeps_its_split(workdir: Path, snake: Path) -> None:
    """The settings `assignment` and `test` were added after version 0.2, with another default of `assignment`."""
    run_folder = workdir / "earlier"
    succeed("train", *SETTINGS, "split.assignment=snake", "epochs=1", "hydra.run.dir=earlier", folder=workdir)
    overrides = run_folder / ".hydra" / "overrides.yaml"
    overrides.write_text(overrides.read_text().replace("- split.assignment=snake\n", ""))
    stored = json.loads((run_folder / "run.json").read_text())
    del stored["settings"]["split"]["assignment"], stored["settings"]["split"]["test"]
    (run_folder / "run.json").write_text(json.dumps(stored))
    rejected = run("train", *SETTINGS, "epochs=1", "hydra.run.dir=earlier", folder=workdir)
    assert "holds a run with split.assignment=snake, not balanced" in rejected.stderr
    for epochs in (2, 3):  # the override is stored for the second time
        change = run("train", "resume=earlier", TRUST, f"epochs={epochs}", "split.assignment=balanced", folder=workdir)
        assert "split.assignment is snake in this run, got balanced" in change.stderr
        succeed("train", "resume=earlier", TRUST, f"epochs={epochs}", folder=workdir)
        if epochs == 2:
            assert_same_run(run_folder, snake)
    assert json.loads((run_folder / "run.json").read_text())["settings"]["split"]["assignment"] == "snake"


def test_a_run_with_a_split_without_the_new_settings_is_resumed(workdir: Path, snake: Path) -> None:
    """As with a YAML file of a user; the defaults of the class apply."""
    settings = [*SETTINGS, "~split.assignment", "~split.test", "hydra.run.dir=without"]
    succeed("train", *settings, "epochs=1", folder=workdir)
    succeed("train", "resume=without", TRUST, "epochs=2", folder=workdir)
    assert "identical" in succeed("evaluate", "ckpt_path=without", TRUST, folder=workdir)
    assert_same_run(workdir / "without", snake)


def test_latest_is_resumed_from_another_directory_with_data_at_a_relative_path(workdir: Path, copy: Path) -> None:
    output = succeed("train", "resume=latest", TRUST, folder=copy.parent)
    assert "resuming after step" in output
    assert_same_run(copy, workdir / "uninterrupted")
    assert not (copy.parent / "data").exists(), "the dataset is found at its path"


def test_the_command_printed_after_ctrl_c_resumes(workdir: Path) -> None:
    name = "outputs/a b (1)"
    process = start("train", *SETTINGS, "epochs=500", f"hydra.run.dir='{name}'", folder=workdir)
    wait_until(lambda: has_trained(workdir / name, 2), process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    printed = shlex.split(error.strip().splitlines()[-1].partition("to resume: ")[2])
    assert printed[:3] == [sys.executable, "-m", "mammoseg.train"]
    assert json.loads((workdir / name / "run.json").read_text())["status"] == "stopped"
    n_epochs = len(epochs_of(workdir / name, "val/dsc"))
    succeed("train", *printed[3:], f"epochs={n_epochs + 2}", folder=workdir)
    assert epochs_of(workdir / name, "val/dsc") == list(range(n_epochs + 2))


def test_a_plain_command_reports_the_unfinished_run(workdir: Path) -> None:
    output = succeed("train", *SETTINGS, "hydra.run.dir=outputs/new", folder=workdir)
    assert "mammoseg train resume=outputs/killed" in output


def test_init_from_loads_weights_only(workdir: Path) -> None:
    succeed("train", *SMALL, "model.width=1", "epochs=1", "lr=1e-12", "logger=csv", "loss=density_asp",
            "init_from=uninterrupted", "hydra.run.dir=init", folder=workdir)  # fmt: skip
    best = torch.load(workdir / "uninterrupted" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    initialised = weights(workdir / "init")
    parameters = [name for name in best if name.endswith(".weight") and name.startswith("net.")]
    assert parameters
    assert all(torch.allclose(best[name], initialised[name], atol=1e-6) for name in parameters)
    record = json.loads((workdir / "init" / "run.json").read_text())
    assert record["settings"]["init_from"] not in (None, "uninterrupted")
    assert epochs_of(workdir / "init", "train/loss") == [0]


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        (("model.width=2",), "set model.width=1 as in its training"),
        (("model=unet", "model.width=1"), "set model=au_net model.width=1 as in its training"),
    ],
)
def test_init_from_another_network_names_the_settings(overrides: tuple[str, ...], advice: str, workdir: Path) -> None:
    completed = run("train", *SMALL, *overrides, "init_from=uninterrupted", "hydra.run.dir=mismatch", folder=workdir)
    assert completed.returncode == 2
    assert f"best.ckpt: the weights do not match the network of this run; {advice}" in completed.stderr
    assert not (workdir / "mismatch").exists()


def test_encoder_weights_are_loaded_and_kept_with_a_frozen_encoder(workdir: Path) -> None:
    settings = ("model.width=1", "epochs=1", "logger=csv", "layer_decay=0.5", "callbacks=[default,freeze_encoder]")
    start_from = ("encoder_weights=uninterrupted", "hydra.run.dir=encoder")
    output = succeed("train", *SMALL, *settings, *start_from, folder=workdir)
    assert "not in the file" not in output
    best = workdir / "uninterrupted" / "checkpoints" / "best.ckpt"
    source, trained = torch.load(best, weights_only=True)["state_dict"], weights(workdir / "encoder")
    equal = {name: torch.equal(value, trained[name]) for name, value in source.items() if name.startswith("net.")}
    assert equal
    assert all(is_equal for name, is_equal in equal.items() if name.startswith("net.encoder."))
    assert not equal["net.head.weight"]
    record = json.loads((workdir / "encoder" / "run.json").read_text())
    assert record["settings"]["encoder_weights"] == hashlib.sha256(best.read_bytes()).hexdigest()
    assert record["settings"]["init_from"] is None
    assert "uninterrupted" not in (workdir / "encoder" / "run.json").read_text()
    header = (workdir / "encoder" / "metrics.csv").read_text().splitlines()[0]
    rates = [name for name in header.split(",") if name.startswith("lr-")]
    assert rates == ["lr-Adam/decoder", *(f"lr-Adam/encoder_stage{stage}" for stage in range(1, 6))]


def test_every_command_accepts_a_run_folder(workdir: Path, tmp_path: Path) -> None:
    output = succeed("evaluate", f"ckpt_path={workdir}/uninterrupted", folder=tmp_path)
    assert "identical to the results of the training run" in output
    succeed("export", f"ckpt_path={workdir}/uninterrupted", "output=model", folder=tmp_path)
    assert "identical" in succeed("evaluate", "ckpt_path=latest", folder=workdir / "uninterrupted")
    (image,) = list((workdir / "data").rglob("*.dcm"))[:1]
    for reference in (f"{workdir}/uninterrupted", "model"):
        output = f"output=out-{Path(reference).name}"
        succeed("predict", f"ckpt_path={reference}", f"input={image}", output, folder=tmp_path)
    assert (tmp_path / "out-model" / "predictions.csv").is_file()
