"""Performance options of the Segmenter change its results only by rounding, and its checkpoint not at all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from helpers import tiny_training
from mammoseg.batch import Batch
from mammoseg.build import build_segmenter
from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.losses import DensityASP
from mammoseg.models.au_net import AUNet
from mammoseg.segmenter import Segmenter

THETA = (0.5, 0.5, 0.85, 0.95)


def make_batches(n_batches: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(n_batches):
        mask = torch.zeros(2, 1, 64, 64)
        mask[:, :, 20:40, 10:25] = 1
        image = mask + torch.rand(2, 1, 64, 64, generator=generator)
        batches.append({"image": image, "mask": mask, "density": torch.tensor([1, 3]), "case": torch.arange(2)})
    return batches


def train(
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
    loader: DataLoader[Batch] = DataLoader(make_batches(), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader, loader)
    return module


def loss(module: Segmenter) -> float:
    batch = make_batches(1)[0]
    with torch.no_grad():
        losses = module.criterion(module.net.train()(batch["image"]), batch["mask"], batch["density"])
    return float(losses.mean())


# Lightning recommends more workers, and srun if Slurm is installed.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:The `srun` command.*")


@pytest.fixture(scope="module")
def default_loss() -> float:
    return loss(train())


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"fused": True}, 1e-3),
        ({"channels_last": True}, 2e-2),
        ({"fused": True, "channels_last": True, "precision": "bf16-mixed"}, 2e-2),
    ],
)
def test_performance_options_do_not_change_training(
    default_loss: float, settings: dict[str, Any], tolerance: float
) -> None:
    untrained = loss(Segmenter(AUNet(2), DensityASP(THETA)))
    assert abs(default_loss - untrained) > 0.05, "training changes the loss"
    assert loss(train(**settings)) == pytest.approx(default_loss, abs=tolerance)


def test_gradients_of_a_fused_optimizer_are_clipped_under_amp() -> None:
    unclipped, clipped = (train("bf16-mixed", clip, fused=True) for clip in (None, 1e-12))
    assert loss(unclipped) != loss(clipped)


def test_compiled_network_has_the_same_state_dict_names() -> None:
    plain, compiled = (Segmenter(AUNet(2), DensityASP(THETA), compile=mode) for mode in (None, "default"))
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    plain.load_state_dict(compiled.state_dict())


def test_unknown_compile_mode_raises() -> None:
    with pytest.raises(UserError, match=r"compile must be one of null, default, .*, got fast"):
        Segmenter(AUNet(2), DensityASP(THETA), compile="fast")


def test_compile_with_16_bit_precision_on_cpu_raises() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["compile=default", "trainer.precision=bf16-mixed", "trainer.accelerator=cpu"])
    with pytest.raises(UserError, match="wrong gradients on a CPU"):
        build_segmenter(cfg)
    cfg.trainer.precision = "32-true"
    assert build_segmenter(cfg).net._compiled_call_impl is not None


def test_a_one_cycle_schedule_shorter_than_the_run_raises() -> None:
    one_cycle = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=1e-3, total_steps=2)
    config = {"scheduler": one_cycle, "interval": "step", "monitor": None}
    module = Segmenter(AUNet(1), DensityASP(THETA), partial(torch.optim.Adam, lr=1e-3), config)
    batches: Any = make_batches()
    data = lightning.LightningDataModule.from_datasets(batches, batches, batch_size=None)  # type: ignore[arg-type]
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    with pytest.raises(UserError, match="total_steps must be at least 3, the steps of the run, or auto, got 2"):
        trainer.fit(module, datamodule=data)


def test_outputs_that_are_not_numbers_are_attributed_to_the_images_or_the_training() -> None:
    segmenter = Segmenter(AUNet(1), DensityASP(THETA)).eval()
    image = torch.zeros(1, 1, 32, 32)
    assert segmenter.checked_logits(image).isfinite().all()
    for value in (torch.nan, torch.inf):
        damaged = image.clone()
        damaged[..., 0, 0] = value
        with pytest.raises(UserError, match="not a number: the images contain infinite or undefined values"):
            segmenter.checked_logits(damaged)
    next(segmenter.net.parameters()).data.fill_(torch.nan)
    with pytest.raises(UserError, match="not a number: training has diverged; lower lr"):
        segmenter.checked_logits(image)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A process group that contains this process only."""
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:It is recommended to use .*sync_dist=True")  # the metrics are synchronised
def test_the_statistics_of_the_averaged_weights_are_broadcast(
    process_group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With averaged weights, the validated statistics are those of the average, so these must be equal everywhere."""
    average = EMAWeightAveraging(decay=0.5)
    segmenter = tiny_training.make_segmenter()
    sent: list[list[Tensor]] = []
    validated: list[list[Tensor]] = []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda buffer, src: sent[-1].append(buffer.clone()))
    validation_step = segmenter.validation_step

    def record(batch: Batch, batch_idx: int) -> None:
        validated.append([buffer.clone() for buffer in segmenter.net.buffers()])
        validation_step(batch, batch_idx)

    class NewList(Callback):
        def on_validation_start(self, *_: object) -> None:
            sent.append([])

    monkeypatch.setattr(segmenter, "validation_step", record)
    tiny_training.fit(segmenter, tiny_training.make_batches(1), [NewList(), average])
    assert len(sent) == len(validated) == 3  # the sanity check and two epochs
    for buffers, expected in zip(sent, validated, strict=True):
        assert len(buffers) == len(expected) == 3
        assert all(map(torch.equal, buffers, expected))
    assert not torch.equal(sent[1][0], sent[2][0])


@pytest.mark.parametrize(
    ("net", "got"),
    [
        (torch.nn.Conv2d(1, 2, 3, padding=1), r"\(1, 2, 32, 32\)"),
        (torch.nn.MaxPool2d(2), r"\(1, 1, 16, 16\)"),
        (torch.nn.MaxPool2d(1, return_indices=True), "tuple"),
    ],
)
def test_a_network_with_an_output_of_another_shape_raises(net: torch.nn.Module, got: str) -> None:
    with pytest.raises(UserError, match=f"model must return one logit per pixel.* got {got}"):
        Segmenter(net, DensityASP(THETA))(torch.zeros(1, 1, 32, 32))
