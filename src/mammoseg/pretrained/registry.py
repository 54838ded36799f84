"""Pretrained models of the package: list, lookup by name, and the default model.

Each folder in weights/ is an exported model; its name is that of the model. The file weights/default.txt contains the
name of the default model. Values for display are in the metadata of the model card, see `export.card_metadata`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoseg.errors import UserError
from mammoseg.exported_model import CARD_FILE, CONFIG_FILE, METADATA_KEY, WEIGHTS_FILE, check_digest, read_card_metadata
from mammoseg.safe_yaml import load_yaml_file
from mammoseg.schema.types import as_yaml, did_you_mean

MODELS = Path(__file__).parent / "weights"
DEFAULT_FILE = "default.txt"
NONE_INSTALLED = "no pretrained models are installed"
MAX_SHOWN = 80  # characters of an invalid value in a message
# Types of the values in the metadata of a model card that are displayed or checked.
METADATA_TYPES = {"sha256": str, "description": str, "parameters": int, "training_data": str, "result": str}


@dataclass(frozen=True)
class PretrainedModel:
    """A pretrained model.

    Attributes:
        name: Name, which commands accept as `ckpt_path`.
        folder: Folder of the exported model.
    """

    name: str
    folder: Path

    @property
    def weights(self) -> Path:
        """File of the weights."""
        return self.folder / WEIGHTS_FILE

    @property
    def card(self) -> Path:
        """Model card."""
        return self.folder / CARD_FILE

    @property
    def config(self) -> dict[str, Any]:
        """Config of the training.

        Raises:
            UserError: If the file is missing or damaged.
        """
        path = self.folder / CONFIG_FILE
        try:
            loaded = load_yaml_file(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: is missing or damaged; install mammoseg again") from error
        config = loaded.get("config") if isinstance(loaded, dict) else None
        if not isinstance(config, dict) or not isinstance(config.get("dataset"), dict):
            raise UserError(f"{path}: must contain the config of the training; install mammoseg again")
        return config

    @property
    def metadata(self) -> dict[str, Any]:
        """Values that mammoseg stores in the model card; empty if there is no model card."""
        metadata: dict[str, Any] = read_card_metadata(self.card).get(METADATA_KEY, {})
        return metadata

    def check_card(self) -> None:
        """Check that the model card states the hash of the weights, and that its values have the expected types.

        Raises:
            UserError: If it does not, or there is no model card.
        """
        metadata = self.metadata
        if "sha256" not in metadata:
            raise UserError(f"{self.card}: must state the SHA-256 hash of {WEIGHTS_FILE}; install mammoseg again")
        for name, kind in METADATA_TYPES.items():
            value = metadata.get(name, kind())
            if type(value) is not kind or not str(value).isprintable():
                expected = "an integer" if kind is int else "a line of text"
                shown = " ".join(as_yaml(value).split())[:MAX_SHOWN]
                raise UserError(
                    f"{self.card}: {METADATA_KEY}.{name} must be {expected}, got {shown}; install mammoseg again"
                )

    def verify(self) -> None:
        """Check that the weights have the SHA-256 hash that the model card states.

        Raises:
            UserError: If they have another hash, or the model card is missing or damaged.
        """
        self.check_card()
        check_digest(self.weights)

    def summary(self) -> str:
        """Describe the model in one line, without its name.

        Raises:
            UserError: If the model card is missing or damaged.
        """
        self.check_card()
        metadata = self.metadata
        parts = [str(metadata.get("description", "no description"))]
        if "parameters" in metadata:
            parts.append(f"{metadata['parameters']:,} parameters")
        if "training_data" in metadata:
            parts.append(f"trained on {metadata['training_data']}")
        parts.append(str(metadata.get("result", "not tested")))
        parts.append(f"{self.weights.stat().st_size / 1e6:.1f} MB")
        return "; ".join(parts)


def list_models() -> list[PretrainedModel]:
    """Return the installed pretrained models by name; empty if there are none."""
    return [PretrainedModel(path.parent.name, path.parent) for path in sorted(MODELS.glob(f"*/{WEIGHTS_FILE}"))]


def find_by_digest(digest: Any) -> PretrainedModel | None:
    """Return the pretrained model whose weights have a SHA-256 hash; None if there is none."""
    models = [] if digest is None else list_models()
    return next((model for model in models if model.metadata.get("sha256") == digest), None)


def is_installed(name: str) -> bool:
    """Return whether there is a pretrained model with a name."""
    return name in [model.name for model in list_models()]


def find_model(name: str, setting: str, expected: str = "pretrained model") -> PretrainedModel:
    """Return the pretrained model with a name.

    Args:
        name: Name of the model.
        setting: Setting that names it, for the error message.
        expected: What the setting can name, for the error message.

    Raises:
        UserError: If there is none, where the message suggests the model with the most similar name; or if its model
            card is missing or damaged.
    """
    models = {model.name: model for model in list_models()}
    if name in models:
        models[name].check_card()
        return models[name]
    choices = f"pretrained models are {', '.join(models)}" if models else NONE_INSTALLED
    raise UserError(f"{setting}={name}: no such {expected}{did_you_mean(name, models) or f'; {choices}'}")


def default_model(setting: str) -> PretrainedModel:
    """Return the default model.

    Args:
        setting: Setting that is not set, for the error message.

    Raises:
        UserError: If no pretrained model is installed, or none is the default.
    """
    if not list_models():
        raise UserError(
            f"{setting} is required, since {NONE_INSTALLED}; set a run folder, a checkpoint or an exported model"
        )
    path = MODELS / DEFAULT_FILE
    if not path.is_file():
        raise UserError(f"{setting} is required, since no pretrained model is the default; see mammoseg models")
    name = path.read_text(encoding="utf-8").strip()
    if not is_installed(name):
        raise UserError(
            f"{setting} is required, since {path} names the model {name}, which is not installed; see mammoseg models"
        )
    return find_model(name, setting)
