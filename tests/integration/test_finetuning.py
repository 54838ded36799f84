"""The commands of docs/finetuning.md run, with fewer images and epochs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from helpers.commands import succeed
from helpers.documented_commands import read_commands, runs_documentation
from helpers.documented_data import write_efficientnet_lite0, write_resnet18

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
    """Return the name and the arguments of each command of the page."""
    lines = []
    for command in read_commands(PAGE):
        text = command.text
        for pattern, replacement in SMALLER:
            text = re.sub(pattern, replacement, text)
        smaller = replace(command, text=text)
        assert smaller.name is not None
        more = ["trainer.accelerator=cpu", "logger=csv"] if smaller.name == "train" else []
        lines.append([smaller.name, *smaller.arguments, *more])
    return lines


def initial_weights(folder: Path) -> list[str]:
    """Return the settings with initial weights that the run recorded."""
    settings = json.loads((folder / "run.json").read_text())["settings"]
    return [name for name in ("init_from", "encoder_weights") if settings[name] is not None]


@runs_documentation
def test_commands_of_the_page_run(tmp_path: Path) -> None:
    write_resnet18(tmp_path / "resnet18.pth", width=1)
    write_efficientnet_lite0(tmp_path / "efficientnet-lite0-57934424.pth", width=1)
    outputs = [succeed(name, *arguments, folder=tmp_path) for name, *arguments in commands()]
    assert len(outputs) == 9
    assert "loaded 240 of 240 tensors of the encoder" in outputs[-2]
    assert "loaded 100 of 100 tensors of the encoder" in outputs[-1]
    assert "not used: fc.bias, fc.weight" in outputs[-1]
    runs = tmp_path / "outputs"
    assert {path.name: initial_weights(path) for path in runs.iterdir() if (path / "checkpoints").is_dir()} == {
        "pretrained": [],
        **{name: ["init_from"] for name in ("finetuned", "frozen", "decayed")},
        **{name: ["encoder_weights"] for name in ("efficientnet", "resnet")},
    }
