"""The method, network and loss on the command line are those that are trained, with every experiment and sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.launch.method_choice import check_distinct_methods, check_method, selections
from mammoseg.launch.settings_check import SettingsCheck

CONF = [conf_dir()]


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=True)


def chosen(cfg: DictConfig) -> dict[str, Any]:
    """Choices of groups, and settings."""
    choices: Any = OmegaConf.to_container(cfg.hydra.runtime.choices)
    return {**cfg, **choices}


@pytest.mark.parametrize("preset", [f"{group}={name}" for group in ("experiment", "sweep") for name in names(group)])
def test_a_method_is_trained_as_it_is_or_rejected(preset: str) -> None:
    accepted = []
    for method in names("method"):
        overrides = [preset, f"method={method}", *(["dataset=folder"] if "density_effect" in preset else [])]
        try:
            check_method(overrides, CONF)
        except UserError:
            continue
        accepted.append(method)
        result = chosen(config(*overrides))
        for name, value in selections(conf_dir() / "method" / f"{method}.yaml").items():
            if not isinstance(value, list):  # Hydra does not record lists of choices
                assert result[name] == value, (method, name)
    assert "density_asp" in accepted
    assert ("au_net" in accepted) == preset.startswith("experiment")


@pytest.mark.parametrize("override", ["model=unet", "loss=dice"])
@pytest.mark.parametrize("experiment", names("experiment"))
def test_a_network_and_a_loss_replace_those_of_the_method(experiment: str, override: str) -> None:
    group, _, name = override.partition("=")
    choices = config(f"experiment={experiment}", "method=arf_net", override, "dataset=phantom").hydra.runtime.choices
    expected = {"model": "arf_net", "loss": "hybrid_pixel", group: name}
    assert {key: choices[key] for key in expected} == expected


def test_the_demo_trains_the_default_method() -> None:
    demo, default = config("experiment=demo"), config()
    for section in ("model", "loss", "optimizer", "width", "epochs", "lr"):
        assert demo[section] == default[section]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["sweep=theta", "method=au_net"],
            "method=au_net selects loss=hybrid_pixel, but sweep=theta selects loss=density_asp; add one of them to the "
            "command line",
        ),
        (
            ["experiment=density_effect", "method=seg_res_net", "callbacks=default"],
            "method=seg_res_net selects width=16, but experiment=density_effect selects width=8; add one of them to "
            "the command line",
        ),
    ],
)
def test_conflicts_are_one_sentence(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as raised:
        check_method(overrides, CONF)
    assert str(raised.value) == message


def test_an_experiment_of_the_user_must_not_replace_the_loss_of_the_method(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /method: au_net\n  - override /loss: dice\nwidth: 4\n"
    )
    check_method(["experiment=mine"], [*CONF, tmp_path])  # it may choose another loss for its own method
    with pytest.raises(UserError, match="method=arf_net selects loss=hybrid_pixel, but experiment=mine selects loss="):
        check_method(["experiment=mine", "method=arf_net"], [*CONF, tmp_path])
    check_method(["experiment=mine", "method=arf_net", "loss='dice'"], [*CONF, tmp_path])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=au_net,arf_net", "loss=dice"], None),
        (["method=au_net", "loss=dice"], None),
        (["method=au_net,density_asp", "width=4"], None),
        (["method=au_net,density_asp", "loss=dice"], "loss replaces that of the methods au_net and density_asp, which"),
        (
            ["method=au_net,arf_net", "model=unet,au_net"],
            "model replaces that of the methods au_net and arf_net, which",
        ),
    ],
)
def test_methods_that_are_equal_are_not_swept(overrides: list[str], message: str | None) -> None:
    parsed = OverridesParser.create().parse_overrides(overrides)
    if message is None:
        check_distinct_methods(parsed, CONF)
        return
    with pytest.raises(UserError, match=message):
        check_distinct_methods(parsed, CONF)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=table1", "dataset=phantom", "loss=dice"], "loss replaces that of the methods"),
        (["experiment=table2", "dataset=phantom", "model=unet"], "model replaces that of the methods"),
        (["experiment=density_effect", "dataset=phantom", "method=seg_res_net"], "callbacks="),
        (["experiment=table1", "dataset=phantom", "loss=dice", "method=au_net"], None),
    ],
)
def test_sweeps_are_checked_before_they_start(
    overrides: list[str], message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides, return_hydra_config=True)
        cfg.hydra.overrides.task = overrides
        cfg.hydra.job.config_name = "train"
        cfg.hydra.runtime.config_sources = []
        if message is None:
            SettingsCheck().on_multirun_start(cfg)
            return
        with pytest.raises(SystemExit) as raised:
            SettingsCheck().on_multirun_start(cfg)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err
