"""The Segmenter's ways to be fast change what it computes by no more than rounding, and its checkpoint not at all."""

from __future__ import annotations

from functools import partial

import lightning
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader

from mammoseg.build import build_segmenter
from mammoseg.cli import conf_dir
from mammoseg.errors import UserError
from mammoseg.losses import DensityASP
from mammoseg.models.au_net import AUNet
from mammoseg.segmenter import Batch, Segmenter

THETA = (0.5, 0.5, 0.85, 0.95)


def batches(number: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(number):
        mask = torch.zeros(2, 1, 64, 64)
        mask[:, :, 20:40, 10:25] = 1
        image = mask + torch.rand(2, 1, 64, 64, generator=generator)
        made.append({"image": image, "mask": mask, "density": torch.tensor([1, 3]), "case": torch.arange(2)})
    return made


def trained(
    precision: str = "32-true", clip: float | None = 1.0, fused: bool | None = None, channels_last: bool = False
) -> Segmenter:
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=1e-3, fused=fused)
    module = Segmenter(AUNet(2), DensityASP(THETA), optimizer=adam, channels_last=channels_last)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        precision=precision,  # type: ignore[arg-type]
        gradient_clip_val=clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader = DataLoader(batches(), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader, loader)
    return module


def loss(module: Segmenter) -> float:
    batch = batches(1)[0]
    with torch.no_grad():
        return module.criterion(module.net.train()(batch["image"]), batch["mask"], batch["density"]).mean().item()


# Lightning's advice: more processes for three batches, Slurm where it is installed.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:The `srun` command.*")


@pytest.fixture(scope="module")
def plain() -> float:
    return loss(trained())


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"fused": True}, 1e-3),
        ({"channels_last": True}, 2e-2),
        ({"fused": True, "channels_last": True, "precision": "bf16-mixed"}, 2e-2),
    ],
)
def test_each_way_learns_the_same(plain: float, settings: dict, tolerance: float) -> None:
    untrained = loss(Segmenter(AUNet(2), DensityASP(THETA)))
    assert abs(plain - untrained) > 0.05, "there is something to be learned"
    assert loss(trained(**settings)) == pytest.approx(plain, abs=tolerance)


def test_gradients_of_a_fused_optimiser_are_clipped_in_16_bits() -> None:
    unclipped, clipped = (trained("bf16-mixed", clip, fused=True) for clip in (None, 1e-12))
    assert loss(unclipped) != loss(clipped)


def test_a_compiled_network_keeps_the_names_of_its_weights() -> None:
    plain, compiled = (Segmenter(AUNet(2), DensityASP(THETA), compile=mode) for mode in (None, "default"))
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    plain.load_state_dict(compiled.state_dict())


def test_an_unknown_way_to_compile_is_told() -> None:
    with pytest.raises(UserError, match=r"compile must be one of null, default, .*, got fast"):
        Segmenter(AUNet(2), DensityASP(THETA), compile="fast")


def test_what_the_compiler_gets_wrong_is_refused() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["compile=default", "trainer.precision=bf16-mixed", "trainer.accelerator=cpu"])
    with pytest.raises(UserError, match="wrong gradients on a CPU"):
        build_segmenter(cfg)
    cfg.trainer.precision = "32-true"
    assert build_segmenter(cfg).net._compiled_call_impl is not None
