"""A config from a checkpoint or run folder of somebody else cannot run code."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.evaluate.members import INSTANTIATED_SECTIONS
from mammoseg.exported_model import CONFIG_FILE, WEIGHTS_FILE
from mammoseg.runs import checkpoint
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.untrusted_config import check_plain, check_targets
from mammoseg.train.resume import stored_overrides

PWN = "from pathlib import Path; Path('ran').touch()"


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        stored: Any = OmegaConf.to_container(compose("train"), resolve=True)
    stored["dataset"].update(root=None, store=None, source=None)
    return dict(stored)


def save(folder: Path, config: Any) -> Path:
    path = folder / "best.ckpt"
    torch.save({checkpoint.PROVENANCE_KEY: {"config": config, "run_info": {}}, "state_dict": {}}, path)
    return path


def with_part(config: dict[str, Any], section: str, part: Any) -> dict[str, Any]:
    return {**copy.deepcopy(config), section: part}


def test_config_of_a_run_is_accepted(tmp_path: Path, config: dict[str, Any]) -> None:
    loaded = checkpoint.load_checkpoint(save(tmp_path, config), INSTANTIATED_SECTIONS)
    assert loaded[checkpoint.PROVENANCE_KEY]["config"] == config


@pytest.mark.parametrize(
    ("section", "part"),
    [
        # A function of torch, in a section that only training instantiates and in one that evaluate instantiates.
        ("optimizer", {"_target_": "torch.utils.collect_env.run", "_args_": ["touch ran"]}),
        ("model", {"_target_": "torch.utils.collect_env.run", "command": "touch ran"}),
        # A tuple, which OmegaConf turns into a list.
        ("augment", ({"_target_": "os.system", "command": "touch ran"},)),
        # An interpolation in a target.
        ("model", {"_target_": "mammoseg.models.au_net.${width}", "width": "AUNet"}),
        # An attribute that the module does not have.
        ("model", {"_target_": "mammoseg.models.au_net.no_such_network"}),
        # Downloads weights through torch.hub.
        ("loss", {"_target_": "monai.losses.PerceptualLoss", "spatial_dims": 2, "cache_dir": "ran"}),
        # Functions of mammoseg that write, delete or stop processes.
        ("model", {"_target_": "mammoseg.files.atomic_write_text", "path": "ran", "text": ""}),
        ("dataset", {"_target_": "mammoseg.phantom.write.write_inbreast", "root": "ran"}),
        ("split", {"_target_": "mammoseg.processes.die_with_parent"}),
        ("loss", {"_target_": "mammoseg.launch.signals.requeue", "signum": 15}),
        # Choices at another position.
        ("loss", {"_target_": "mammoseg.losses.Dice"}),
        ("loss", {"_target_": "mammoseg.losses.HybridPixel", "dice": {"_target_": "mammoseg.losses.HybridPixel"}}),
        ("model", {"_target_": "mammoseg.models.monai_nets.dyn_unet", "x": {"_target_": "mammoseg.models.unet.UNet"}}),
        ("dataset", {"reader": {"_target_": "mammoseg.phantom.write.write_inbreast", "_partial_": True}}),
        ("dataset", {"reader": {"_target_": "mammoseg.data.dataset.build_dataset", "_partial_": True}}),
        # A class of another section.
        ("loss", {"_target_": "mammoseg.models.au_net.AUNet", "width": 1}),
        # Modules that mammoseg imports.
        ("model", {"_target_": "mammoseg.predict.output_folder.shutil.rmtree", "path": "."}),
        ("model", {"_target_": "mammoseg.build.instantiate"}),
        ("model", {"_target_": "builtins.exec", "_args_": [PWN]}),
        # Keys of instantiate.
        ("model", {"_target_": "mammoseg.models.au_net.AUNet", "_args_": [1]}),
        ("model", {"_target_": "mammoseg.models.au_net.AUNet", "_partial_": True}),
        ("model", {"_target_": "mammoseg.models.au_net.AUNet", "_recursive_": False}),
        ("loss", {"_target_": "mammoseg.losses.Criterion", "terms": {"x": {"_target_": "os.getcwd"}}}),
        # Values of the wrong type.
        ("model", {"_target_": "mammoseg.models.au_net.AUNet", "width": None}),
        ("model", {"_target_": "mammoseg.models.au_net.AUNet", "width": "64"}),
        ("model", {"_target_": ["os.system"]}),
        ("model", None),
        ("model", []),
        # A name that is part of a path.
        ("dataset", {"name": "../../phantom"}),
    ],
)
def test_untrusted_part_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], section: str, part: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    sections = (*INSTANTIATED_SECTIONS, "optimizer", "augment")
    if isinstance(part, dict) and "_target_" not in part:
        part = {**config[section], **part}
    with pytest.raises(UserError):
        checkpoint.load_checkpoint(save(tmp_path, with_part(config, section, part)), sections)
    assert not Path("ran").exists()


def nested_positions(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a config."""
    items: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from nested_positions(value, (*path, key))


