"""Checks of Hydra's own settings and options on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.launch.settings_check import SettingsCheck
from mammoseg.schema.hydra_settings import (
    LONG_OPTIONS,
    SHORT_OPTIONS,
    check_hydra_overrides,
    check_options,
    check_sweep_settings,
    expand_home,
)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra=null", "hydra cannot be changed"),
        ("hydra.job.name=predict", "hydra.job.name cannot be changed"),
        ("~hydra.output_subdir", "hydra.output_subdir cannot be changed, since resume reads"),
        ("hydra/job_logging=disabled", "set hydra/job_logging=none"),
        ("hydra.run.dir=", "hydra.run.dir must be a folder, got an empty value"),
        ("hydra.sweep.dir=null", "hydra.sweep.dir must be a folder, got null"),
        ("+hydra.foo=1", "there is no setting hydra.foo"),
        ("++hydra.sweep.dri=x", "there is no setting hydra.sweep.dri; did you mean hydra.sweep.dir?"),
    ],
)
def test_settings_without_effect_are_rejected(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        check_hydra_overrides([override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    "override", ["++hydra.run.dir=x", "+hydra.job.env_set.A=1", "+hydra.launcher.name=x", "hydra.verbose=true", "-m"]
)
def test_settings_with_effect_are_accepted(override: str) -> None:
    check_hydra_overrides([override])


@pytest.mark.parametrize("option", ["--resolve", "--package", "--experimental-rerun=x", "--shell-completion"])
def test_options_that_hydra_would_end_with_a_traceback_are_rejected(option: str) -> None:
    with pytest.raises(UserError, match=option.partition("=")[0]):
        check_options([option])
    check_options(["--cfg", "job", "-m", "--config-dir", "mine"])


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--epochs=3", "epochs=3"),
        ("--epochs", "epochs=..."),
        ("---epochs=3", "epochs=3"),
        ("-epochs=3", "epochs=3"),
        ("--batch-size=4", "batch_size=4"),
        ("--loss.alpha=1", "loss.alpha=1"),
    ],
)
def test_settings_with_dashes_are_explained(option: str, setting: str) -> None:
    name = option.partition("=")[0]
    with pytest.raises(UserError, match=re.escape(f"no option {name}; settings have no dashes: write {setting}")):
        check_options(["-m", option])


def test_options_of_hydra_and_their_abbreviations_are_accepted() -> None:
    names = [name for action in get_args_parser()._actions for name in action.option_strings]
    assert {*LONG_OPTIONS, *SHORT_OPTIONS} == set(names)
    check_options(["--multi", "-m", "-cjob", "--info=plugins", "--hydra-help", "--config-dir", "--mine"])


def test_options_of_the_printed_config_are_accepted() -> None:
    check_options(["--cfg", "job", "--resolve", "--package", "trainer"])


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
def test_the_home_folder_is_expanded_in_output_folders(key: str) -> None:
    for value in ("~/runs", '"~/runs"', "'~/runs'"):
        assert expand_home(f"{key}={value}") == f'{key}="{Path.home()}/runs"'
    assert expand_home(f"{key}=runs/a~b") == f"{key}=runs/a~b"


@pytest.mark.parametrize("name", ["launcher.n_jobs", "sweeper.max_batch_size"])
def test_numbers_of_launcher_and_sweeper_are_checked(name: str) -> None:
    section, key = name.split(".")
    base: dict[str, dict[str, int]] = {"launcher": {}, "sweeper": {}}
    check_sweep_settings(OmegaConf.create(base))
    check_sweep_settings(OmegaConf.create({**base, section: {key: 2}}))
    with pytest.raises(UserError, match=f"hydra.{name} must be"):
        check_sweep_settings(OmegaConf.create({**base, section: {key: 0}}))


def test_a_search_can_only_maximise_the_validation_dsc() -> None:
    check_sweep_settings(OmegaConf.create({"launcher": {}, "sweeper": {"direction": "maximize"}}))
    with pytest.raises(UserError, match=r"hydra\.sweeper\.direction must be maximize, got minimize"):
        check_sweep_settings(OmegaConf.create({"launcher": {}, "sweeper": {"direction": "minimize"}}))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=interval(0,1)", "lr=interval(0,1) requires sweep=optuna"),
        ("optimizer.weight_decay=1,2", "write +optimizer.weight_decay=..."),
    ],
)
def test_a_sweep_over_an_invalid_setting_starts_no_job(
    override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", return_hydra_config=True)
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.overrides.task = [override]
        with pytest.raises(SystemExit) as exit_info:
            SettingsCheck().on_multirun_start(cfg)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
