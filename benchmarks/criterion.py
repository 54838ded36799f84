"""Forward and backward pass of the Density-ASP criterion, compared with a reference and with other libraries.

python benchmarks/criterion.py [--size 256] [--rounds 15]

The reference is tests/losses/reference.py, a direct transcription of the publications. Times are interleaved medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytorch_msssim
import torch
from monai.losses.ssim_loss import SSIMLoss
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

import measure
from mammoseg.losses import BCE, RMI, SSIM, DensityASP, Dice
from mammoseg.models.au_net import AUNet

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "losses"))
import reference

BATCH = 4
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def pairs() -> dict[str, tuple[Loss, Loss]]:
    """Return (reference, mammoseg) by name."""
    criterion, unpooled = DensityASP(measure.THETA), RMI(pool=None)
    unpooled_criterion = DensityASP(measure.THETA, rmi=RMI(pool=None))
    rmi, ssim, dice, bce = RMI(), SSIM(), Dice(), BCE()
    return {
        "Density-ASP criterion": (lambda z, y, d: reference.density_asp(z, y, d, measure.THETA), criterion),
        "the same, RMI unpooled": (
            lambda z, y, d: reference.density_asp(z, y, d, measure.THETA, pool=None),
            unpooled_criterion,
        ),
        "SSIM": (lambda z, y, d: reference.ssim(z, y), lambda z, y, d: ssim(z, y)),
        "RMI, max-pooled by 3": (lambda z, y, d: reference.rmi(z, y), lambda z, y, d: rmi(z, y)),
        "RMI, unpooled": (lambda z, y, d: reference.rmi(z, y, pool=None), lambda z, y, d: unpooled(z, y)),
        "Dice": (lambda z, y, d: reference.dice(z, y), lambda z, y, d: dice(z, y)),
        "BCE": (lambda z, y, d: reference.bce(z, y), lambda z, y, d: bce(z, y)),
    }


def peers() -> dict[str, Loss]:
    """Return SSIM losses of other libraries with the same 11x11 window and sigma 1.5, by name."""
    monai = SSIMLoss(spatial_dims=2, reduction="none")
    losses: dict[str, Loss] = {
        "MONAI SSIMLoss": lambda z, y, d: monai(torch.sigmoid(z), y),
        "torchmetrics SSIM": lambda z, y, d: 1 - similarity(torch.sigmoid(z), y),
        "pytorch-msssim": lambda z, y, d: 1 - pytorch_msssim.ssim(torch.sigmoid(z), y, 1.0, size_average=False),
    }
    if importlib.util.find_spec("kornia"):
        from kornia.losses import SSIMLoss as KorniaSSIM

        # kornia defines the loss as half of 1 - SSIM.
        kornia = KorniaSSIM(11, reduction="none", padding="valid")
        losses["kornia SSIMLoss"] = lambda z, y, d: 2 * kornia(torch.sigmoid(z), y).mean(dim=(1, 2, 3))
    return losses


def similarity(prob: Tensor, mask: Tensor) -> Tensor:
    """Return the SSIM of torchmetrics for each sample."""
    value = structural_similarity_index_measure(prob, mask, data_range=1.0, reduction="none")
    assert isinstance(value, Tensor)
    return value


def forward_backward(loss: Loss, batch: tuple[Tensor, Tensor, Tensor]) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return a function that computes the values (B,) and gradients (B, 1, H, W)."""
    logits, mask, density = batch
    logits = logits.clone().requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        value = loss(logits, mask, density)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        return value.detach(), gradient

    return run


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return the relative error in the 2-norm."""
    return ((actual - expected).norm() / expected.norm()).item()


def move_to(loss: Loss, device: torch.device) -> Loss:
    """Move a loss to a device if it is a module."""
    return loss.to(device) if isinstance(loss, torch.nn.Module) else loss


def network_step(batch: tuple[Tensor, Tensor, Tensor], device: torch.device) -> Callable[[], object]:
    """Return a training step of the full AU-Net in bf16 with Adam and without a criterion."""
    net = AUNet().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    image = torch.rand_like(batch[0])

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(image)
        logits.float().mean().backward()
        optimizer.step()

    return step


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=measure.THREADS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # from other libraries
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False  # the same precision for the convolutions of other libraries
    device = measure.device()
    batch = measure.batch(BATCH, options.size, device)
    print(f"Logits ({BATCH}, 1, {options.size}, {options.size}) on {measure.device_name()}; forward and backward.\n")
    print("| what | naive | mammoseg | ratio | values differ by | gradients by |\n|---|---|---|---|---|---|")
    for name, (naive, ours) in pairs().items():
        sides = {"naive": forward_backward(naive, batch), "ours": forward_backward(move_to(ours, device), batch)}
        errors = [
            relative_error(actual, expected) for expected, actual in zip(sides["naive"](), sides["ours"](), strict=True)
        ]
        times = measure.interleaved(sides, options.rounds)
        print(
            f"| {name} | {1000 * times['naive']:.1f} ms | {1000 * times['ours']:.1f} ms "
            f"| {times['naive'] / times['ours']:.1f} | {errors[0]:.0e} | {errors[1]:.0e} |"
        )
    print("\n| SSIM loss of | time | times mammoseg's | values differ by |\n|---|---|---|---|")
    mammoseg_ssim = forward_backward(pairs()["SSIM"][1], batch)
    others = {name: forward_backward(loss, batch) for name, loss in peers().items()}
    times = measure.interleaved({"mammoseg": mammoseg_ssim, **others}, options.rounds)
    print(f"| mammoseg | {1000 * times['mammoseg']:.1f} ms | | |")
    for name, other in others.items():
        error = relative_error(other()[0].flatten(), mammoseg_ssim()[0])
        print(f"| {name} | {1000 * times[name]:.1f} ms | {times[name] / times['mammoseg']:.1f} | {error:.0e} |")
    if "kornia SSIMLoss" not in others:
        print("\nkornia is not installed, so its SSIM loss was not measured.")
    if device.type == "cuda":
        gpu(batch, device, options.rounds)


def gpu(batch: tuple[Tensor, Tensor, Tensor], device: torch.device, rounds: int) -> None:
    """Measure the fraction of the criterion in a training step, eager and compiled."""
    criterion = DensityASP(measure.THETA).to(device)
    functions = {
        "step": network_step(batch, device),
        "eager": forward_backward(criterion, batch),
        "compiled": forward_backward(torch.compile(criterion, fullgraph=True), batch),
    }
    times = measure.interleaved(functions, rounds, warmup=5)
    print("\n| criterion | time | share of a step of the full AU-Net, bf16, with it |\n|---|---|---|")
    for name in ("eager", "compiled"):
        print(f"| {name} | {1000 * times[name]:.2f} ms | {100 * times[name] / (times['step'] + times[name]):.1f} % |")


if __name__ == "__main__":
    main()
