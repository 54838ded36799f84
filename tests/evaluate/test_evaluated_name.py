"""Names of the output folders of `mammoseg.evaluate`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import mammoseg.evaluate.__main__  # noqa: F401  # registers the resolver
from mammoseg.conf import conf_dir
from mammoseg.exported_model import CONFIG_FILE, WEIGHTS_FILE
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, write_record


def name(*overrides: str) -> str:
    """The name of the output folder without the date and time, which must follow."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        folder = Path(compose("evaluate", list(overrides), return_hydra_config=True).hydra.run.dir)
    assert folder.parent == Path("outputs/evaluate")
    match = re.fullmatch(r"(.+)-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", folder.name)
    assert match is not None, folder.name
    return match[1]


def make_run(folder: Path, method: str = "au_net", fold: int | str = 2) -> Path:
    run = RunFolder(folder)
    run.best_checkpoint.parent.mkdir(parents=True)
    run.best_checkpoint.touch()
    info = {"run": "r", "experiment": "", "dataset": "phantom", "method": method}
    write_record(run, RunRecord(run_info={**info, "model": "au_net", "loss": "l", "fold": fold, "seed": 3}))
    return folder


def test_the_name_contains_method_fold_seed_and_another_dataset(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert name(f"ckpt_path={run}") == "au_net-fold2-seed3"
    assert name(f"ckpt_path={RunFolder(run).best_checkpoint}") == "au_net-fold2-seed3"
    assert name(f"ckpt_path={run}", "dataset=phantom") == "au_net-fold2-seed3"
    assert name(f"ckpt_path={run}", "dataset=inbreast") == "au_net-fold2-seed3-on-inbreast"
    assert name(f"ckpt_path={make_run(tmp_path / 'official', fold='')}") == "au_net-seed3"


def test_an_ensemble_has_the_name_of_its_method(tmp_path: Path) -> None:
    runs = ",".join(str(make_run(tmp_path / f"run{fold}", fold=fold)) for fold in range(5))
    assert name(f"ckpt_path=[{runs}]", "dataset=inbreast") == "au_net-ensemble5-seed3-on-inbreast"


def test_a_checkpoint_of_an_unknown_run_is_named_after_its_file(tmp_path: Path) -> None:
    (tmp_path / "my model.ckpt").touch()
    assert name(f'ckpt_path="{tmp_path}/my model.ckpt"') == "my_model"


def test_an_exported_model_has_the_name_of_its_run(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).touch()
    config = tmp_path / CONFIG_FILE
    config.write_text("run_info: {method: ../arf net, dataset: phantom, fold: 0, seed: 1}\n")
    assert name(f"ckpt_path={tmp_path}") == ".._arf_net-fold0-seed1"
    config.write_text("config: {}\n")
    assert name(f"ckpt_path={tmp_path}", "dataset=phantom") == f"{tmp_path.name}-on-phantom"


def test_masks_have_the_name_of_the_method(tmp_path: Path) -> None:
    assert (
        name(f"masks={tmp_path}", "name=nn/U-Net", "dataset=inbreast", "seed=4") == "nn_U-Net-fold0-seed4-on-inbreast"
    )


@pytest.mark.parametrize("overrides", [["ckpt_path=missing"], ["ckpt_path=[]"], [], ["masks=DIR", "name=a"]])
def test_invalid_settings_do_not_prevent_the_message_of_the_command(overrides: list[str]) -> None:
    assert name(*overrides) == "evaluation"
