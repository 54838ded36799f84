"""Export a checkpoint for use without mammoseg: safetensors, config, model card and ONNX."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from mammoseg.ensemble import common_threshold, load_network, preprocessing_settings
from mammoseg.errors import UserError
from mammoseg.export.card_metadata import StoredWeights
from mammoseg.export.further_evaluations import ExportedCheckpoint, read_further_evaluations
from mammoseg.export.half_precision import N_IMAGES, rounded_to_half, rounding_effect
from mammoseg.export.model_card import make_model_card
from mammoseg.export.prepared_images import find_input_range, find_prepared_images, read_test_images
from mammoseg.exported_model import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, dump_yaml
from mammoseg.files import atomic_write_bytes
from mammoseg.optional_imports import import_optional
from mammoseg.runs import checkpoint
from mammoseg.terminal import suppress_logs_and_warnings

ONNX_FILE = "model.onnx"


def export(
    ckpt_path: Path,
    output: Path,
    onnx: bool,
    trusted_modules: Sequence[str] = (),
    *,
    half: bool = False,
    license_name: str | None = None,
    evaluations: Sequence[Path] = (),
    data_description: str | None = None,
) -> list[str]:
    """Export the network of a checkpoint: model.safetensors, config.yaml and a model card, README.md.

    The model card includes test metrics if the checkpoint is in its run folder. Files are written atomically, after the
    contents of all files have been created.

    Args:
        ckpt_path: The checkpoint.
        output: Output folder.
        onnx: Whether to write model.onnx.
        trusted_modules: As for `load_checkpoint`.
        half: Whether to store the parameters in half precision.
        license_name: Identifier of the license in the model card; None for that of the datasets of the training.
        evaluations: Output folders of `mammoseg.evaluate` with the checkpoint, for the model card.
        data_description: Text on the training data for the model card, or None.

    Returns:
        Names of the files written.

    Raises:
        UserError: If the checkpoint cannot be used or cannot be exported in these formats.
    """
    contents = exported_files(ckpt_path, onnx, trusted_modules, half, license_name, evaluations, data_description)
    if not onnx:
        (output / ONNX_FILE).unlink(missing_ok=True)  # from a previous export
    for name, content in contents.items():  # the model card is last, since it describes the other files
        atomic_write_bytes(output / name, content)
    return list(contents)


def exported_files(
    ckpt_path: Path,
    onnx: bool,
    trusted_modules: Sequence[str],
    half: bool,
    license_name: str | None,
    evaluations: Sequence[Path],
    data_description: str | None,
) -> dict[str, bytes]:
    """Return the content of each file; arguments as for `export`.

    Raises:
        UserError: If the file is not a checkpoint, its weights are not finite or not in the range of half precision, an
            optional package is not installed, the network cannot be exported to ONNX, or an evaluation is not that of
            the checkpoint.
    """
    loaded = checkpoint.load_checkpoint(ckpt_path, ("model",), trusted_modules)
    provenance = exported_provenance(loaded, ckpt_path)
    prepared = find_prepared_images(loaded, ckpt_path)
    if (input_range := find_input_range(loaded, ckpt_path, prepared)) is not None:
        provenance[checkpoint.INPUT_RANGE_KEY] = input_range.to_plain()
    network = load_finite_network(loaded, ckpt_path)
    rounding = None
    if half:
        exact, network = network, rounded_to_half(network, ckpt_path)
        images = read_test_images(loaded, prepared, N_IMAGES)
        rounding = rounding_effect(exact, network, images, provenance["config"]["threshold"])
    weights = to_safetensors(network, half)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    stored = StoredWeights(n_parameters, len(weights), hashlib.sha256(weights).hexdigest(), half, rounding)
    digests = (checkpoint.file_digest(ckpt_path), stored.sha256)
    selected_on = provenance.get(checkpoint.SELECTED_ON_KEY)
    exported = ExportedCheckpoint(ckpt_path, provenance["run_info"], digests, selected_on)
    further = read_further_evaluations(evaluations, exported)
    contents = {WEIGHTS_FILE: weights, CONFIG_FILE: dump_yaml(provenance).encode()}
    if onnx:
        contents[ONNX_FILE] = to_onnx(network, preprocessing_settings(provenance["config"]).size)
    card = make_model_card(provenance, stored, ckpt_path, onnx, license_name, further, data_description)
    contents[CARD_FILE] = card.encode()
    return contents


def exported_provenance(loaded: dict[str, Any], ckpt_path: Path) -> dict[str, Any]:
    """Check the settings that the model card describes; return the content of config.yaml without the input range.

    Args:
        loaded: Content of the checkpoint, from `load_checkpoint`.
        ckpt_path: Path of the checkpoint.

    Returns:
        Config and identity of the run, and if it is known, the half that selected the checkpoint.

    Raises:
        UserError: If one of them is invalid.
    """
    config, run_info = checkpoint.config_of(loaded), checkpoint.run_info_of(loaded)
    checkpoint.check_run_info(run_info, ckpt_path)
    preprocessing_settings(config)
    common_threshold([config])
    provenance: dict[str, Any] = {"config": config, "run_info": run_info}
    if selected_on := checkpoint.selected_on(loaded):
        provenance[checkpoint.SELECTED_ON_KEY] = selected_on
    return provenance


def load_finite_network(loaded: dict[str, Any], ckpt_path: Path) -> nn.Module:
    """Build the network of a checkpoint, see `load_network`; raises UserError if its weights are not finite."""
    network = load_network(loaded, ckpt_path)
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise UserError(f"{ckpt_path}: its weights are not finite: its training has diverged; use another checkpoint")
    return network


def to_safetensors(network: nn.Module, half: bool) -> bytes:
    """Serialise the state_dict of a network in the safetensors format.

    Args:
        network: The network.
        half: Whether to store the parameters, which have been rounded by `rounded_to_half`, in half precision.

    Returns:
        Content of a .safetensors file.
    """
    parameters = {name for name, _ in network.named_parameters()} if half else set()
    state_dict = {
        name: (value.half() if name in parameters else value).contiguous()
        for name, value in network.state_dict().items()
    }
    return safetensors.torch.save(state_dict, {"format": "pt"})


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
    import_optional("onnxscript", "onnx=true", "export", "set onnx=false")
    onnx = import_optional("onnx", "onnx=true", "export", "set onnx=false")
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
