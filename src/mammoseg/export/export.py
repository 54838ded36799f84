"""A checkpoint -> files that others can use without this package's training: safetensors, config, model card, ONNX."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from mammoseg.ensemble import load_network
from mammoseg.errors import UserError
from mammoseg.export import model_card
from mammoseg.files import atomic_write_bytes
from mammoseg.runs import checkpoint
from mammoseg.terminal import suppress_logs_and_warnings

CARD, ONNX = "README.md", "model.onnx"
EXTRA = "pip install '.[export]'"


def export(path: Path, output: Path, onnx: bool, trusted_modules: Sequence[str] = ()) -> list[str]:
    """Write the checkpoint's network into the folder `output`; returns the names of the files.

    model.safetensors and config.yaml, which the other commands accept as `ckpt_path`; model.onnx if `onnx`; and
    README.md, a model card whose metrics come from the results.csv of the checkpoint's run folder, if there is one.
    Each file is written atomically, the card last.
    Raises UserError for what is no checkpoint, for an extra that is not installed, and for a network that ONNX cannot
    express.
    """
    loaded = checkpoint.load_checkpoint(path, trusted_modules)
    carried = {name: loaded[checkpoint.PROVENANCE_KEY][name] for name in ("config", "run_info")}
    network = load_network(loaded, path)
    contents = {
        checkpoint.WEIGHTS_FILE: safetensors(network),
        checkpoint.CONFIG_FILE: yaml.safe_dump(carried, sort_keys=False, allow_unicode=True).encode(),
    }
    if onnx:
        contents[ONNX] = as_onnx(network, int(carried["config"]["dataset"]["size"]))
    parameters = sum(value.numel() for value in network.parameters())
    contents[CARD] = model_card.markdown(carried, parameters, path, onnx).encode()
    # Nothing is written before everything could be made; the card, which describes the other files, is written last.
    if not onnx:
        (output / ONNX).unlink(missing_ok=True)  # an earlier export's, of another network
    for name, content in contents.items():
        atomic_write_bytes(output / name, content)
    return list(contents)


def safetensors(network: nn.Module) -> bytes:
    """The weights by the names that the network's state_dict has."""
    library = needed("safetensors.torch")
    return library.save({name: value.contiguous() for name, value in network.state_dict().items()}, {"format": "pt"})


def as_onnx(network: nn.Module, size: int) -> bytes:
    """image (batch, 1, size, size) -> logits of the same shape, for any batch; no path or text of the code in it."""
    needed("onnxscript")
    onnx = needed("onnx")
    image = torch.zeros(2, 1, size, size)
    try:
        # Lists of missing optional packages and of decompositions, which are no problem here.
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
            f"{type(network).__name__} cannot be expressed in ONNX by this torch ({torch.__version__}); set onnx=false"
        ) from error
    assert program is not None
    model = program.model_proto
    forget(model.graph)
    for function in model.functions:
        forget(function)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def forget(graph: Any) -> None:
    """Torch notes at each node on which line of which file it was called, with the folders of this machine."""
    del graph.metadata_props[:]
    for node in (*graph.node, *getattr(graph, "value_info", ())):
        del node.metadata_props[:]
        node.doc_string = ""


def needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"exporting needs {module.partition('.')[0]}: {EXTRA}") from error
