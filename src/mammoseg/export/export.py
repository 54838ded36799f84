"""Export a checkpoint for use without mammoseg: safetensors, config, model card and ONNX."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from typing_extensions import override

from mammoseg.ensemble import common_threshold, load_network, preprocessing_settings
from mammoseg.errors import UserError
from mammoseg.export import model_card
from mammoseg.files import atomic_write_bytes
from mammoseg.runs import checkpoint
from mammoseg.terminal import suppress_logs_and_warnings

MODEL_CARD_FILE, ONNX_FILE = "README.md", "model.onnx"
INSTALL_HINT = "pip install '.[export]'"


def export(ckpt_path: Path, output: Path, onnx: bool, trusted_modules: Sequence[str] = ()) -> list[str]:
    """Export the network of a checkpoint.

    Writes model.safetensors, config.yaml and a model card, README.md, which includes test metrics if the checkpoint is
    in its run folder. Other commands accept the output folder as `ckpt_path`. Files are written atomically, after the
    contents of all files have been created.

    Args:
        ckpt_path: The checkpoint.
        output: Output folder.
        onnx: Whether to write model.onnx.
        trusted_modules: As for `load_checkpoint`.

    Returns:
        Names of the files written.

    Raises:
        UserError: If the file is not a checkpoint, its weights are not finite, an optional package is not installed, or
            the network cannot be exported to ONNX.
    """
    loaded = checkpoint.load_checkpoint(ckpt_path, ("model",), trusted_modules)
    provenance = {name: loaded[checkpoint.PROVENANCE_KEY][name] for name in ("config", "run_info")}
    checkpoint.check_run_info(provenance["run_info"], ckpt_path)
    size = preprocessing_settings(provenance["config"]).size  # validates the settings that the files describe
    common_threshold([provenance["config"]])
    if half := checkpoint.selected_on(loaded):
        provenance[checkpoint.SELECTED_ON_KEY] = half
    network = load_finite_network(loaded, ckpt_path)
    contents = {checkpoint.WEIGHTS_FILE: to_safetensors(network), checkpoint.CONFIG_FILE: config_yaml(provenance)}
    if onnx:
        contents[ONNX_FILE] = to_onnx(network, size)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    contents[MODEL_CARD_FILE] = model_card.make_model_card(provenance, n_parameters, ckpt_path, onnx).encode()
    if not onnx:
        (output / ONNX_FILE).unlink(missing_ok=True)  # from a previous export
    for name, content in contents.items():  # the model card is last, since it describes the other files
        atomic_write_bytes(output / name, content)
    return list(contents)


def load_finite_network(loaded: dict[str, Any], ckpt_path: Path) -> nn.Module:
    """Build the network of a checkpoint, see `load_network`; raises UserError if its weights are not finite."""
    network = load_network(loaded, ckpt_path)
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise UserError(f"{ckpt_path}: its weights are not finite: its training has diverged; use another checkpoint")
    return network


class _WithoutAliases(yaml.SafeDumper):
    """Dumper that writes repeated values in full; aliases are rejected when the file is read."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        return True


def config_yaml(provenance: Mapping[str, Any]) -> bytes:
    """Return the config and the identity of a run as YAML, encoded in UTF-8."""
    text: str = yaml.dump(dict(provenance), Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True)
    return text.encode()


def to_safetensors(network: nn.Module) -> bytes:
    """Serialise the state_dict of a network in the safetensors format.

    Returns:
        Content of a .safetensors file.

    Raises:
        UserError: If safetensors is not installed.
    """
    library = import_optional("safetensors.torch")
    state_dict = {name: value.contiguous() for name, value in network.state_dict().items()}
    return bytes(library.save(state_dict, {"format": "pt"}))


def to_onnx(network: nn.Module, size: int) -> bytes:
    """Serialise a network in the ONNX format, without source paths.

    Args:
        network: Maps images (batch, 1, size, size) to logits of the same shape.
        size: Height and width of the images; the batch size is dynamic.

    Returns:
        An ONNX model with the input "image" and the output "logits".

    Raises:
        UserError: If ONNX is not installed or does not support the network.
    """
    import_optional("onnxscript")
    onnx = import_optional("onnx")
    image = torch.zeros(2, 1, size, size)
    try:
        # The exporter lists missing optional packages and decompositions, which are irrelevant to the user.
        with suppress_logs_and_warnings("torch.onnx", "onnxscript", "onnx_ir"):
            program = torch.onnx.export(
                network,
                (image,),
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(
            f"torch {torch.__version__} cannot export {type(network).__name__} to ONNX; set onnx=false"
        ) from error
    assert program is not None  # for the type checker: only dynamo=False returns None
    model = program.model_proto
    strip_debug_info(model.graph)
    for function in model.functions:
        strip_debug_info(function)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def strip_debug_info(graph: Any) -> None:
    """Remove source locations, which contain local paths, from an ONNX graph or function in place."""
    del graph.metadata_props[:]
    for node in (*graph.node, *getattr(graph, "value_info", ())):
        del node.metadata_props[:]
        node.doc_string = ""


def import_optional(module: str) -> Any:
    """Import a module of an optional dependency and return it.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f"export requires {package}, which is not installed: {INSTALL_HINT}") from error
