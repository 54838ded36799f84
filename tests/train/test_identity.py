"""Names of runs, and local paths in log files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from mammoseg.conf import conf_dir
from mammoseg.launch.sweep import SWEPT_SETTINGS, set_swept_settings
from mammoseg.program import PROGRAM, shell_command
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.log_file import redact_log_files
from mammoseg.runs.record import RunRecord, write_record
from mammoseg.train.identity import method_name, run_info, stored_name


def config(*overrides: str, with_hydra: bool = False) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=with_hydra)


def name_of(*overrides: str) -> str:
    choices = {"model": "au_net", "loss": "density_asp"}
    return str(run_info(config(*overrides), choices, overrides)["run"])


def test_the_name_of_a_job_contains_its_swept_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = (
        "width=4",
        "loss.alpha=2.0",
        "seed=1",
        "lr=0.00123456789",
        "split.seed=3",
        "loss.theta=[0.5,0.5,1.0,1.0]",
    )
    assert name_of(*overrides) == "phantom-density_asp-fold0-seed1"
    monkeypatch.setenv(SWEPT_SETTINGS, "loss.alpha seed split.fold lr split.seed loss.theta")
    expected = "phantom-density_asp-alpha=2.0-lr=0.001235-split.seed=3-theta=[0.5,0.5,1.0,1.0]-fold0-seed1"
    assert name_of(*overrides) == expected


def test_the_most_specific_method_with_the_same_choices_is_the_name_of_the_method() -> None:
    preset = {"model": "seg_res_net", "loss": "hybrid_pixel", "optimizer": "adamw", "scheduler": "polynomial"}
    assert method_name({**preset, "augment": "strong", "dataset": "phantom"}) == "seg_res_net"
    assert method_name({**preset, "augment": "none"}) == "seg_res_net-hybrid_pixel"
    assert method_name({**preset, "augment": "strong", "model": "au_net"}) == "au_net"


def test_swept_settings_with_the_same_last_part_are_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEPT_SETTINGS, "loss.dice.factor loss.gamma scheduler.scheduler.gamma")
    overrides = ("loss.gamma=1", "scheduler.scheduler.gamma=0.5")
    assert name_of(*overrides) == "phantom-density_asp-loss.gamma=1-scheduler.scheduler.gamma=0.5-fold0-seed0"


def test_the_name_contains_no_local_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEPT_SETTINGS, "dataset.root")
    first, second = (name_of(f"dataset.root=/home/user/{name}") for name in ("a", "b"))
    assert first != second
    assert "user" not in first


def test_the_name_of_a_trial_contains_its_number() -> None:
    assert name_of("trial_number=3") == "phantom-density_asp-trial3-fold0-seed0"


def test_a_sweep_passes_the_swept_settings_to_its_jobs() -> None:
    cfg = config("sweep=alpha", "width=4", with_hydra=True)
    cfg.hydra.overrides.task = ["sweep=alpha", "seed=0,1", "width=4"]
    set_swept_settings(cfg)
    assert cfg.hydra.overrides.hydra[-1] == f'+hydra.job.env_set.{SWEPT_SETTINGS}="loss.alpha seed"'


def test_a_resumed_run_has_the_name_with_which_it_was_started(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert stored_name(folder) == {}
    write_record(folder, RunRecord(job={"number": 0, "overrides": [], "seconds": 0.0}))
    assert stored_name(folder) == {}
    write_record(folder, RunRecord(run_info={"run": "phantom-density_asp-alpha=2.0-fold0-seed0"}))
    assert stored_name(folder) == {"run": "phantom-density_asp-alpha=2.0-fold0-seed0"}


def test_log_files_contain_no_local_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, root = tmp_path / "sweep" / "3", tmp_path / "data" / "INbreast"
    handler = logging.FileHandler(tmp_path / "train.log")
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    monkeypatch.setenv(PROGRAM, "'/home/first last/venv/bin/python' -m mammoseg.")
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        redact_log_files(folder, config(f"dataset.root={root}"))
        logger.warning("finished; its results are in %s", folder)
        logger.warning("to resume: %s", shell_command("train"))
        try:
            raise ValueError(f"{root}/1.dcm: damaged")
        except ValueError:
            logger.exception("job failed in %s", Path.cwd())
    finally:
        logger.removeHandler(handler)
        handler.close()
    text = (tmp_path / "train.log").read_text()
    assert text.startswith("WARNING finished; its results are in 3\nWARNING to resume: 'python' -m mammoseg.train\n")
    assert "ValueError: dataset.root/1.dcm: damaged" in text
    assert str(tmp_path) not in text
    assert str(Path.cwd()) not in text
