"""Errors and help of the commands: a UserError gives one sentence and exit status 2, a bug keeps its traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from helpers.commands import run
from mammoseg.cli import check_user_argv, user_message
from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.schema.help_text import setting_comments
from mammoseg.schema.renamed import RENAMED_TRAIN_SETTINGS as RENAMED_SETTINGS
from mammoseg.schema.renamed import check_renamed, check_renamed_config


def chained(outer: Exception, inner: Exception) -> Exception:
    try:
        raise outer from inner
    except type(outer) as error:
        return error


def test_user_message_of_a_wrapped_user_error() -> None:
    wrapped = chained(InstantiationException("wrapped"), chained(ValueError("x"), UserError("fix it")))
    assert user_message(wrapped) == "fix it"


@pytest.mark.parametrize("bug", [ValueError("a bug"), InstantiationException("a bug"), KeyError("a bug")])
def test_user_message_of_a_bug_is_none(bug: Exception) -> None:
    assert user_message(bug) is None


def test_conf_dir_of_a_source_checkout_is_its_conf_folder() -> None:
    assert conf_dir() == Path(__file__).resolve().parents[1] / "conf"


@pytest.mark.parametrize("prefix", ["", "+", "++"])
@pytest.mark.parametrize("old", [old for old, new in RENAMED_SETTINGS.items() if new is not None])
def test_a_renamed_setting_raises_with_its_new_name(prefix: str, old: str) -> None:
    override = old if "=" in old else f"{old}=1"
    new = RENAMED_SETTINGS[old]
    assert new is not None
    with pytest.raises(UserError, match=re.escape(new.partition("=")[0])) as raised:
        check_renamed([f"{prefix}{override}"], RENAMED_SETTINGS)
    assert f"{prefix}{new if '=' in new else f'{new}=1'}" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_removing_a_renamed_setting_raises_with_its_new_name() -> None:
    with pytest.raises(UserError, match=r"~dataset\.note"):
        check_renamed(["~dataset.remark"], RENAMED_SETTINGS)


def test_options_and_current_settings_do_not_raise() -> None:
    check_renamed(["--config-name", "trial", "-m", "trial_number=1", "dataset.on_error=skip"], RENAMED_SETTINGS)


@pytest.mark.parametrize("old", ["decay_every", "dataset.on_bad"])
def test_a_renamed_setting_in_yaml_raises_with_its_new_name(old: str) -> None:
    cfg = OmegaConf.create({"dataset": {}, "loss": {"theta": [1, 1, 1, 1]}})
    check_renamed_config(cfg, RENAMED_SETTINGS)
    OmegaConf.update(cfg, old, 1, force_add=True)
    with pytest.raises(UserError, match=f"{old}.*{RENAMED_SETTINGS[old]}"):
        check_renamed_config(cfg, RENAMED_SETTINGS)


def test_a_renamed_group_in_a_defaults_list_exits_with_its_new_name(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "clinic.yaml").write_text("defaults: [/preparation@_here_: default]\n")
    completed = run("train", "--config-dir", str(tmp_path), "dataset=clinic", folder=tmp_path)
    assert completed.returncode == 2
    assert "preprocessing/default" in completed.stderr
    assert "Traceback" not in completed.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["dataset=inbreast", "dataset.root=nowhere"], ["nowhere", "AllDICOMs", "INbreast.csv"]),
        (["dataset=folder", "dataset.root=nowhere"], ["nowhere", "cases.csv", "dataset.root"]),
        (["loss=typo"], ["loss must be one of", "density_asp", "got typo"]),
        (["lossy=1"], ["lossy"]),
        (["loss.theta=[0.5,0.5,0.85]"], ["loss.theta", "4 entries"]),
        (["split.fold=5"], ["split.fold must be from 0 to 4", "got 5"]),
        (["ckpt_path=nothing.ckpt"], ["ckpt_path", "resume=nothing.ckpt"]),
        (["++dataset.on_bad=error"], ["dataset.on_bad", "++dataset.on_error=raise"]),
        (["sweep=optuna", "hydra.sweeper.trials=3"], ["hydra.sweeper.n_trials=3"]),
        (["resume=nothing"], ["resume=nothing", "no such run folder"]),
        (["init_from=nothing.ckpt"], ["init_from=nothing.ckpt", "no such file"]),
        (["encoder_weights=nothing.pth"], ["encoder_weights=nothing.pth", "no such file"]),
        (["dataset.missing_density=5"], ["dataset.missing_density must be one of", "drop", "got 5"]),
        (["dataset.size=100"], ["dataset.size must be", "multiple of 16", "got 100"]),
        (["logger.mode=sometimes"], ["logger.mode", "offline", "got sometimes"]),
        (["batch_size=0"], ["batch_size must be an integer from 1", "got 0"]),
        (["loss.alpha=0", "loss.beta=0", "loss.eta=0", "loss.gamma=0"], ["loss.alpha", "must not all be 0"]),
        (["trainer.precision=17"], ["trainer", "17", "bf16-mixed"]),
        (["loss.rmi.pool=median"], ["loss.rmi.pool", "max"]),
    ],
)
def test_invalid_setting_gives_one_sentence_and_status_2(
    arguments: list[str], expected: list[str], tmp_path: Path
) -> None:
    small = ["model.width=1"]
    if not arguments[0].startswith("dataset="):
        small += ["dataset.source.cases=30", "dataset.source.height=208", "dataset.workers=1"]
    completed = run("train", *arguments, *small, folder=tmp_path)
    assert completed.returncode == 2, completed.stderr
    for text in expected:
        assert text in completed.stderr
    assert not list(tmp_path.rglob("*.ckpt"))


def test_help_lists_config_groups_without_importing_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['train', '--help']\n"
        "import atexit; atexit.register(lambda: print('torch imported:', 'torch' in sys.modules))\n"
        "import runpy; runpy.run_module('mammoseg.train', run_name='__main__')"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False
    )
    assert "torch imported: False" in completed.stdout, completed.stderr
    groups = (
        "dataset",
        "model",
        "loss",
        "theta",
        "split",
        "optimizer",
        "scheduler",
        "trainer",
        "callbacks",
        "logger",
        "augment",
    )
    for group in (*groups, "experiment"):
        assert f"\n{group}: " in completed.stdout, group


def test_a_yaml_file_that_cannot_be_parsed_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: [1\n")
    completed = run("train", "--config-dir", str(tmp_path), "loss=mine", folder=tmp_path)
    assert completed.returncode == 2
    assert completed.stderr.count("\n") == 1
    assert "loss/mine.yaml: not valid YAML, line 2" in completed.stderr


def test_windows_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Windows")
    with pytest.raises(UserError, match="require Linux or macOS, got Windows; use the Windows Subsystem for Linux"):
        check_user_argv("train", [])


def test_a_removed_working_directory_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cwd() -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", cwd)
    completed = run("train", folder=tmp_path)
    assert completed.returncode == 2
    assert completed.stderr == ("mammoseg train: the working directory no longer exists; change to another folder\n")


@pytest.mark.parametrize("command", ["train", "prepare", "compare", "phantom"])
def test_help_fits_on_two_screens_and_explains_the_settings(command: str, tmp_path: Path) -> None:
    completed = run(command, "--help", folder=tmp_path)
    lines = completed.stdout.splitlines()
    assert completed.returncode == 0
    assert len(lines) <= 100
    settings = setting_comments(conf_dir() / f"{command}.yaml")
    assert {name for name in settings if not any(line.startswith(f"  {name}=") for line in lines)} == set()
    shown = " ".join(completed.stdout.split())
    assert {name for name, comment in settings.items() if comment not in shown} == set()
    assert "$" not in completed.stdout.replace("${", "")


def test_help_shows_the_values_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: mine.Loss\n")
    help_text = run(
        "train", "--config-dir", str(tmp_path), "dataset=inbreast", "seed=7", "--help", folder=tmp_path
    ).stdout
    assert re.search(r"^  seed=7 +random seed", help_text, re.MULTILINE)
    assert re.search(r"^  width=64 ", help_text, re.MULTILINE)
    assert re.search(r"^loss: .*\bmine\b", help_text.replace("\n  ", " "), re.MULTILINE)
