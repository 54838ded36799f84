"""Forward and backward pass of the Density-ASP criterion, compared with a reference and with other libraries.

python benchmarks/criterion.py [--size 256] [--rounds 15] [--width 64] [--no-compile]

The reference is tests/losses/reference.py, a direct transcription of the publications. The SSIM term is also compared
with torchmetrics, and with MONAI, pytorch-msssim and kornia if they are installed. With a GPU or --width, the fraction
of a training step of AU-Net that the criterion takes is measured as well. Calls of the functions are interleaved; times
are medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

import measure
from mammoseg.losses import BCE, RMI, SSIM, DensityASP, Dice, Term
from mammoseg.models.au_net import AUNet

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "losses"))
import reference

BATCH = 4
WIDTH = 64  # of the AU-Net whose training step is measured
SSIM_LIBRARIES = {"monai": "MONAI", "pytorch_msssim": "pytorch-msssim", "kornia": "kornia"}  # optional; by module
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # (logits, mask, density) -> (B,)


def without_density(term: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """Return a term as a loss that ignores the density."""

    def loss(logits: Tensor, mask: Tensor, _density: Tensor) -> Tensor:
        return term(logits, mask)

    return loss


def pairs(device: torch.device) -> dict[str, tuple[Loss, Loss]]:
    """Return (reference, mammoseg) by name."""
    criterion = DensityASP(measure.THETA).to(device)
    criterion_without_pooling = DensityASP(measure.THETA, rmi=RMI(pool=None)).to(device)
    terms: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Term]] = {
        "SSIM": (reference.ssim, SSIM()),
        "RMI, max-pooled by 3": (reference.rmi, RMI()),
        "RMI, no pooling": (partial(reference.rmi, pool=None), RMI(pool=None)),
        "Dice": (reference.dice, Dice()),
        "BCE": (reference.bce, BCE()),
    }
    return {
        "Density-ASP criterion": (partial(reference.density_asp, theta=measure.THETA), criterion),
        "Density-ASP criterion, RMI without pooling": (
            partial(reference.density_asp, theta=measure.THETA, pool=None),
            criterion_without_pooling,
        ),
        **{name: (without_density(naive), without_density(term.to(device))) for name, (naive, term) in terms.items()},
    }


def ssim_losses_of_other_libraries() -> dict[str, Loss]:
    """Return SSIM losses of the installed libraries with the same 11x11 window and sigma 1.5, by name."""
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    if importlib.util.find_spec("monai"):
        from monai.losses.ssim_loss import SSIMLoss

        losses["MONAI SSIMLoss"] = SSIMLoss(spatial_dims=2, reduction="none")
    losses["torchmetrics SSIM"] = lambda prob, mask: 1 - torchmetrics_ssim(prob, mask)
    if importlib.util.find_spec("pytorch_msssim"):
        import pytorch_msssim

        losses["pytorch-msssim"] = lambda prob, mask: 1 - pytorch_msssim.ssim(prob, mask, 1.0, size_average=False)
    if importlib.util.find_spec("kornia"):
        from kornia.losses import SSIMLoss as KorniaSSIM

        # kornia defines the loss as half of 1 - SSIM.
        kornia = KorniaSSIM(11, reduction="none", padding="valid")
        losses["kornia SSIMLoss"] = lambda prob, mask: 2 * kornia(prob, mask).mean(dim=(1, 2, 3))
    return {name: of_probabilities(loss) for name, loss in losses.items()}


def of_probabilities(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """Return a loss of (probabilities, mask) as a loss of (logits, mask, density)."""
    return without_density(lambda logits, mask: loss(torch.sigmoid(logits), mask))


def torchmetrics_ssim(prob: Tensor, mask: Tensor) -> Tensor:
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
    return float((actual - expected).norm() / expected.norm())


def network_step(batch: tuple[Tensor, Tensor, Tensor], width: int, device: torch.device) -> Callable[[], object]:
    """Return a training step of AU-Net in bf16 with Adam and without a criterion."""
    net = AUNet(width).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    parser.add_argument("--width", type=int, help=f"width of AU-Net; on a GPU, {WIDTH} by default")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--threads", type=int, default=measure.THREADS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # from other libraries
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False  # the same precision for the convolutions of other libraries
    device = measure.device()
    batch = measure.batch(BATCH, options.size, device)
    print(f"Logits ({BATCH}, 1, {options.size}, {options.size}) on {measure.device_name()}; forward and backward.\n")
    print("| loss | reference | mammoseg | speed-up | error of the value | error of the gradient |")
    print("|---|---|---|---|---|---|")
    for name, (naive, ours) in pairs(device).items():
        functions = {"reference": forward_backward(naive, batch), "mammoseg": forward_backward(ours, batch)}
        results = zip(functions["reference"](), functions["mammoseg"](), strict=True)
        value_error, gradient_error = (relative_error(actual, expected) for expected, actual in results)
        times = measure.interleaved(functions, options.rounds)
        print(
            f"| {name} | {1000 * times['reference']:.1f} ms | {1000 * times['mammoseg']:.1f} ms "
            f"| {times['reference'] / times['mammoseg']:.1f} | {value_error:.0e} | {gradient_error:.0e} |"
        )
    print("\n| SSIM loss | time | relative to mammoseg | difference of the value |\n|---|---|---|---|")
    mammoseg_ssim = forward_backward(pairs(device)["SSIM"][1], batch)
    others = {name: forward_backward(loss, batch) for name, loss in ssim_losses_of_other_libraries().items()}
    times = measure.interleaved({"mammoseg": mammoseg_ssim, **others}, options.rounds)
    print(f"| mammoseg | {1000 * times['mammoseg']:.1f} ms | 1.0 | |")
    for name, other in others.items():
        error = relative_error(other()[0].flatten(), mammoseg_ssim()[0])
        print(f"| {name} | {1000 * times[name]:.1f} ms | {times[name] / times['mammoseg']:.1f} | {error:.0e} |")
    for module, library in SSIM_LIBRARIES.items():
        if importlib.util.find_spec(module) is None:
            print(f"\n{library} is not installed, so its SSIM loss was not measured.")
    if device.type == "cuda" or options.width is not None:
        benchmark_step(batch, options.width or WIDTH, options.rounds, not options.no_compile)


def benchmark_step(batch: tuple[Tensor, Tensor, Tensor], width: int, rounds: int, compiled: bool) -> None:
    """Print the fraction of a training step that the criterion takes, eager and compiled."""
    device = batch[0].device
    criterion = DensityASP(measure.THETA).to(device)
    criteria: dict[str, Loss] = {"eager": criterion}
    if compiled:
        criteria["compiled"] = torch.compile(criterion, fullgraph=True)
    functions: dict[str, Callable[[], object]] = {
        "step": network_step(batch, width, device),
        **{name: forward_backward(loss, batch) for name, loss in criteria.items()},
    }
    times = measure.interleaved(functions, rounds, warmup=5)
    print(f"\n| criterion | time | fraction of a training step (AU-Net of width {width}, bf16) |\n|---|---|---|")
    for name in criteria:
        print(f"| {name} | {1000 * times[name]:.2f} ms | {100 * times[name] / (times['step'] + times[name]):.1f} % |")


if __name__ == "__main__":
    main()
