"""Exported models: metadata of the model card, check of the weights' hash, and half precision."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from helpers.exported_models import CHECKPOINT, write_model
from mammoseg.ensemble import load_network
from mammoseg.errors import UserError
from mammoseg.export.export import export
from mammoseg.exported_model import CARD_FILE, WEIGHTS_FILE, format_card, read_card_metadata
from mammoseg.runs import checkpoint


def test_the_metadata_describes_the_weights(tmp_path: Path) -> None:
    card = write_model(tmp_path) / CARD_FILE
    content = (tmp_path / WEIGHTS_FILE).read_bytes()
    text = card.read_text()
    assert text.startswith("---\n")
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata == read_card_metadata(card)
    assert metadata["license"] == "apache-2.0"  # of synthetic mammograms
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("mammoseg", "image-segmentation")
    own = metadata["mammoseg"]
    assert own["sha256"] == hashlib.sha256(content).hexdigest()
    assert own["file_size"] == len(content)
    assert own["preprocessing"]["size"] == 64
    assert own["breasts_on_one_side"] is False
    assert "model-index" not in metadata  # the fixture has no results
    write_model(tmp_path, license_name="cc-by-4.0")
    assert read_card_metadata(card)["license"] == "cc-by-4.0"


def test_weights_with_another_hash_are_rejected(tmp_path: Path) -> None:
    write_model(tmp_path / "a")
    write_model(tmp_path / "b", half=True)
    checkpoint.load_checkpoint(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS_FILE).write_bytes((tmp_path / "b" / WEIGHTS_FILE).read_bytes())
    with pytest.raises(UserError, match=r"model\.safetensors: its SHA-256 hash must be the one that README\.md states"):
        checkpoint.load_checkpoint(tmp_path / "a")
    (tmp_path / "a" / CARD_FILE).write_text("# A card without metadata\n")
    checkpoint.load_checkpoint(tmp_path / "a")
    (tmp_path / "a" / CARD_FILE).unlink()
    checkpoint.load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    ["---\na: 1\n", "---\n- a\n---\n", "---\nmammoseg: 3\n---\n", "---\na: [1\n---\n", "---\na: &x 1\nb: *x\n---\n"],
)
def test_damaged_metadata_is_rejected(tmp_path: Path, text: str) -> None:
    card = tmp_path / CARD_FILE
    card.write_text(text)
    with pytest.raises(UserError, match=r"README\.md: its metadata is damaged"):
        read_card_metadata(card)


def test_metadata_is_read_as_written(tmp_path: Path) -> None:
    shared = [1, 2]
    values = {"ä": "---", "b": shared, "c": shared, "d": None}
    card = tmp_path / CARD_FILE
    card.write_text(format_card(values, "# Title\n\n---\n"), encoding="utf-8")
    assert read_card_metadata(card) == values
    card.write_bytes(b"\xef\xbb\xbf" + card.read_bytes().replace(b"\n", b"\r\n"))  # of an editor on Windows
    assert read_card_metadata(card) == values
    card.write_text("# Title\n\n---\na: 1\n---\n")
    assert read_card_metadata(card) == {}
    assert read_card_metadata(tmp_path / "absent.md") == {}


def test_half_precision_halves_the_parameters_and_keeps_the_running_statistics(tmp_path: Path) -> None:
    original = load_network(checkpoint.load_checkpoint(CHECKPOINT), CHECKPOINT)
    parameters = dict(original.named_parameters())
    write_model(tmp_path, half=True)
    stored = load_file(tmp_path / WEIGHTS_FILE)
    loaded = load_network(checkpoint.load_checkpoint(tmp_path), tmp_path).state_dict()
    assert set(stored) == set(original.state_dict())
    for name, value in original.state_dict().items():
        if name in parameters:
            assert stored[name].dtype == torch.float16
            assert loaded[name].dtype == torch.float32
            assert torch.equal(loaded[name], value.half().float())
        else:
            assert torch.equal(stored[name], value)
            assert stored[name].dtype == value.dtype
    # exporting the exported model changes nothing
    export(tmp_path, tmp_path / "again", onnx=False, half=True)
    assert (tmp_path / "again" / WEIGHTS_FILE).read_bytes() == (tmp_path / WEIGHTS_FILE).read_bytes()


def test_weights_outside_the_range_of_half_precision_are_rejected(tmp_path: Path) -> None:
    loaded = torch.load(CHECKPOINT, weights_only=True)
    next(iter(loaded["state_dict"].values())).view(-1)[0] = 7e4
    torch.save(loaded, tmp_path / "large.ckpt")
    with pytest.raises(UserError, match="exceeds the range of half precision; set half=false"):
        export(tmp_path / "large.ckpt", tmp_path / "out", onnx=False, half=True)
    assert not (tmp_path / "out").exists()
