"""YAML files that users wrote for an earlier version give an error that names the new setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.commands import run

FILES = {
    "experiment/sweep_theta.yaml": """
        # @package _global_
        hydra: {mode: MULTIRUN, sweeper: {params: {loss.theta.2: "0.8,0.9"}}}
    """,
    "experiment/sweep_decay.yaml": """
        # @package _global_
        hydra: {mode: MULTIRUN, sweeper: {params: {decay_every: "1,2"}}}
    """,
    "experiment/search_theta.yaml": """
        # @package _global_
        defaults: [{override /hydra/sweeper: mammoseg_optuna}]
        hydra: {mode: MULTIRUN, sweeper: {params: {loss.theta.0: "interval(0,1)"}}}
    """,
    "experiment/old_group.yaml": """
        # @package _global_
        defaults: [{override /preparation: default}]
    """,
    "dataset/old_reader.yaml": """
        defaults: [/preprocessing@_here_: default, /theta@_global_.theta: flat, /split@_global_.split: official, _self_]
        name: mine
        root: data
        reader: {_target_: mammoseg.data.folder.read, _partial_: true}
    """,
    "model/old_argument.yaml": """
        _target_: mammoseg.models.au_net.AUNet
        width: 2
        in_channels: 1
    """,
    "logger/old_logger.yaml": """
        _target_: mammoseg.report.WandbReport
        _partial_: true
        mode: offline
    """,
    "theta/old_theta.yaml": """
        values: [1, 1, 1, 1]
        alpha: 2.0
    """,
}


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "user" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line[8:] for line in text.strip("\n").splitlines()), encoding="utf-8")
    return tmp_path / "user"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("experiment=sweep_theta", "loss.theta.2 is now called theta.acr3; write theta.acr3=0.8,0.9 instead"),
        ("experiment=sweep_decay", "decay_every is now called lr_decay_epochs"),
        ("experiment=search_theta", "loss.theta.0 is now called theta.acr1"),
        ("experiment=old_group", "preparation is now called preprocessing"),
        ("dataset=old_reader", "mammoseg.data.folder.read is now called mammoseg.data.readers.image_folder.read"),
        ("model=old_argument", "model.in_channels was removed"),
        ("logger=old_logger", "logger must be a mapping from names to parts"),
        ("theta=old_theta", "theta.acr1"),
        ("theta.values.2=0.3", "theta.values.2 is now called theta.acr3"),
        ("loss.theta=[1,1,1,1] theta.acr3=0.9", "theta.acr3 has no effect with loss.theta"),
        ("sweep=theta theta.acr3=0.9", "theta.acr3 has no effect with loss.theta"),
        ("-m loss.theta=[1,1,1,1],[0,0,1,1] theta.acr3=0.8,0.9", "theta.acr3 has no effect with loss.theta"),
    ],
)
def test_error_names_the_new_setting(config_dir: Path, tmp_path: Path, arguments: str, message: str) -> None:
    if "search" in arguments:
        pytest.importorskip("optuna")
    completed = run("train", "--config-dir", str(config_dir), *arguments.split(), folder=tmp_path)
    assert completed.returncode == 2
    assert message in completed.stderr
    assert completed.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["user"]
