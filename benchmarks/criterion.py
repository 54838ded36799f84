"""Forward and backward of the Density-ASP criterion, against the naive composition of its parts and against peers.

python benchmarks/criterion.py [--size 256] [--rounds 15]

The naive side is benchmarks/reference.py, written from the publications; both sides in turn, medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections.abc import Callable

import pytorch_msssim
import torch
from monai.losses.ssim_loss import SSIMLoss
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

import measure
import reference
from mammoseg.losses import BCE, RMI, SSIM, DensityASP, Dice
from mammoseg.models.au_net import AUNet

BATCH = 4
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def pairs() -> dict[str, tuple[Loss, Loss]]:
    """What -> (naive, ours)."""
    whole, unpooled = DensityASP(measure.THETA), RMI(pool=None)
    unpooled_whole = DensityASP(measure.THETA, rmi=RMI(pool=None))
    rmi, ssim, dice, bce = RMI(), SSIM(), Dice(), BCE()
    return {
        "Density-ASP criterion": (lambda z, y, d: reference.density_asp(z, y, d, measure.THETA), whole),
        "the same, RMI unpooled": (
            lambda z, y, d: reference.density_asp(z, y, d, measure.THETA, pool=None),
            unpooled_whole,
        ),
        "SSIM": (lambda z, y, d: reference.ssim(z, y), lambda z, y, d: ssim(z, y)),
        "RMI, max-pooled by 3": (lambda z, y, d: reference.rmi(z, y), lambda z, y, d: rmi(z, y)),
        "RMI, unpooled": (lambda z, y, d: reference.rmi(z, y, pool=None), lambda z, y, d: unpooled(z, y)),
        "Dice": (lambda z, y, d: reference.dice(z, y), lambda z, y, d: dice(z, y)),
        "BCE": (lambda z, y, d: reference.bce(z, y), lambda z, y, d: bce(z, y)),
    }


def peers() -> dict[str, Loss]:
    """SSIM losses of others on the same probabilities, with the same 11x11 window of sigma 1.5."""
    monai = SSIMLoss(spatial_dims=2, reduction="none")
    found: dict[str, Loss] = {
        "MONAI SSIMLoss": lambda z, y, d: monai(torch.sigmoid(z), y),
        "torchmetrics SSIM": lambda z, y, d: 1 - similarity(torch.sigmoid(z), y),
        "pytorch-msssim": lambda z, y, d: 1 - pytorch_msssim.ssim(torch.sigmoid(z), y, 1.0, size_average=False),
    }
    if importlib.util.find_spec("kornia"):
        from kornia.losses import SSIMLoss as KorniaSSIM

        # Half of what the others give, as it is defined there.
        kornia = KorniaSSIM(11, reduction="none", padding="valid")
        found["kornia SSIMLoss"] = lambda z, y, d: 2 * kornia(torch.sigmoid(z), y).mean(dim=(1, 2, 3))
    return found


def similarity(prob: Tensor, mask: Tensor) -> Tensor:
    value = structural_similarity_index_measure(prob, mask, data_range=1.0, reduction="none")
    assert isinstance(value, Tensor)
    return value


def both_ways(loss: Loss, batch: tuple[Tensor, Tensor, Tensor]) -> Callable[[], tuple[Tensor, Tensor]]:
    """A call that gives value (B,) and gradient (B, 1, H, W)."""
    logits, mask, density = batch
    logits = logits.clone().requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        value = loss(logits, mask, density)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        return value.detach(), gradient

    return run


def relative(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


def on(loss: Loss, where: torch.device) -> Loss:
    return loss.to(where) if isinstance(loss, torch.nn.Module) else loss


def step_of_the_network(batch: tuple[Tensor, Tensor, Tensor], where: torch.device) -> Callable[[], object]:
    """The full AU-Net, forward, backward and Adam in bf16, without any criterion."""
    net = AUNet().to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    image = torch.rand_like(batch[0])

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(where.type, torch.bfloat16):
            logits = net(image)
        logits.float().mean().backward()
        optimizer.step()

    return step


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--size", type=int, default=256)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--threads", type=int, default=measure.THREADS)
    options = arguments.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of the peers
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False  # nor may the convolutions of the others round
    where = measure.device()
    batch = measure.batch(BATCH, options.size, where)
    print(f"Logits ({BATCH}, 1, {options.size}, {options.size}) on {measure.device_name()}; forward and backward.\n")
    print("| what | naive | mammoseg | ratio | values differ by | gradients by |\n|---|---|---|---|---|---|")
    for name, (naive, ours) in pairs().items():
        sides = {"naive": both_ways(naive, batch), "ours": both_ways(on(ours, where), batch)}
        differ = [relative(found, wanted) for wanted, found in zip(sides["naive"](), sides["ours"](), strict=True)]
        times = measure.interleaved(sides, options.rounds)
        print(
            f"| {name} | {1000 * times['naive']:.1f} ms | {1000 * times['ours']:.1f} ms "
            f"| {times['naive'] / times['ours']:.1f} | {differ[0]:.0e} | {differ[1]:.0e} |"
        )
    print("\n| SSIM loss of | time | times mammoseg's | values differ by |\n|---|---|---|---|")
    mine = both_ways(pairs()["SSIM"][1], batch)
    others = {name: both_ways(loss, batch) for name, loss in peers().items()}
    times = measure.interleaved({"mammoseg": mine, **others}, options.rounds)
    print(f"| mammoseg | {1000 * times['mammoseg']:.1f} ms | | |")
    for name, other in others.items():
        apart = relative(other()[0].flatten(), mine()[0])
        print(f"| {name} | {1000 * times[name]:.1f} ms | {times[name] / times['mammoseg']:.1f} | {apart:.0e} |")
    if "kornia SSIMLoss" not in others:
        print("\nkornia is not installed, so its SSIM loss was not measured.")
    if where.type == "cuda":
        gpu(batch, where, options.rounds)


def gpu(batch: tuple[Tensor, Tensor, Tensor], where: torch.device, rounds: int) -> None:
    """The criterion's share of a step that it is part of, as it is and compiled."""
    whole = DensityASP(measure.THETA).to(where)
    works = {
        "step": step_of_the_network(batch, where),
        "eager": both_ways(whole, batch),
        "compiled": both_ways(torch.compile(whole, fullgraph=True), batch),
    }
    times = measure.interleaved(works, rounds, warm=5)
    print("\n| criterion | time | share of a step of the full AU-Net, bf16, with it |\n|---|---|---|")
    for name in ("eager", "compiled"):
        print(f"| {name} | {1000 * times[name]:.2f} ms | {100 * times[name] / (times['step'] + times[name]):.1f} % |")


if __name__ == "__main__":
    main()