@settings(max_examples=150)
@given(data=st.data())
def test_code_is_rejected_at_every_position(config: dict[str, Any], data: st.DataObject) -> None:
    """Replace a value at any depth of an instantiated section by a part that runs code."""
    changed = copy.deepcopy(config)
    section = data.draw(st.sampled_from(INSTANTIATED_SECTIONS))
    keys = data.draw(st.sampled_from([path for path in nested_positions(changed[section]) if path[-1] != "source"]))
    target = data.draw(st.sampled_from(["os.system", "builtins.exec", "subprocess.run", "mammoseg.files.remove_dir"]))
    wrap = data.draw(st.sampled_from([lambda part: part, lambda part: [part], lambda part: {"x": part}]))
    extra: dict[str, Any] = data.draw(
        st.sampled_from([{}, {"_partial_": True}, {"_args_": ["true"]}, {"_convert_": "all"}])
    )
    node = changed[section]
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = wrap({"_target_": target, **extra})
    check_plain(changed, "best.ckpt")
    with pytest.raises(UserError):
        check_targets(changed, INSTANTIATED_SECTIONS, "best.ckpt")


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, b"bytes", torch.zeros(1), "${oc.env:HOME}", {(1,): 1}, "x" * 20_000])
def test_values_that_are_not_plain_are_rejected(value: Any) -> None:
    with pytest.raises(UserError, match=r"its config|keys of its config"):
        check_plain({"model": {"width": value}}, "best.ckpt")


def test_limits_of_depth_and_size() -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    for config in (deep, list(range(1_000_000))):
        with pytest.raises(UserError, match="levels deep"):
            check_plain(config, "best.ckpt")


def test_shared_values_are_counted_as_often_as_they_occur() -> None:
    node: Any = [1]
    for _ in range(60):
        node = [node, node]
    with pytest.raises(UserError, match="levels deep"):
        check_plain(node, "best.ckpt")


def test_trusted_modules_may_be_named(config: dict[str, Any]) -> None:
    changed = with_part(config, "model", {"_target_": "torch.nn.Identity"})
    with pytest.raises(UserError, match=r"trusted_modules=\[torch.nn.Identity\]"):
        check_targets(changed, ["model"], "best.ckpt")
    check_targets(changed, ["model"], "best.ckpt", trusted_modules=["torch.nn"])
    check_targets(changed, ["model"], "best.ckpt", trusted_modules=["torch.nn.Identity"])
    with pytest.raises(UserError, match="not trusted"):
        check_targets(changed, ["model"], "best.ckpt", trusted_modules=["torch.n"])


def test_a_trusted_module_does_not_include_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    text = "import os\nfrom os import system\nfrom torch.nn import Identity\nclass Net(Identity): pass\n"
    (tmp_path / "trusted_nets.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for target in ("trusted_nets.os.system", "trusted_nets.system", "trusted_nets.Identity", "trusted_nets.os"):
        changed = with_part(config, "model", {"_target_": target})
        with pytest.raises(UserError, match="not trusted"):
            check_targets(changed, ["model"], "best.ckpt", trusted_modules=["trusted_nets"])
    changed = with_part(config, "model", {"_target_": "trusted_nets.Net"})
    check_targets(changed, ["model"], "best.ckpt", trusted_modules=["trusted_nets"])
    changed = with_part(config, "model", {"_target_": "trusted_nets.Missing", "width": 1})
    with pytest.raises(UserError, match="must be the path of a class"):
        check_targets(changed, ["model"], "best.ckpt", trusted_modules=["trusted_nets"])


def test_yaml_aliases_of_an_exported_model_are_rejected(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file({"weight": torch.zeros(1)}, tmp_path / WEIGHTS_FILE)
    lines = ["a0: &a0 [1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))]
    (tmp_path / CONFIG_FILE).write_text("\n".join(lines))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load_checkpoint(tmp_path, ["model"])


@pytest.mark.parametrize(
    "provenance", [None, [], {}, {"config": None}, {"config": []}, {"config": {"model": 3}}, "text"]
)
def test_damaged_config_of_an_exported_model(tmp_path: Path, provenance: Any) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file({"weight": torch.zeros(1)}, tmp_path / WEIGHTS_FILE)
    (tmp_path / CONFIG_FILE).write_text(yaml.safe_dump(provenance))
    with pytest.raises(UserError):
        checkpoint.load_checkpoint(tmp_path, ["model"])


@pytest.mark.parametrize(
    "override",
    [
        "hydra.callbacks.x._target_=os.system",
        "+hydra.callbacks.x={_target_: os.system}",
        "hydra/launcher=joblib",
        "+loss@hydra.callbacks.x=bce",
        "--config-dir=evil",
        "width=${oc.env:HOME}",
    ],
)
def test_overrides_of_a_run_folder_cannot_set_hydra(tmp_path: Path, override: str) -> None:
    run = RunFolder(tmp_path)
    run.hydra.mkdir()
    (run.hydra / "overrides.yaml").write_text(yaml.safe_dump(["width=4", override]))
    with pytest.raises(UserError, match=r"must not set hydra\.\*"):
        stored_overrides(run)


def test_a_run_folder_cannot_set_trusted_modules(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.hydra.mkdir()
    stored = ["width=4", "trusted_modules=[os]", "+trusted_modules=[os]", "++trusted_modules=[os]"]
    (run.hydra / "overrides.yaml").write_text(yaml.safe_dump(stored))
    assert stored_overrides(run) == ["width=4"]
