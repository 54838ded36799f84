"""Exported models of a tiny network, which is not trained, and folders of pretrained models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mammoseg.data.input_range import InputRange
from mammoseg.export.export import export
from mammoseg.exported_model import CONFIG_FILE
from mammoseg.pretrained import registry

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "v0_1" / "best.ckpt"
# Unlike the synthetic mammograms, whose breast area is smaller.
FILMS = InputRange((3000.0, 4000.0), square_fraction=(0.9, 0.95), acquisitions=("film",))


def write_model(folder: Path, input_range: InputRange | None = None, **options: Any) -> Path:
    """Export the checkpoint of the fixtures.

    Args:
        folder: Output folder.
        input_range: Range of the training images to state in the model.
        **options: Arguments of `export`.
    """
    export(CHECKPOINT, folder, onnx=False, **options)
    if input_range is not None:
        config = folder / CONFIG_FILE
        stored = yaml.safe_load(config.read_text())
        config.write_text(yaml.safe_dump({**stored, "input_range": input_range.to_plain()}))
    return folder


def install_models(folder: Path, monkeypatch: Any, *names: str) -> None:
    """Make exported models the pretrained models of the package; the first of them is the default."""
    monkeypatch.setattr(registry, "MODELS", folder)
    for name in names:
        write_model(folder / name)
    (folder / registry.DEFAULT_FILE).write_text(f"{names[0]}\n")
