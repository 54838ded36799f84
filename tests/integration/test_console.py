"""Console output of a training: start, epochs, end; and the debug presets."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest

from helpers.commands import SMALL, run, succeed

TINY = [*SMALL, "model.width=1", "logger=csv"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the small dataset is prepared."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("prepare", *SMALL[:4], folder=folder)
    return folder


def test_a_training_reports_its_start_its_epochs_and_the_next_commands(workdir: Path) -> None:
    completed = run("train", *TINY, "epochs=2", folder=workdir)
    output = completed.stderr + completed.stdout
    assert completed.returncode == 0, output
    assert not re.search("[\\x00-\\x09\\x0b-\\x1f]", output), "control characters"
    folder = (workdir / "outputs" / "latest").resolve()
    relative = folder.relative_to(workdir)
    assert re.fullmatch(r"outputs/phantom/density_asp-fold0-seed0-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?", str(relative))
    log = [line.split(" ", 1)[1] for line in completed.stderr.splitlines()]
    assert log[0] == f"INFO run: phantom-density_asp-fold0-seed0, in {relative}"
    assert re.fullmatch(r"INFO device: CPU \(\d+ threads?\), precision 32-true", log[1])
    assert re.fullmatch(r"INFO network: AUNet, [\d,]+ parameters; loss: DensityASP", log[2])
    with (folder / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    patients = {part: {row["patient"] for row in rows if row["part"] == part} for part in ("train", "val", "test")}
    counts = {part: sum(row["part"] == part for row in rows) for part in patients}
    for part, names in patients.items():
        assert re.search(rf"{counts[part]} {part} \({len(names)} patients?\)", log[3])
    assert log[4] == "INFO epochs: 2"
    warned = [part for part in ("val", "test") if counts[part] < 10 or len(patients[part]) < 5]
    warnings = [line for line in log if line.startswith("WARNING")]
    assert [line.split()[2] for line in warnings] == warned
    with (folder / "metrics.csv").open() as file:
        dsc = [100 * float(row["val/dsc"]) for row in csv.DictReader(file) if row["val/dsc"]]
    epochs = [re.fullmatch(r"INFO epoch (\d)/2 .*  val DSC (\d+\.\d\d) %.*", line) for line in log[5 + len(warned) :]]
    assert [(match and match[1], match and match[2]) for match in epochs] == [
        (str(number), f"{value:.2f}") for number, value in enumerate(dsc, 1)
    ]
    commands = [shlex.split(line) for line in completed.stdout.splitlines() if line.startswith("  mammoseg ")]
    assert [command[1] for command in commands] == ["view", "evaluate", "predict"]
    assert run("view", *commands[0][2:], folder=workdir).returncode == 0


def test_the_commands_at_the_end_work_for_a_folder_with_special_characters(workdir: Path) -> None:
    output = succeed("train", *TINY, "debug=fast_dev_run", 'hydra.run.dir="runs/a b (1)"', folder=workdir)
    command = next(line for line in output.splitlines() if line.startswith("  mammoseg view "))
    assert run("view", *shlex.split(command)[2:], folder=workdir).returncode == 0
    assert not (workdir / "runs" / "latest").exists()


def test_a_profile_is_written_to_the_run_folder(workdir: Path) -> None:
    succeed("train", *TINY, "debug=profiler", "epochs=1", "hydra.run.dir=profiled", folder=workdir)
    assert "Profiler Report" in (workdir / "profiled" / "fit-profile.txt").read_text(encoding="utf-8")
    assert not list(workdir.glob("*profile*.txt"))


def test_the_range_test_suggests_a_learning_rate_and_trains_no_network(workdir: Path) -> None:
    output = succeed("train", *TINY, "find_lr=true", "hydra.run.dir=range_test", folder=workdir)
    suggestion = re.search(r"to use it: lr=(\S+)", output)
    assert suggestion is not None
    assert 1e-6 <= float(suggestion[1]) <= 1
    with (workdir / "range_test" / "lr_finder.csv").open() as file:
        assert len(list(csv.DictReader(file))) > 10
    assert {path.name for path in (workdir / "range_test").iterdir()} == {
        *(".hydra", "lr_finder.csv", "lr_finder.png", "train.log"),
    }


def test_a_range_test_cannot_be_swept(workdir: Path) -> None:
    completed = run("train", "-m", *TINY, "find_lr=true", "seed=0", "hydra.sweep.dir=swept", folder=workdir)
    assert completed.returncode == 1
    assert "find_lr must be false in sweeps" in completed.stderr
