"""Files of an exported model, and the metadata in its model card.

The metadata is a block of YAML at the top of the model card, in the format of the Hugging Face Hub. The key `mammoseg`
contains the values that mammoseg reads, such as the SHA-256 hash of the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from mammoseg.errors import UserError
from mammoseg.safe_yaml import load_yaml_bytes

WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.yaml", "README.md"
METADATA_KEY = "mammoseg"
FENCE = b"---"  # line before and after the metadata


def read_card_metadata(card: Path) -> dict[str, Any]:
    """Read the metadata at the top of a model card.

    Args:
        card: The model card, a Markdown file.

    Returns:
        The metadata as plain values; empty if the file does not exist or does not start with metadata.

    Raises:
        UserError: If the metadata is damaged.
    """
    if not card.is_file():
        return {}
    first, *lines = [line.rstrip() for line in card.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    if first != FENCE:
        return {}
    try:
        if FENCE not in lines:
            raise ValueError("the end of the metadata, a line ---, is missing")
        metadata = load_yaml_bytes(b"\n".join(lines[: lines.index(FENCE)]))
        if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY, {}), dict):
            raise ValueError(f"it and the key {METADATA_KEY} must be mappings")
    except ValueError as error:
        raise UserError(f"{card}: its metadata is damaged ({error}); restore the file, or export it again") from error
    return metadata


class _WithoutAliases(yaml.SafeDumper):
    """Dumper that writes repeated values in full; aliases are rejected when the file is read."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        return True


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Return plain values as YAML without aliases, in their order."""
    text: str = yaml.dump(dict(values), Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True)
    return text


def format_card(metadata: Mapping[str, Any], text: str) -> str:
    """Return a model card.

    Args:
        metadata: See `read_card_metadata`.
        text: Markdown after the metadata.
    """
    fence = FENCE.decode()
    return f"{fence}\n{dump_yaml(metadata)}{fence}\n\n{text}"


def check_digest(weights: Path) -> None:
    """Check that weights have the SHA-256 hash that the model card in the same folder states, if it states one.

    Args:
        weights: File of the weights.

    Raises:
        UserError: If they have another hash, or the metadata of the model card is damaged.
    """
    card = weights.with_name(CARD_FILE)
    stated = read_card_metadata(card).get(METADATA_KEY, {}).get("sha256")
    if stated is not None and file_sha256(weights) != stated:
        raise UserError(
            f"{weights}: its SHA-256 hash must be the one that {card.name} states, {str(stated)[:64]}; copy or "
            "download the model again"
        )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
