"""Validation of composed configs, and of the command line."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import get_object

from mammoseg.conf import conf_dir, targets_in
from mammoseg.data.dataset import build_dataset
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.errors import UserError
from mammoseg.runs.untrusted_config import GROUPS
from mammoseg.schema.check import check_config
from mammoseg.schema.command_line import check_overrides, config_dirs, explain, split_options
from mammoseg.schema.commands import SETTINGS
from mammoseg.schema.parts import PARTS
from mammoseg.schema.signatures import target_arguments


def check(command: str, *overrides: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose(command, list(overrides))
    check_config(command, cfg)


def groups() -> list[str]:
    return sorted(
        f"{path.parent.relative_to(conf_dir())}={path.stem}"
        for group in (*GROUPS, "theta", "method", "experiment", "sweep")
        for path in (conf_dir() / group).glob("*.yaml")
    )


@pytest.mark.parametrize("choice", groups())
def test_every_choice_of_every_group_is_valid(choice: str) -> None:
    check("train", choice)


def test_there_is_a_schema_for_every_command() -> None:
    assert SETTINGS.keys() == {path.stem for path in conf_dir().glob("*.yaml")}


@pytest.mark.parametrize("command", ["train", "prepare", "fit_density"])
def test_all_settings_of_a_dataset_are_listed(command: str) -> None:
    """The arguments of the dataset are listed, although its function has a `**kwargs`."""
    output = ["output=x"] if command == "fit_density" else []
    check(command, *output, "dataset.crop=film")
    with pytest.raises(UserError, match=r"there is no setting dataset\.crp; did you mean dataset\.crop"):
        check(command, *output, "+dataset.crp=film")
    own = {
        name
        for name, parameter in inspect.signature(build_dataset).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    settings = {field.name for field in dataclasses.fields(PreprocessingSettings)}
    assert PARTS["mammoseg.data.dataset.build_dataset"].arguments.keys() == own | settings


@pytest.mark.parametrize("target", sorted(PARTS))
def test_listed_arguments_exist(target: str) -> None:
    parameters = inspect.signature(get_object(target)).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    assert PARTS[target].arguments.keys() <= parameters.keys()


def test_parts_lists_only_targets_of_conf() -> None:
    assert PARTS.keys() <= {target for _, target in targets_in(("preprocessing", *GROUPS), [conf_dir()])}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epochs=abc"], "epochs must be an integer from 1"),
        (["+epoch=50"], "there is no setting epoch; did you mean epochs?"),
        (["+loss.alfa=3"], "there is no setting loss.alfa; did you mean loss.alpha?"),
        (["+optimizer.weight_decy=0.1"], "did you mean optimizer.weight_decay?"),
        (["+optimizer.weight_decay=-1"], "optimizer.weight_decay must be a number"),
        (["+trainer.fast_dev_run=true"], "trainer.fast_dev_run must be false"),
        (["+trainer.logger=false"], "trainer.logger must be null"),
        (["+trainer.check_val_every_n_epoch=50"], "must be at most the number of epochs, 30, got 50"),
        (["+trainer.max_time=5"], "trainer.max_time must be a duration above 0 as DD:HH:MM:SS"),
        (["+trainer.max_time={hours:1}"], "trainer.max_time must be a duration above 0 as DD:HH:MM:SS"),
        (["+trainer.val_check_interval=0"], "trainer.val_check_interval must be"),
        (["+trainer.limit_test_batches=0.5"], "trainer.limit_test_batches must be one of 1.0, null"),
        (["+trainer.strategy=ddp_spawn"], "trainer.strategy must be one of auto, ddp"),
        (["+trainer.model_registry=a"], "trainer.model_registry must be null"),
        (["trainer.accelerator=cpu", "trainer.devices=[0,1]"], "trainer.devices must be auto or a number of processes"),
        (["trainer.devices=abc"], "or indices separated by commas, got abc"),
        (["trainer.accelerator=cpu", "trainer.precision=16-mixed"], "trainer.precision must be 32-true or bf16-mixed"),
        (
            ["model=efficientnet_unet", "dataset.normalise=zscore"],
            "dataset.normalise must be minmax or percentile with model=efficientnet_unet",
        ),
        (
            ["augment=strong", "dataset.normalise=zscore"],
            "dataset.normalise must be minmax or percentile with",
        ),
        (["+trainer.min_epochs=31"], "trainer.min_epochs must be at most the number of epochs, 30, got 31"),
        (["scheduler=one_cycle", "scheduler.interval=epoch"], "scheduler.interval must be step"),
        (["callbacks=none", "patience=3"], "patience must be null without callbacks.early_stopping"),
        (["~callbacks"], "callbacks is missing from the configuration; it must be a mapping from names to parts"),
        (["split.fold=5"], "split.fold must be from 0 to 4 with split.folds=5, got 5"),
        (["split.seed=null"], "split.seed must be an integer"),
        (["loss.alpha=0", "loss.beta=0", "loss.eta=0", "loss.gamma=0"], "must not all be 0"),
        (["loss.theta=[1,1,1]"], "loss.theta must be a list of 4 entries"),
        (["loss=combo", "+loss.weights.x=1"], "loss.weights must be weights of the terms bce, dice, got x"),
        (["model=swin_unetr", "dataset.size=48"], "dataset.size must be a multiple of 32"),
        (
            ["model=seg_res_net", "model.blocks=[1,2,2,2,2]", "dataset.size=48"],
            "dataset.size must be a multiple of 32 (model.patch_size * 2^(number of model.blocks - 1)) with "
            "model=seg_res_net, got 48",
        ),
        (["model=seg_res_net", "model.patch_size=3"], "dataset.size must be a multiple of 24 (model.patch_size * 2"),
        (["model=resnet_unet", "model.depth=101"], "model.depth must be one of 18, 34, 50, got 101"),
        (["init_from=a", "encoder_weights=b"], "encoder_weights must be null with init_from"),
        (["layer_decay=0"], "layer_decay must be a number above 0 and at most 1, got 0"),
        (["callbacks=freeze_encoder", "callbacks.freeze_encoder.epochs=0"], "epochs must be an integer from 1"),
        (
            ["callbacks=[default,auto_clip]", "trainer.gradient_clip_val=2.0"],
            "trainer.gradient_clip_val must be null with callbacks.gradient_clipping.percentile=90, got 2.0",
        ),
        (["callbacks.gradient_clipping.percentile=101"], "percentile must be a number from 0 to 100 or null"),
        (["scheduler=step_warmup", "scheduler.scheduler.warmup_epochs=-1"], "warmup_epochs must be a number"),
        (["optimizer._partial_=false"], "optimizer._partial_ must be true"),
        (["+model._partial_=true"], "model._partial_ must be false"),
        (["model._target_=no.such.module"], "model._target_ must be the path of a class or function"),
        (["model._target_=3"], "model._target_ must be the path of a class or function"),
        (["optimizer._target_=torch.optim.SGD", "~optimizer.fused", "+optimizer.momentum=2"], "optimizer.momentum"),
        (["augment=flip_affine", "augment.transforms.0.p=2"], "augment.transforms.0.p must be a number from 0 to 1"),
        (["lr=${nothing}"], "lr cannot be resolved"),
        (["~seed"], "seed is missing from the configuration"),
        (["dataset.root=true"], "dataset.root must be a path, got true; quote"),
    ],
)
def test_invalid_setting(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        check("train", *overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "override",
    [
        *("dataset.root=2024", "lr=1", "patience=3", "dataset.missing_density=2", "+trainer.max_time=00:12:00:00"),
        *("+trainer.val_check_interval=0.5", "+trainer.limit_test_batches=1.0", "+trainer.min_epochs=30"),
    ],
)
def test_valid_setting(override: str) -> None:
    check("train", override)


@pytest.mark.parametrize("trainer", ["trainer=default", "trainer=ddp"])
def test_auto_clip_replaces_the_fixed_norm(trainer: str) -> None:
    check("train", "callbacks=[default,auto_clip]", trainer)


class Net:
    """A network of a user: annotated arguments, one of them without a default."""

    def __init__(self, depth: int, names: Sequence[str] = (), bias: bool | None = None, other: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("argument", "valid"),
    [("depth=2", True), ("depth=2.5", False), ("bias=null", True), ("bias=yes", False), ("names=[a]", True)],
)
def test_arguments_of_other_targets_are_checked_by_their_annotations(argument: str, valid: bool) -> None:
    arguments, accepts_others = target_arguments("model", f"{__name__}.Net")
    name, _, text = argument.partition("=")
    value = {"2": 2, "2.5": 2.5, "null": None, "yes": "yes", "[a]": ["a"]}[text]
    assert arguments[name].accepts(value) is valid
    assert not accepts_others


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset=inbrest", "got inbrest; did you mean inbreast?"),
        ("dataset=null", "dataset must be one of"),
        ("callbacks=[default,emma]", "did you mean ema?"),
        ("loss=dice,focl", "got focl; did you mean focal?"),
        ("lr=[", "cannot parse lr=["),
        ("lr", "write key=value"),
        ("=3", "write key=value"),
        ("dataset.root=/a=b", "quote values that contain special characters"),
        ("model=[unet,au_net]", "got [unet, au_net]"),
        ("+model=unet", "model=... without +"),
    ],
)
def test_invalid_override(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        check_overrides([override], [conf_dir()])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.weight_decay=3"], "write +optimizer.weight_decay=..."),
        (["optimizer.wieght_decay=3"], "did you mean +optimizer.weight_decay?"),
        (["optimizer=sgd", "optimizer.nestrov=true"], "did you mean optimizer.nesterov?"),
        (["optimizer=sgd", "optimizer.amsgrad=true"], "there is no setting optimizer.amsgrad; see --help"),
        (["model=unet", "model.gradient_checkpointing=true"], "with this choice of model"),
        (["trainer.max_steps=3"], "write +trainer.max_steps=..."),
        (["lr=range(0,3)"], "lr has several values; add -m"),
        (["epoch=3"], "did you mean epochs?"),
    ],
)
def test_an_unknown_argument_of_the_chosen_class(overrides: list[str], message: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"), pytest.raises(HydraException) as error:
        compose("train", overrides)
    assert message in explain(error.value, "train", conf_dir(), overrides)


def test_the_invalid_entry_of_a_mapping_is_named() -> None:
    with pytest.raises(UserError, match=r"names\.au_net must be a non-empty string, got 5"):
        check("compare", "runs=x", "names.au_net=5")


def test_choices_of_a_config_dir_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").touch()
    options, overrides = split_options(["--config-dir", str(tmp_path), "loss=mine", "-m", "seed=1,2"])
    assert (options, overrides) == (["--config-dir", str(tmp_path), "-m"], ["loss=mine", "seed=1,2"])
    check_overrides(overrides, [conf_dir(), *config_dirs(options)])
    assert config_dirs([f"--config-dir={tmp_path}"]) == [tmp_path]
