"""Exchange of models with the Hugging Face Hub: a local folder, and a mock of huggingface_hub."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import yaml

import mammoseg
from helpers.exported_models import CHECKPOINT, write_model
from mammoseg.errors import UserError
from mammoseg.exported_model import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE


class TransportError(Exception):
    """Base class of the errors of the HTTP library, which is not an OSError in current versions of huggingface_hub."""


class HubHTTPError(TransportError, OSError):
    """Stands for `huggingface_hub.errors.HfHubHTTPError`."""


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """A mock of huggingface_hub."""
    library = mock.Mock()
    library.HfApi.return_value.upload_folder.return_value = SimpleNamespace(commit_url="https://hub/commit/1")
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", SimpleNamespace(HfHubHTTPError=HubHTTPError))
    return library


def test_a_local_folder_is_loaded_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    write_model(tmp_path / "owner" / "model")
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 255, (96, 64), np.uint8)
    prediction = mammoseg.Predictor.from_pretrained("owner/model", accelerator="cpu", threshold=0.3)(image)
    expected = mammoseg.load(CHECKPOINT, accelerator="cpu", threshold=0.3)(image)
    np.testing.assert_array_equal(prediction.prob, expected.prob)
    np.testing.assert_array_equal(prediction.mask, expected.mask)
    with pytest.raises(UserError, match=r"^revision must be None for owner/model, .*, got v1$"):
        mammoseg.Predictor.from_pretrained("owner/model", revision="v1", token="not used")
    assert mammoseg.Predictor.from_pretrained("owner/model", token="not used", accelerator="cpu").threshold == 0.5
    with pytest.raises(
        UserError,
        match=r"requires huggingface_hub, which is not installed: pip install '\.\[hub\]'",
    ):
        mammoseg.Predictor.from_pretrained("owner/other")
    with pytest.raises(UserError, match=r"pip install '\.\[hub\]'"):
        mammoseg.push_to_hub("owner/model", "owner/model")


def test_only_the_files_of_a_model_are_downloaded(tmp_path: Path, library: mock.Mock) -> None:
    library.snapshot_download.return_value = str(write_model(tmp_path))
    predictor = mammoseg.Predictor.from_pretrained("owner/model", revision="v1", accelerator="cpu")
    assert predictor.threshold == mammoseg.load(CHECKPOINT, accelerator="cpu").threshold
    (call,) = library.snapshot_download.call_args_list
    assert call.args == ("owner/model",)
    assert call.kwargs["revision"] == "v1"
    assert sorted(call.kwargs["allow_patterns"]) == sorted([WEIGHTS_FILE, CONFIG_FILE, CARD_FILE])


def test_models_of_the_hub_are_checked(tmp_path: Path, library: mock.Mock) -> None:
    library.snapshot_download.return_value = str(write_model(tmp_path))
    stored = yaml.safe_load((tmp_path / CONFIG_FILE).read_text())
    stored["config"]["model"]["_target_"] = "os.system"
    (tmp_path / CONFIG_FILE).write_text(yaml.safe_dump(stored))
    with pytest.raises(UserError, match=r"its model names os\.system, which is not among the choices"):
        mammoseg.Predictor.from_pretrained("owner/model")
    with pytest.raises(UserError, match=r"its model names os\.system"):
        mammoseg.push_to_hub(tmp_path, "owner/model")
    write_model(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"other")
    with pytest.raises(UserError, match="SHA-256"):
        mammoseg.Predictor.from_pretrained("owner/model")
    library.HfApi.assert_not_called()


def test_a_model_with_a_trusted_class_is_uploaded(tmp_path: Path, library: mock.Mock) -> None:
    write_model(tmp_path)
    stored = yaml.safe_load((tmp_path / CONFIG_FILE).read_text())
    stored["config"]["model"]["_target_"] = "torch.nn.Identity"
    (tmp_path / CONFIG_FILE).write_text(yaml.safe_dump(stored))
    with pytest.raises(UserError, match=r"its model names torch\.nn\.Identity"):
        mammoseg.push_to_hub(tmp_path, "owner/model")
    library.HfApi.assert_not_called()
    url = mammoseg.push_to_hub(tmp_path, "owner/model", trusted_modules=["torch.nn.Identity"])
    assert url == "https://hub/commit/1"


def test_an_exported_model_is_uploaded_to_a_private_repository(tmp_path: Path, library: mock.Mock) -> None:
    write_model(tmp_path)
    (tmp_path / "patients.csv").touch()
    assert mammoseg.push_to_hub(tmp_path, "owner/model", token="secret") == "https://hub/commit/1"
    assert library.HfApi.call_args.kwargs["token"] == "secret"
    api = library.HfApi.return_value
    api.create_repo.assert_called_once_with("owner/model", private=True, exist_ok=True)
    upload = api.upload_folder.call_args.kwargs
    assert (upload["repo_id"], upload["folder_path"]) == ("owner/model", tmp_path)
    assert "patients.csv" not in upload["allow_patterns"]
    library.snapshot_download.assert_not_called()


def test_invalid_arguments_and_errors_of_the_hub_are_reported(tmp_path: Path, library: mock.Mock) -> None:
    for repo_id in ("a/b/c", "owner/", "owner/my model"):
        with pytest.raises(UserError, match=f"must be given as owner/name, got {repo_id}"):
            mammoseg.Predictor.from_pretrained(repo_id)
    with pytest.raises(UserError, match=r"has no model\.safetensors; give the output folder of mammoseg\.export"):
        mammoseg.push_to_hub(tmp_path, "owner/model")
    write_model(tmp_path)
    library.snapshot_download.side_effect = HubHTTPError("404 Client Error\nmore")
    with pytest.raises(UserError, match=r"^owner/model: cannot be downloaded from the Hub \(404 Client Error\)$"):
        mammoseg.Predictor.from_pretrained("owner/model")
    for error in (TransportError("no connection"), OSError("no connection"), ValueError("no connection")):
        library.HfApi.return_value.create_repo.side_effect = error
        with pytest.raises(UserError, match=r"^owner/model: cannot be uploaded to the Hub \(no connection\)$"):
            mammoseg.push_to_hub(tmp_path, "owner/model")
    library.HfApi.return_value.create_repo.side_effect = KeyError("a bug")
    with pytest.raises(KeyError):
        mammoseg.push_to_hub(tmp_path, "owner/model")
    (tmp_path / CARD_FILE).unlink()
    with pytest.raises(UserError, match=r"README\.md: must state the hash of the weights"):
        mammoseg.push_to_hub(tmp_path, "owner/model")
