"""The commands of docs/finetuning.md run, with fewer images and epochs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import torch
from monai.networks.nets import ResNet

from helpers.commands import succeed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "finetuning.md"
SMALLER = [
    (r"\bcases=\d+", "cases=24"),
    (r"\bsource\.height=\d+", "source.height=208"),
    (r"\bheight=416", "height=208"),
    (r"\b(lr_decay_epochs|callbacks\.freeze_encoder\.epochs)=\d+", r"\1=1"),
    (r"(?<![.\w])epochs=\d+", "epochs=1"),
    (r"\bwidth=\d+", "width=1"),
]


def commands() -> list[list[str]]:
    """Return the module and the arguments of each command of the page."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = []
    for line in "".join(blocks).splitlines():
        smaller = line.removeprefix("$ python -m mammoseg.")
        for pattern, replacement in SMALLER:
            smaller = re.sub(pattern, replacement, smaller)
        name, *arguments = shlex.split(smaller)
        lines.append([name, *arguments, *(["trainer.accelerator=cpu", "logger=csv"] if name == "train" else [])])
    return lines


def initial_weights(folder: Path) -> list[str]:
    """Return the settings with initial weights that the run recorded."""
    settings = json.loads((folder / "run.json").read_text())["settings"]
    return [name for name in ("init_from", "encoder_weights") if settings[name] is not None]


def test_commands_of_the_page_run(tmp_path: Path) -> None:
    net = ResNet("basic", [2, 2, 2, 2], [1, 2, 4, 8], 2, 3, conv1_t_stride=2, bias_downsample=False)
    torch.save(net.state_dict(), tmp_path / "resnet18.pth")
    outputs = [succeed(name, *arguments, folder=tmp_path) for name, *arguments in commands()]
    assert len(outputs) == 8
    assert "loaded 100 of 100 tensors of the encoder" in outputs[-1]
    assert "not used: fc.bias, fc.weight" in outputs[-1]
    runs = tmp_path / "outputs"
    assert {path.name: initial_weights(path) for path in runs.iterdir() if (path / "checkpoints").is_dir()} == {
        "pretrained": [],
        **{name: ["init_from"] for name in ("finetuned", "frozen", "decayed")},
        "resnet": ["encoder_weights"],
    }
