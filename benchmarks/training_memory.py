"""GPU memory of a training step, computed from the sizes of its tensors.

python benchmarks/training_memory.py [model ...] [--width 64] [--size 256] [--batch-size 4]

The models are files of conf/model. The memory is the sum of the parameters, their gradients, Adam's two moments and the
tensors that the forward pass of the network and of the Density-ASP loss stores for the backward pass, in float32.
Workspaces of cuDNN, temporary tensors and fragmentation are not included, so a GPU needs more. Computed on a CPU with
one image; what is stored is proportional to the batch size.
"""

from __future__ import annotations

import argparse

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn

import measure
from mammoseg.conf import conf_dir
from mammoseg.losses import DensityASP

BYTES = 4  # of a value in float32
COPIES = 4  # parameter, gradient and two moments


def stored_bytes(net: nn.Module, size: int) -> int:
    """Return the bytes that a forward pass of one image and the loss store, without the parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    stored: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            stored[storage.data_ptr()] = storage.nbytes()
        return tensor

    image, mask = torch.randn(1, 1, size, size), torch.zeros(1, 1, size, size)
    criterion = DensityASP(measure.THETA)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = criterion(net(image), mask, torch.zeros(1, dtype=torch.long))
    assert loss.requires_grad  # the stored tensors are kept until here, so no address is used twice
    return sum(stored.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["au_net", "arf_net"], metavar="model")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=4)
    arguments = parser.parse_args()
    print("| model | parameters | parameters, gradients, moments (GiB) | stored (GiB) | total (GiB) |")
    print("|---|---|---|---|---|")
    for model in arguments.models:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", [f"model={model}", f"width={arguments.width}"])
        net = instantiate(cfg.model)
        n_parameters = sum(parameter.numel() for parameter in net.parameters())
        fixed = COPIES * BYTES * n_parameters / 2**30
        stored = arguments.batch_size * stored_bytes(net, arguments.size) / 2**30
        print(f"| {model} | {n_parameters:,} | {fixed:.1f} | {stored:.1f} | {fixed + stored:.1f} |", flush=True)


if __name__ == "__main__":
    main()
