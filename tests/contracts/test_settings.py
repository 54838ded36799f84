"""Contract: every setting of every dataset, method and launcher has exactly one role."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import pytest
from choices import options
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mammoseg.conf import conf_dir
from mammoseg.runs import settings
from mammoseg.runs.settings import ROLES, Role, covers, differing, flatten, method_of, public, role

PLUGINS = {"joblib": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher", "ray": "hydra_ray_launcher"}


def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", list(overrides), return_hydra_config=True)
    return cast("dict[str, Any]", OmegaConf.to_container(cfg))


def entries(key: str) -> list[str]:
    return [entry for entry in (*ROLES, *settings.SHORTHANDS) if covers(entry, key)]


def option_combinations() -> list[list[str]]:
    methods = [
        [f"dataset={dataset}", f"method={method}"] for dataset, method in product(options("dataset"), options("method"))
    ]
    single_options = [
        [f"{group}={name}"]
        for group in (
            "model",
            "loss",
            "split",
            "trainer",
            "logger",
            "augment",
            "sampler",
            "scheduler",
            "callbacks",
            "debug",
        )
        for name in options(group)
    ]
    return [*methods, *single_options, *([f"launcher={name}"] for name in options("launcher"))]


@pytest.mark.parametrize("overrides", option_combinations(), ids=",".join)
def test_each_setting_has_one_role(overrides: list[str]) -> None:
    if plugin := PLUGINS.get(overrides[0].removeprefix("launcher=")):
        pytest.importorskip(f"hydra_plugins.{plugin}", reason="the launcher is not installed")
    keys = [key for key, _ in flatten(composed(*overrides))]
    assert len(keys) > 50
    ambiguous = {key: entries(key) for key in keys if len(entries(key)) > 1}
    assert not ambiguous, "listed twice in runs/settings.py"
    without_role = [
        key for key in keys if not entries(key) and not any(covers(name, key) for name in settings.METHOD_SECTIONS)
    ]
    assert not without_role, "add them to runs/settings.py"


def test_no_entry_is_listed_twice() -> None:
    listed = [*settings.PRIVATE, *settings.COMPUTE, *settings.REPLICATE, *settings.METHOD, *settings.SHORTHANDS]
    assert len(listed) == len(set(listed))
    assert not [(entry, other) for entry in listed for other in listed if entry != other and covers(entry, other)]


def test_an_entry_does_not_cover_longer_names() -> None:
    assert role("seed") is Role.REPLICATE
    assert role("seeding") is Role.METHOD
    assert role("dataset.rooted") is Role.METHOD


def test_compute_and_replicate_settings_do_not_change_the_method() -> None:
    reference = public(composed())
    for override in (
        "dataset.workers=2",
        "num_workers=1",
        "trainer.devices=2",
        "compile=default",
        "optimizer.fused=false",
    ):
        assert differing(reference, public(composed(override))) == [], override
    assert differing(reference, public(composed("trainer.precision=bf16-mixed"))) == ["trainer.precision"]
    assert differing(reference, public(composed("split.seed=1"))) == ["split.seed"]
    assert method_of(reference) == method_of(public(composed("split.seed=1", "seed=3")))


def test_public_settings_contain_no_paths() -> None:
    plain = composed("dataset=cbis_ddsm", "dataset.root=/home/user/CBIS", "dataset.reader.tables=tables")
    plain["dataset"]["reader"]["archive"] = "~/archive"
    plain["dataset"]["reader"]["folders"] = [r"C:\films", "relative"]
    settings_without_paths = public(plain)
    assert settings_without_paths["dataset"]["root"] is None
    assert settings_without_paths["dataset"]["store"] is None
    assert settings_without_paths["dataset"]["reader"]["tables"] is None
    assert settings_without_paths["dataset"]["reader"]["archive"] is None
    assert settings_without_paths["dataset"]["reader"]["folders"] == [None, "relative"]
    assert "hydra" not in settings_without_paths
    assert "width" not in settings_without_paths
