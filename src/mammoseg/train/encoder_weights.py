"""Loading of an encoder that was pretrained elsewhere, from a file with its state_dict."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.exported_model import WEIGHTS_FILE, check_digest
from mammoseg.models.encoder import stage_names

SETTING = "encoder_weights"
N_COLOURS = 3  # input channels of networks for photographs
MAX_DEPTH = 4  # of mappings that contain the state_dict, as in {"state_dict": {...}}
MAX_NAMES = 5  # in messages
COUNTER = "num_batches_tracked"  # of batch normalisation; missing in old files, and not used

log = logging.getLogger(__name__)


def load_encoder_weights(net: nn.Module, path: Path) -> None:
    """Load the weights of the encoder of a network from a file, and log which ones were loaded.

    The names in the file may have a prefix, such as "encoder." or "module.", and the state_dict may be part of a larger
    mapping. The names may have leading underscores that those of the network do not have. If the first convolution of
    the file has three input channels and that of the network has one, its weights are summed over the input channels.
    The output is then that of the network with three channels for a grey image that is repeated three times.

    Args:
        net: Network that declares its encoder.
        path: A file of `torch.save` with a state_dict, which is loaded with `weights_only=True`, or a safetensors file.

    Raises:
        UserError: If the network declares no encoder, the file cannot be loaded or differs from its model card, no name
            matches, or a shape differs.
    """
    expected = encoder_tensors(net)
    stored = without_underscores(expected, read_tensors(path))
    prefix = find_prefix(expected, stored, path)
    matched = {name: stored[prefix + name] for name in expected if prefix + name in stored}
    converted = {name: to_grey(value, expected[name]) for name, value in matched.items()}
    for name, value in converted.items():
        if value.shape != expected[name].shape:
            raise UserError(
                f"{SETTING}={path}: {prefix}{name} must have the shape {tuple(expected[name].shape)} of the encoder, "
                f"got {tuple(value.shape)}; set width and model.* as in the training of the file, or "
                f"{SETTING}=null"
            )
    with torch.no_grad():
        for name, value in converted.items():
            expected[name].copy_(value)
    report(expected, matched, {name.removeprefix(prefix) for name in stored if name.startswith(prefix)})


def encoder_tensors(net: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of the encoder, by their names without the prefix that all have in common.

    Raises:
        UserError: If the network declares no encoder.

    Example:
        >>> from mammoseg import AUNet
        >>> list(encoder_tensors(AUNet(width=1)))[0]
        '0.enter.0.weight'
    """
    names = [name for stage in stage_names(net, SETTING) for name in stage]
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*(name.split(".") for name in names), strict=False))
    common = "".join(f"{part}." for part, *_ in columns)
    modules = tuple(f"{name}." for name in names)
    tensors = {name: value for name, value in net.state_dict(keep_vars=True).items() if name.startswith(modules)}
    return {name.removeprefix(common): value for name, value in tensors.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors in a file; the names of those in nested mappings are joined by dots.

    Raises:
        UserError: If the file cannot be loaded, or does not have the hash that the model card in its folder states.
    """
    is_safetensors = path.suffix == Path(WEIGHTS_FILE).suffix
    if is_safetensors:
        check_digest(path)
    try:
        loaded = load_file(path) if is_safetensors else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # the unpickler and safetensors raise many types of errors for an invalid file
        raise UserError(
            f"{SETTING}={path}: must be a file with a state_dict that can be loaded with weights_only=True, or a "
            "safetensors file; save the weights with torch.save(encoder.state_dict(), path)"
        ) from error
    return dict(_flatten(loaded))


def _flatten(node: Any, prefix: str = "", depth: int = 0) -> list[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        return [] if node.is_complex() else [(prefix, node)]
    if not isinstance(node, Mapping) or depth > MAX_DEPTH:
        return []
    return [
        pair
        for key, value in node.items()
        for pair in _flatten(value, f"{prefix}.{key}" if prefix else str(key), depth + 1)
    ]


def without_underscores(expected: Collection[str], stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the leading underscores in the names of a file, as in "_blocks.0._bn1.weight", if they prevent a match.

    Args:
        expected: Names of the parameters and buffers of the encoder.
        stored: Tensors in the file by name.

    Returns:
        The tensors with other names if no expected name occurs in the file but all of them occur without underscores;
        otherwise, the tensors as they are.

    Example:
        >>> list(without_underscores(["stem.weight"], {"module._stem.weight": torch.zeros(1)}))
        ['module.stem.weight']
    """
    if count_prefixes(expected, stored):
        return stored
    renamed = {".".join(part.lstrip("_") for part in name.split(".")): value for name, value in stored.items()}
    required = _without_counters(expected)
    return renamed if len(required) in count_prefixes(required, renamed).values() else stored


def count_prefixes(expected: Collection[str], stored: Collection[str]) -> Counter[str]:
    """Count the expected names that occur in a file, by their prefix.

    Args:
        expected: Names of the parameters and buffers of the encoder.
        stored: Names in the file.
    """
    counts: Counter[str] = Counter()
    for name in stored:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in expected:
                counts["".join(f"{part}." for part in parts[:start])] += 1
    return counts


def find_prefix(expected: Collection[str], stored: Collection[str], path: Path) -> str:
    """Return the prefix in a file with which most of the expected names occur.

    Args:
        expected: Names of the parameters and buffers of the encoder.
        stored: Names in the file.
        path: Path of the file, for error messages.

    Raises:
        UserError: If no name occurs, or the file contains several such encoders, none of them in "state_dict".

    Example:
        >>> find_prefix(["conv1.weight"], ["module.conv1.weight", "module.fc.weight"], Path("file.pt"))
        'module.'
    """
    counts = count_prefixes(expected, stored)
    if not counts:
        raise UserError(
            f"{SETTING}={path}: its weights must have the names of the encoder, such as {_first(expected)}, got "
            f"{_first(stored) or 'no tensors'}; choose the network with which they were trained, see "
            f"docs/finetuning.md, or set {SETTING}=null"
        )
    most = max(counts.values())
    prefixes = [prefix for prefix, count in counts.items() if count == most]
    found = prefixes if len(prefixes) == 1 else [prefix for prefix in prefixes if prefix.startswith("state_dict.")]
    if len(found) != 1:
        raise UserError(
            f"{SETTING}={path}: the file must contain one encoder, got {_first(prefixes)}; save one of them in a file"
        )
    return found[0]


def to_grey(value: Tensor, expected: Tensor) -> Tensor:
    """Sum the weights of a convolution over three input channels if the expected weights have one.

    Args:
        value: Weights in the file.
        expected: Weights of the network.

    Returns:
        `value`, or its sum of shape (C, 1, height, width).
    """
    is_convolution = value.ndim == expected.ndim == 4
    if is_convolution and (value.shape[1], expected.shape[1]) == (N_COLOURS, 1):
        return value.float().sum(dim=1, keepdim=True)
    return value


def report(expected: Collection[str], matched: Collection[str], stored: Collection[str]) -> None:
    """Log the number of weights that were loaded, and the names that are missing in the file or not used.

    Args:
        expected: Names of the parameters and buffers of the encoder.
        matched: Names that were loaded.
        stored: Names in the file, without prefix.
    """
    counted = _without_counters(expected)
    missing = [name for name in counted if name not in matched]
    unused = [name for name in stored if name not in matched]
    log.info("%s: loaded %d of %d tensors of the encoder", SETTING, len(counted) - len(missing), len(counted))
    if unused:
        log.info("%s: not used: %s", SETTING, _first(sorted(unused)))
    if missing:
        log.warning("%s: not in the file, so initialised randomly: %s", SETTING, _first(missing))


def _without_counters(names: Collection[str]) -> list[str]:
    return [name for name in names if not name.endswith(COUNTER)]


def _first(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:MAX_NAMES])
    return f"{shown} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else shown
